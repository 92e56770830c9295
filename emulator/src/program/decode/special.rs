//! Decodes special registers.

use super::{Decoder, Result};
use crate::program::{LaneMask, Slot, Special};
use crate::ptx::ast::RegisterKind;

/// The special registers whose value a block keeps. The clocks are elsewhere: they are moved from alone.
pub(super) const REGISTERS: &[(&str, Special)] = &[
    ("%tid.x", Special::Thread(0)),
    ("%tid.y", Special::Thread(1)),
    ("%tid.z", Special::Thread(2)),
    ("%ntid.x", Special::BlockSize(0)),
    ("%ntid.y", Special::BlockSize(1)),
    ("%ntid.z", Special::BlockSize(2)),
    ("%ctaid.x", Special::Block(0)),
    ("%ctaid.y", Special::Block(1)),
    ("%ctaid.z", Special::Block(2)),
    ("%nctaid.x", Special::GridSize(0)),
    ("%nctaid.y", Special::GridSize(1)),
    ("%nctaid.z", Special::GridSize(2)),
    ("%clusterid.x", Special::Cluster(0)),
    ("%clusterid.y", Special::Cluster(1)),
    ("%clusterid.z", Special::Cluster(2)),
    ("%nclusterid.x", Special::ClusterCount(0)),
    ("%nclusterid.y", Special::ClusterCount(1)),
    ("%nclusterid.z", Special::ClusterCount(2)),
    ("%cluster_ctaid.x", Special::BlockOfCluster(0)),
    ("%cluster_ctaid.y", Special::BlockOfCluster(1)),
    ("%cluster_ctaid.z", Special::BlockOfCluster(2)),
    ("%cluster_nctaid.x", Special::ClusterSize(0)),
    ("%cluster_nctaid.y", Special::ClusterSize(1)),
    ("%cluster_nctaid.z", Special::ClusterSize(2)),
    ("%cluster_ctarank", Special::ClusterRank),
    ("%cluster_nctarank", Special::ClusterBlocks),
    ("%is_explicit_cluster", Special::ExplicitCluster),
    ("%laneid", Special::Lane),
    ("%warpid", Special::Warp),
    ("%nwarpid", Special::WarpCount),
    ("%lanemask_eq", Special::LaneMask(LaneMask::Equal)),
    ("%lanemask_lt", Special::LaneMask(LaneMask::Less)),
    ("%lanemask_le", Special::LaneMask(LaneMask::LessOrEqual)),
    ("%lanemask_gt", Special::LaneMask(LaneMask::Greater)),
    ("%lanemask_ge", Special::LaneMask(LaneMask::GreaterOrEqual)),
    ("%dynamic_smem_size", Special::DynamicShared),
    ("%total_smem_size", Special::TotalShared),
    ("%aggr_smem_size", Special::TotalShared),
    ("%envreg2", Special::Workspace(0)),
    ("%envreg1", Special::Workspace(1)),
];

/// The special registers that are the same for all blocks of all grids. The device counts as one multiprocessor, so that
/// its number is in bounds whatever device the host takes it for; no kernel belongs to a graph launched by another.
pub(super) const FIXED: &[(&str, RegisterKind, u64)] = &[
    ("%smid", RegisterKind::Bits32, 0),
    ("%nsmid", RegisterKind::Bits32, 1),
    ("%current_graph_exec", RegisterKind::Bits64, 0),
];

/// `%envreg0` to `%envreg31` are zero, but for those that have an address in cooperative launches.
fn is_environment(name: &str) -> bool {
    let number = name.strip_prefix("%envreg").filter(|digits| *digits == "0" || !digits.starts_with('0'));
    number.and_then(|digits| digits.parse().ok()).is_some_and(|number: u32| number < 32)
}

impl Decoder<'_> {
    pub(super) fn special(&mut self, name: &str, kind: RegisterKind) -> Result<Slot> {
        if let Some(&(.., value)) = FIXED.iter().find(|&&(known, of_kind, _)| known == name && of_kind == kind) {
            return Ok(self.constant(value, kind));
        }
        let special = REGISTERS.iter().find(|(known, _)| *known == name && kind == RegisterKind::Bits32);
        let Some(&(_, special)) = special else {
            if is_environment(name) && kind == RegisterKind::Bits32 {
                return Ok(self.constant(0, kind));
            }
            return self
                .failed(format!("the register `{name}` is not declared, and no special register supported here"));
        };
        self.special_slot(special)
    }

    pub(super) fn special_slot(&mut self, special: Special) -> Result<Slot> {
        if let Some(&(_, slot)) = self.specials.iter().find(|(known, _)| *known == special) {
            return Ok(slot);
        }
        let slot = self.new_register(RegisterKind::Bits32)?;
        // All functions share it.
        self.own.words.pop();
        self.specials.push((special, slot));
        Ok(slot)
    }
}
