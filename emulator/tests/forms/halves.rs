//! Arithmetic in half precision, f16 and bf16, alone and in pairs, to the bit.

use super::Check;
use super::exact::{Format, Rounding};
use super::lanewise::{Expected, lanewise};

type Definition = Box<dyn Fn(&[u64]) -> Expected>;

/// A form of one to three sources, alone, and in pairs whose halves do the same.
fn both(root: &str, ty: &str, sources: usize, definition: impl Fn(&[u64]) -> Expected + Copy + 'static) -> [Check; 2] {
    let types = |ty: &str| vec![ty.to_owned(); sources + 1].join(" ");
    let pair: Definition = Box::new(move |s| {
        let half = |shift: u32| definition(&s.iter().map(|word| word >> shift & 0xffff).collect::<Vec<_>>());
        match (half(0), half(16)) {
            (Expected::Bits(low), Expected::Bits(high)) => Expected::Bits(low | high << 16),
            // what NaN one half has is open; the other is seen in other pairs
            _ => Expected::Anything,
        }
    });
    [
        lanewise(format!("{root}.{ty}"), &types(ty), definition),
        lanewise(format!("{root}.{ty}x2"), &types(&format!("{ty}x2")), pair),
    ]
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in ["f16", "bf16"] {
        let format = Format::of(ty);
        type Operation = fn(Format, &[u64]) -> u64;
        let operations: [(&str, usize, Operation); 7] = [
            ("add", 2, |format, s| format.add(s[0], s[1], Rounding::Nearest)),
            ("add.rn", 2, |format, s| format.add(s[0], s[1], Rounding::Nearest)),
            ("sub", 2, |format, s| format.sub(s[0], s[1], Rounding::Nearest)),
            ("sub.rn", 2, |format, s| format.sub(s[0], s[1], Rounding::Nearest)),
            ("mul", 2, |format, s| format.mul(s[0], s[1], Rounding::Nearest)),
            ("mul.rn", 2, |format, s| format.mul(s[0], s[1], Rounding::Nearest)),
            ("fma.rn", 3, |format, s| format.fma(s[0], s[1], s[2], Rounding::Nearest)),
        ];
        for (root, sources, operation) in operations {
            checks.extend(both(root, ty, sources, move |s| Expected::Bits(operation(format, s))));
            if ty == "f16" {
                for (name, sat) in [(".ftz", false), (".ftz.sat", true)] {
                    if sat && root.ends_with(".rn") && root != "fma.rn" {
                        continue;
                    }
                    checks.extend(both(&format!("{root}{name}"), ty, sources, move |s| {
                        let flushed: Vec<u64> = s.iter().map(|bits| format.flush(*bits)).collect();
                        let bits = format.flush(operation(format, &flushed));
                        Expected::Bits(if sat { format.saturate(bits) } else { bits })
                    }));
                }
                checks.extend(both(&format!("{root}.sat"), ty, sources, move |s| {
                    Expected::Bits(format.saturate(operation(format, s)))
                }));
            }
        }
        checks.extend(both("fma.rn.relu", ty, 3, move |s| {
            Expected::Bits(format.relu(format.fma(s[0], s[1], s[2], Rounding::Nearest)))
        }));
        if ty == "f16" {
            checks.extend(both("fma.rn.ftz.relu", ty, 3, move |s| {
                let [a, b, c] = [s[0], s[1], s[2]].map(|bits| format.flush(bits));
                Expected::Bits(format.relu(format.flush(format.fma(a, b, c, Rounding::Nearest))))
            }));
            for (root, change) in [("neg", (|a| a ^ 0x8000) as fn(u64) -> u64), ("abs", |a| a & 0x7fff)] {
                checks.extend(both(&format!("{root}.ftz"), ty, 1, move |s| match format.is_nan(s[0]) {
                    true => Expected::Nan,
                    false => Expected::Bits(change(format.flush(s[0]))),
                }));
            }
        }
        checks.extend(both("neg", ty, 1, move |s| match format.is_nan(s[0]) {
            true => Expected::Nan,
            false => Expected::Bits(s[0] ^ 0x8000),
        }));
        checks.extend(both("abs", ty, 1, move |s| match format.is_nan(s[0]) {
            true => Expected::Nan,
            false => Expected::Bits(s[0] & 0x7fff),
        }));
        for (root, operation) in [("min", Format::min as fn(Format, u64, u64) -> u64), ("max", Format::max)] {
            checks.extend(both(root, ty, 2, move |s| Expected::Bits(operation(format, s[0], s[1]))));
            checks.extend(both(&format!("{root}.NaN"), ty, 2, move |s| {
                let nan = format.is_nan(s[0]) || format.is_nan(s[1]);
                Expected::Bits(if nan { format.canonical_nan() } else { operation(format, s[0], s[1]) })
            }));
            for nan_wins in [false, true] {
                let name = if nan_wins { ".NaN" } else { "" };
                // of the magnitudes, with the sign of a product
                checks.extend(both(&format!("{root}{name}.xorsign.abs"), ty, 2, move |s| {
                    let nan = [s[0], s[1]].map(|bits| format.is_nan(bits));
                    if nan == [true; 2] || nan_wins && nan != [false; 2] {
                        return Expected::Bits(format.canonical_nan());
                    }
                    let chosen = operation(format, s[0] & 0x7fff, s[1] & 0x7fff);
                    Expected::Bits(chosen | (s[0] ^ s[1]) & 0x8000)
                }));
                if ty == "f16" {
                    checks.extend(both(&format!("{root}.ftz{name}"), ty, 2, move |s| {
                        let [a, b] = [s[0], s[1]].map(|bits| format.flush(bits));
                        let nan = nan_wins && (format.is_nan(a) || format.is_nan(b));
                        Expected::Bits(if nan { format.canonical_nan() } else { operation(format, a, b) })
                    }));
                }
            }
        }
    }
    checks
}
