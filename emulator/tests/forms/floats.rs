//! Arithmetic in single and double precision, to the bit: with each rounding, flushed and saturated.

use super::Check;
use super::exact::{F32, F64, Format, Rounding};
use super::lanewise::{Expected, lanewise};

/// A result as the ISA has it: single precision has one NaN, the bits of others are open.
pub fn result(format: Format, bits: u64) -> Expected {
    if format == F64 && format.is_nan(bits) { Expected::Nan } else { Expected::Bits(bits) }
}

type Definition = fn(Format, &[u64], Rounding) -> u64;

/// Root, sources, whether the rounding may be left out, and the exact definition.
const ROUNDED: [(&str, usize, bool, Definition); 7] = [
    ("add", 2, true, |format, s, rounding| format.add(s[0], s[1], rounding)),
    ("sub", 2, true, |format, s, rounding| format.sub(s[0], s[1], rounding)),
    ("mul", 2, true, |format, s, rounding| format.mul(s[0], s[1], rounding)),
    ("fma", 3, false, |format, s, rounding| format.fma(s[0], s[1], s[2], rounding)),
    ("div", 2, false, |format, s, rounding| format.div(s[0], s[1], rounding)),
    ("rcp", 1, false, |format, s, rounding| format.div(format.one(), s[0], rounding)),
    ("sqrt", 1, false, |format, s, rounding| format.sqrt(s[0], rounding)),
];

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (root, sources, optional, definition) in ROUNDED {
        let types = |ty: &str| vec![ty; sources + 1].join(" ");
        let named = Rounding::all().map(|(name, rounding)| (format!(".{name}"), rounding));
        let unnamed = optional.then(|| (String::new(), Rounding::Nearest));
        for (name, rounding) in named.into_iter().chain(unnamed) {
            checks.push(lanewise(format!("{root}{name}.f64"), &types("f64"), move |s| {
                result(F64, definition(F64, s, rounding))
            }));
            for (ftz, sat) in [(false, false), (true, false), (false, true), (true, true)] {
                if sat && matches!(root, "div" | "rcp" | "sqrt") {
                    continue;
                }
                let (ftz_name, sat_name) = (if ftz { ".ftz" } else { "" }, if sat { ".sat" } else { "" });
                checks.push(lanewise(format!("{root}{name}{ftz_name}{sat_name}.f32"), &types("f32"), move |s| {
                    let sources: Vec<u64> = s.iter().map(|s| if ftz { F32.flush(*s) } else { *s }).collect();
                    let value = definition(F32, &sources, rounding);
                    let value = if ftz { F32.flush(value) } else { value };
                    if sat { F32.saturate(value) } else { value }
                }));
            }
        }
    }
    checks.extend(signs());
    checks.extend(extremes());
    checks.extend(others());
    checks
}

/// Instructions that touch the sign alone. What they make of NaN is a NaN.
fn signs() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in ["f32", "f64"] {
        let format = Format::of(ty);
        for ftz in [false, true] {
            if ftz && ty == "f64" {
                continue;
            }
            let name = if ftz { ".ftz" } else { "" };
            let or_nan = move |source: u64, change: fn(Format, u64) -> u64| match format.is_nan(source) {
                true => Expected::Nan,
                false => Expected::Bits(change(format, if ftz { format.flush(source) } else { source })),
            };
            let types = format!("{ty} {ty}");
            checks.push(lanewise(format!("neg{name}.{ty}"), &types, move |s| or_nan(s[0], |f, a| a ^ f.sign())));
            checks.push(lanewise(format!("abs{name}.{ty}"), &types, move |s| or_nan(s[0], |f, a| a & !f.sign())));
        }
        checks.push(lanewise(format!("copysign.{ty}"), &format!("{ty} {ty} {ty}"), move |s| {
            s[0] & format.sign() | s[1] & !format.sign()
        }));
    }
    checks
}

/// Minima and maxima.
fn extremes() -> Vec<Check> {
    let mut checks = Vec::new();
    for (root, definition) in [("min", Format::min as fn(Format, u64, u64) -> u64), ("max", Format::max)] {
        checks.push(lanewise(format!("{root}.f64"), "f64 f64 f64", move |s| result(F64, definition(F64, s[0], s[1]))));
        for (ftz, nan) in [(false, false), (true, false), (false, true), (true, true)] {
            let (ftz_name, nan_name) = (if ftz { ".ftz" } else { "" }, if nan { ".NaN" } else { "" });
            checks.push(lanewise(format!("{root}{ftz_name}{nan_name}.f32"), "f32 f32 f32", move |s| {
                if nan && (F32.is_nan(s[0]) || F32.is_nan(s[1])) {
                    return F32.canonical_nan();
                }
                let [a, b] = [s[0], s[1]].map(|x| if ftz { F32.flush(x) } else { x });
                definition(F32, a, b)
            }));
        }
        for (ftz, nan) in [(false, false), (true, false), (false, true), (true, true)] {
            let (ftz_name, nan_name) = (if ftz { ".ftz" } else { "" }, if nan { ".NaN" } else { "" });
            let of_all = move |sources: &[u64]| {
                if nan && sources.iter().any(|bits| F32.is_nan(*bits)) {
                    return F32.canonical_nan();
                }
                let flushed = sources.iter().map(|bits| if ftz { F32.flush(*bits) } else { *bits });
                flushed.reduce(|a, b| definition(F32, a, b)).expect("a source")
            };
            let magnitude = |x: &u64| x & !F32.sign();
            // of three
            checks.push(lanewise(format!("{root}{ftz_name}{nan_name}.f32"), "f32 f32 f32 f32", of_all));
            if !ftz {
                checks.push(lanewise(format!("{root}{nan_name}.abs.f32"), "f32 f32 f32 f32", move |s| {
                    of_all(&s.iter().map(magnitude).collect::<Vec<_>>())
                }));
            }
            // of the magnitudes, with the sign of a product
            checks.push(lanewise(format!("{root}{ftz_name}{nan_name}.xorsign.abs.f32"), "f32 f32 f32", move |s| {
                match of_all(&s.iter().map(magnitude).collect::<Vec<_>>()) {
                    result if F32.is_nan(result) => F32.canonical_nan(),
                    result => result | (s[0] ^ s[1]) & F32.sign(),
                }
            }));
        }
    }
    checks
}

/// Two numbers of single precision in a register, and `mad`, which is `fma` by another name.
fn others() -> Vec<Check> {
    let mut checks = Vec::new();
    for (root, sources, _, definition) in &ROUNDED[..4] {
        for ftz in [false, true] {
            let types = vec!["b64"; sources + 1].join(" ");
            let name = if ftz { ".ftz" } else { "" };
            checks.push(lanewise(format!("{root}.rn{name}.f32x2"), &types, move |s| {
                let flush = |bits: u64| if ftz { F32.flush(bits) } else { bits };
                let part = |shift: u32| {
                    let parts: Vec<u64> = s.iter().map(|word| flush(word >> shift & 0xffff_ffff)).collect();
                    flush(definition(F32, &parts, Rounding::Nearest)) << shift
                };
                part(0) | part(32)
            }));
        }
    }
    for ty in ["f32", "f64"] {
        let format = Format::of(ty);
        checks.push(lanewise(format!("mad.rn.{ty}"), &[ty; 4].join(" "), move |s| {
            result(format, format.fma(s[0], s[1], s[2], Rounding::Nearest))
        }));
    }
    checks
}
