//! Decodes special registers.

use super::{Decoder, Result};
use crate::program::{LaneMask, Slot, Special};
use crate::ptx::ast::RegisterKind;

impl Decoder<'_> {
    pub(super) fn special(&mut self, name: &str) -> Result<Slot> {
        let axis = |suffix: &str| ["x", "y", "z"].iter().position(|axis| *axis == suffix);
        let special = match name.split_once('.') {
            Some(("%tid", suffix)) => axis(suffix).map(Special::Thread),
            Some(("%ntid", suffix)) => axis(suffix).map(Special::BlockSize),
            Some(("%ctaid", suffix)) => axis(suffix).map(Special::Block),
            Some(("%nctaid", suffix)) => axis(suffix).map(Special::GridSize),
            Some(("%clusterid", suffix)) => axis(suffix).map(Special::Cluster),
            Some(("%nclusterid", suffix)) => axis(suffix).map(Special::ClusterCount),
            Some(("%cluster_ctaid", suffix)) => axis(suffix).map(Special::BlockOfCluster),
            Some(("%cluster_nctaid", suffix)) => axis(suffix).map(Special::ClusterSize),
            Some(_) => None,
            None => match name {
                "%laneid" => Some(Special::Lane),
                "%warpid" => Some(Special::Warp),
                "%nwarpid" => Some(Special::WarpCount),
                "%cluster_ctarank" => Some(Special::ClusterRank),
                "%cluster_nctarank" => Some(Special::ClusterBlocks),
                "%lanemask_eq" => Some(Special::LaneMask(LaneMask::Equal)),
                "%lanemask_lt" => Some(Special::LaneMask(LaneMask::Less)),
                "%lanemask_le" => Some(Special::LaneMask(LaneMask::LessOrEqual)),
                "%lanemask_gt" => Some(Special::LaneMask(LaneMask::Greater)),
                "%lanemask_ge" => Some(Special::LaneMask(LaneMask::GreaterOrEqual)),
                "%dynamic_smem_size" => Some(Special::DynamicShared),
                "%total_smem_size" => Some(Special::TotalShared),
                _ => None,
            },
        };
        let Some(special) = special else {
            return self.failed(format!("the register `{name}` is not declared, and no special register supported"));
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
