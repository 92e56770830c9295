//! The order of modifiers. ISA and compiler write them in one; NVIDIA's assembler takes them in nearly any, and inline
//! assembly of libraries has others: `vote.ballot.sync.b32`, `atom.add.release.gpu.u32`.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::support::{Places, SPELLINGS, alternatives};
use crate::ops::forms;

/// More modifiers than any instruction has.
const MOST: usize = 16;

/// The opcode with its modifiers in the order in which an instruction is listed that has the same. Modifiers of one class
/// mean something by their order (`cvt.f32.f16`), and keep it.
pub(super) fn in_listed_order(opcode: &str) -> Option<String> {
    let mut parts = opcode.split('.');
    let root = parts.next()?;
    let modifiers: Vec<&str> = parts.collect();
    if modifiers.len() > MOST {
        return None;
    }
    let listed = SPELLINGS.iter().find_map(|spelling| {
        let mut places = Places(spelling);
        let (roots, _) = places.next()?;
        let mut taken = Vec::new();
        (alternatives(roots).any(|name| name == root) && arrange(places, &modifiers, &mut taken)).then_some(taken)
    });
    if let Some(order) = listed {
        return Some([root].into_iter().chain(order.into_iter().map(|at| modifiers[at])).collect::<Vec<_>>().join("."));
    }
    let written = in_classes(&modifiers);
    let same = |form: &&&str| in_classes(&form.split('.').skip(1).collect::<Vec<_>>()) == written;
    forms_of(root, &modifiers)?.iter().find(same).map(|form| (*form).to_owned())
}

/// Takes modifiers for the places of a spelling until none is left.
fn arrange(mut places: Places<'_>, modifiers: &[&str], taken: &mut Vec<usize>) -> bool {
    let Some((place, optional)) = places.next() else { return taken.len() == modifiers.len() };
    let before = taken.len();
    for words in alternatives(place) {
        let all = words.split('.').all(|word| {
            let free = |at: &usize| modifiers[*at] == word && !taken.contains(at);
            let found = (0..modifiers.len()).find(free).filter(|&at| {
                let earlier = |other: usize| class(modifiers[other]).is_some_and(|one| Some(one) == class(word));
                !(0..at).any(|other| earlier(other) && !taken.contains(&other))
            });
            found.is_some_and(|at| {
                taken.push(at);
                true
            })
        });
        if all && arrange(places, modifiers, taken) {
            return true;
        }
        taken.truncate(before);
    }
    optional && arrange(places, modifiers, taken)
}

/// The forms with a root and these modifiers in some order.
fn forms_of(root: &str, modifiers: &[&str]) -> Option<&'static [&'static str]> {
    static FORMS: OnceLock<HashMap<String, Vec<&'static str>>> = OnceLock::new();
    let sorted = |root: &str, mut modifiers: Vec<&str>| {
        modifiers.sort_unstable();
        format!("{root}.{}", modifiers.join("."))
    };
    let all = FORMS.get_or_init(|| {
        let mut all = HashMap::<String, Vec<&'static str>>::new();
        for form in forms() {
            let (root, modifiers) = form.opcode.split_once('.').unwrap_or((form.opcode, ""));
            all.entry(sorted(root, modifiers.split('.').collect())).or_default().push(form.opcode);
        }
        all
    });
    all.get(&sorted(root, modifiers.to_vec())).map(Vec::as_slice)
}

/// The modifiers that have a class, in their order.
fn in_classes(modifiers: &[&str]) -> [Vec<String>; 3] {
    [Class::Type, Class::Space, Class::Layout].map(|one| {
        let of_class = modifiers.iter().filter(|modifier| class(modifier) == Some(one));
        of_class.map(|modifier| (*modifier).to_owned()).collect()
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Type,
    Space,
    Layout,
}

fn class(modifier: &str) -> Option<Class> {
    match modifier {
        "global" | "shared" | "shared::cta" | "shared::cluster" | "local" | "param" | "const" => Some(Class::Space),
        "row" | "col" => Some(Class::Layout),
        "pred" | "tf32" => Some(Class::Type),
        // `b32`, `f16x2`, `e4m3x2`, but not `x4` or `m8n8`
        _ => {
            let rest = modifier.strip_prefix("bf").or_else(|| modifier.strip_prefix(['b', 'u', 's', 'f', 'e']))?;
            rest.starts_with(|digit: char| digit.is_ascii_digit()).then_some(Class::Type)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_listed_order;

    #[test]
    fn modifiers_in_other_orders() {
        for (written, listed) in [
            ("vote.ballot.sync.b32", "vote.sync.ballot.b32"),
            ("shfl.b32.idx.sync", "shfl.sync.idx.b32"),
            ("match.sync.any.b64", "match.any.sync.b64"),
            ("atom.add.acq_rel.gpu.u32", "atom.acq_rel.gpu.add.u32"),
            ("atom.global.cas.release.sys.b64", "atom.release.sys.global.cas.b64"),
            ("red.max.shared.cta.relaxed.s32", "red.relaxed.cta.shared.max.s32"),
            ("ld.global.v2.relaxed.gpu.u32", "ld.relaxed.gpu.global.v2.u32"),
            ("fence.gpu.acq_rel", "fence.acq_rel.gpu"),
            ("ldmatrix.aligned.sync.x1.m8n8.trans.shared.b16", "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16"),
            ("fma.ftz.rn.f32", "fma.rn.ftz.f32"),
            ("cvt.ftz.rni.f32.f32", "cvt.rni.ftz.f32.f32"),
            ("cvt.s64.rzi.f64", "cvt.rzi.s64.f64"),
            ("ex2.ftz.approx.f32", "ex2.approx.ftz.f32"),
            ("cp.async.shared.global.cg", "cp.async.cg.shared.global"),
        ] {
            assert_eq!(in_listed_order(written).as_deref(), Some(listed));
        }
        // Types, spaces and layouts are told apart by their order.
        for unknown in [
            "cvt.f64.rzi.s64",
            "cvt.f32.rn.f64.f64",
            "cp.async.cg.global.shared",
            "mma.sync.aligned.m16n8k16.col.row.f32.f16.f16.f32",
            "mma.sync.aligned.m16n8k16.row.col.f16.f32.f16.f32",
            "atom.add.add.u32",
            "vote.sync.ballot",
            "no.such",
            "add",
        ] {
            assert_eq!(in_listed_order(unknown), None, "{unknown}");
        }
        assert_eq!(in_listed_order(&format!("ld{}", ".u32".repeat(4000))), None);
    }
}
