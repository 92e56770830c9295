//! Video instructions: arithmetic on the four bytes or two halves of registers, in each choice of signs.

use super::Check;
use super::batch::{Line, batch};

/// Part `n` of a word of parts of a width.
fn part(word: u64, n: u32, width: u32, signed: bool) -> i64 {
    let value = (word >> (n * width)) as i64 & ((1 << width) - 1);
    if signed && value >> (width - 1) == 1 { value - (1 << width) } else { value }
}

type OfParts = fn(i64, i64) -> i64;

const FUNCTIONS: [(&str, OfParts); 6] = [
    ("vadd", |a, b| a + b),
    ("vsub", |a, b| a - b),
    // halves are rounded away from zero
    ("vavrg", |a, b| if a + b >= 0 { (a + b + 1).div_euclid(2) } else { (a + b).div_euclid(2) }),
    ("vabsdiff", |a, b| (a - b).abs()),
    ("vmin", |a, b| a.min(b)),
    ("vmax", |a, b| a.max(b)),
];

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, function) in FUNCTIONS {
        let mut lines = Vec::new();
        for (width, types) in [8u32, 16].into_iter().flat_map(|width| (0..8).map(move |types| (width, types))) {
            let count = 32 / width;
            let [signed, signed_a, signed_b] = [types & 1 == 1, types & 2 == 2, types & 4 == 4];
            let ty = |signed: bool| if signed { "s32" } else { "u32" };
            let (least, most) = match signed {
                true => (-(1i64 << (width - 1)), (1i64 << (width - 1)) - 1),
                false => (0, (1i64 << width) - 1),
            };
            let results = move |s: &[u64]| -> Vec<i64> {
                (0..count).map(|n| function(part(s[0], n, width, signed_a), part(s[1], n, width, signed_b))).collect()
            };
            for mode in ["", ".sat", ".add"] {
                let opcode = format!("{name}{count}.{}.{}.{}{mode}", ty(signed), ty(signed_a), ty(signed_b));
                let text = format!("{opcode} {{d}}, {{a}}, {{b}}, {{c}};");
                lines.push(Line::new(opcode, text, move |s| {
                    if mode == ".add" {
                        return results(s).into_iter().fold(s[2] as u32, |sum, value| sum.wrapping_add(value as u32));
                    }
                    results(s).into_iter().rev().fold(0, |all: u32, value| {
                        let value = if mode == ".sat" { value.clamp(least, most) } else { value };
                        all.wrapping_shl(width) | value as u32 & (u32::MAX >> (32 - width))
                    })
                }));
            }
        }
        checks.push(batch("u32 u32 u32 u32", lines));
    }
    checks
}
