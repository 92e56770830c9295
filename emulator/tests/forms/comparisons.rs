//! Comparisons into predicates and numbers, selection, and logic on predicates.

use std::cmp::Ordering;

use super::Check;
use super::batch::{Line, batch};
use super::exact::{F32, Format};
use super::integers::value;
use super::lanewise::{Expected, lanewise, surrounded};

/// Whether a comparison holds, given the order of its operands; there is none with NaN.
fn holds(comparison: &str, order: Option<Ordering>) -> bool {
    let Some(order) = order else {
        // ordered comparisons are false with NaN, unordered ones true
        return comparison == "nan" || comparison.len() == 3 && comparison.ends_with('u');
    };
    match comparison {
        "num" => true,
        "nan" => false,
        _ => match &comparison[..2] {
            "eq" => order == Ordering::Equal,
            "ne" => order != Ordering::Equal,
            "lt" | "lo" => order == Ordering::Less,
            "le" | "ls" => order != Ordering::Greater,
            "gt" | "hi" => order == Ordering::Greater,
            "ge" | "hs" => order != Ordering::Less,
            other => panic!("there is no comparison {other}"),
        },
    }
}

const ORDERED: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
const ALL: [&str; 14] = ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in ["u16", "s16", "u32", "s32", "u64", "s64"] {
        let mut comparisons = ORDERED.to_vec();
        if ty.starts_with('u') {
            comparisons.extend(["lo", "ls", "hi", "hs"]);
        }
        for comparison in comparisons {
            checks.push(lanewise(format!("setp.{comparison}.{ty}"), &format!("pred {ty} {ty}"), move |s| {
                holds(comparison, Some(value(ty, s[0]).cmp(&value(ty, s[1]))))
            }));
        }
    }
    for ty in ["b16", "b32", "b64"] {
        for comparison in ["eq", "ne"] {
            checks.push(lanewise(format!("setp.{comparison}.{ty}"), &format!("pred {ty} {ty}"), move |s| {
                holds(comparison, Some(s[0].cmp(&s[1])))
            }));
        }
    }
    for ty in ["f32", "f64", "f16", "bf16"] {
        let format = Format::of(ty);
        for comparison in ALL {
            checks.push(lanewise(format!("setp.{comparison}.{ty}"), &format!("pred {ty} {ty}"), move |s| {
                holds(comparison, format.compare(s[0], s[1]))
            }));
            if ty == "f32" {
                checks.push(lanewise(format!("setp.{comparison}.ftz.f32"), "pred f32 f32", move |s| {
                    holds(comparison, format.compare(format.flush(s[0]), format.flush(s[1])))
                }));
            }
        }
    }
    checks.extend(sets());
    checks.extend(joined());
    checks.extend(selections());
    checks.extend(kinds());
    checks.extend(predicates());
    checks
}

/// `set`: all ones, or 1.0, where the comparison holds.
fn sets() -> Vec<Check> {
    let mut checks = Vec::new();
    for comparison in ALL {
        for (to, from) in [("u32", "f32"), ("f32", "f32"), ("f16", "f16"), ("bf16", "bf16"), ("u32", "f16")] {
            let format = Format::of(from);
            let ones = if to == "u32" { 0xffff_ffff } else { Format::of(to).one() };
            checks.push(lanewise(format!("set.{comparison}.{to}.{from}"), &format!("{to} {from} {from}"), move |s| {
                if holds(comparison, format.compare(s[0], s[1])) { ones } else { 0 }
            }));
        }
        for (to, from) in [("f16x2", "f16"), ("bf16x2", "bf16"), ("u32", "f16"), ("u32", "bf16")] {
            let format = Format::of(from);
            let ones = if to == "u32" { 0xffff } else { format.one() };
            let types = format!("{to} {from}x2 {from}x2");
            checks.push(lanewise(format!("set.{comparison}.{to}.{from}x2"), &types, move |s| {
                [0, 16].iter().fold(0, |all, shift| {
                    let half = |word: u64| word >> shift & 0xffff;
                    let holds = holds(comparison, format.compare(half(s[0]), half(s[1])));
                    all | if holds { ones << shift } else { 0 }
                })
            }));
        }
    }
    checks
}

/// Comparisons with a predicate, to two predicates, and to all kinds of numbers.
fn joined() -> Vec<Check> {
    let mut checks = Vec::new();
    let integers = ["u16", "s16", "u32", "s32", "u64", "s64", "b16", "b32", "b64"];
    for ty in integers.into_iter().chain(["f32", "f64", "f16", "bf16"]) {
        let (is_float, is_bits) = (ty.contains('f'), ty.starts_with('b') && !ty.contains('f'));
        let comparisons: Vec<&str> = match ty {
            _ if is_float => ALL.to_vec(),
            _ if is_bits => vec!["eq", "ne"],
            _ if ty.starts_with('u') => ORDERED.into_iter().chain(["lo", "ls", "hi", "hs"]).collect(),
            _ => ORDERED.to_vec(),
        };
        let mut lines = Vec::new();
        for comparison in comparisons {
            for ftz in [false, true] {
                if ftz && ty != "f32" {
                    continue;
                }
                // whether it holds
                let decided = move |s: &[u64]| {
                    let order = match is_float {
                        true => {
                            let format = Format::of(ty);
                            let flushed = |bits: u64| if ftz { format.flush(bits) } else { bits };
                            format.compare(flushed(s[0]), flushed(s[1]))
                        }
                        false if is_bits => Some(s[0].cmp(&s[1])),
                        false => Some(value(ty, s[0]).cmp(&value(ty, s[1]))),
                    };
                    holds(comparison, order)
                };
                let ftz = if ftz { ".ftz" } else { "" };
                lines.extend(joined_lines(comparison, ftz, ty, decided));
            }
        }
        checks.push(batch(&format!("u32 {ty} {ty} pred"), lines));
    }
    checks
}

/// `setp` and `set` with each operation on predicates, and without.
fn joined_lines(
    comparison: &'static str,
    ftz: &str,
    ty: &str,
    decided: impl Fn(&[u64]) -> bool + Copy + 'static,
) -> Vec<Line> {
    type Join = fn(bool, bool) -> bool;
    let joins: [(&str, Join); 4] =
        [("", |a, _| a), (".and", |a, b| a && b), (".or", |a, b| a || b), (".xor", |a, b| a != b)];
    let mut lines = Vec::new();
    for (join, joined) in joins {
        for (negated, name) in [(false, "{c}"), (true, "!{c}")] {
            if negated && join.is_empty() {
                continue;
            }
            let other = if join.is_empty() { String::new() } else { format!(", {name}") };
            let with = move |held: bool, s: &[u64]| joined(held, (s[2] == 1) != negated);
            let both = "selp.u32 %r30, 1, 0, %p8; selp.u32 %r31, 2, 0, %p9; add.u32 {d}, %r30, %r31;";
            let setp = format!("setp.{comparison}{join}{ftz}.{ty}");
            lines.push(Line::new(&setp, format!("{setp} %p8|%p9, {{a}}, {{b}}{other}; {both}"), move |s| {
                u32::from(with(decided(s), s)) + 2 * u32::from(with(!decided(s), s))
            }));
            let one = "selp.u32 {d}, 1, 0, %p8;";
            lines.push(Line::new(&setp, format!("{setp} %p8, {{a}}, {{b}}{other}; {one}"), move |s| {
                with(decided(s), s)
            }));
            for (to, ones) in [("u32", u32::MAX), ("s32", u32::MAX), ("f32", 0x3f80_0000)] {
                let set = format!("set.{comparison}{join}{ftz}.{to}.{ty}");
                lines.push(Line::new(&set, format!("{set} {{d}}, {{a}}, {{b}}{other};"), move |s| {
                    Expected::Bits(if with(decided(s), s) { ones.into() } else { 0 })
                }));
            }
        }
    }
    lines
}

fn selections() -> Vec<Check> {
    let mut checks = Vec::new();
    for ty in ["b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"] {
        checks.push(lanewise(format!("selp.{ty}"), &format!("{ty} {ty} {ty} pred"), |s| {
            if s[2] == 1 { s[0] } else { s[1] }
        }));
    }
    for ty in ["b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"] {
        checks.push(lanewise(format!("slct.{ty}.s32"), &format!("{ty} {ty} {ty} s32"), |s| {
            if value("s32", s[2]) >= 0 { s[0] } else { s[1] }
        }));
        for (name, ftz) in [("", false), (".ftz", true)] {
            checks.push(lanewise(format!("slct{name}.{ty}.f32"), &format!("{ty} {ty} {ty} f32"), move |s| {
                let c = if ftz { F32.flush(s[2]) } else { s[2] };
                let below = matches!(F32.compare(c, 0), None | Some(Ordering::Less));
                if below { s[1] } else { s[0] }
            }));
        }
    }
    checks
}

/// `testp`: zero counts as normal.
fn kinds() -> Vec<Check> {
    let mut checks = Vec::new();
    type Definition = fn(Format, u64) -> bool;
    let kinds: [(&str, Definition); 6] = [
        ("finite", |format, magnitude| magnitude < format.infinity()),
        ("infinite", |format, magnitude| magnitude == format.infinity()),
        ("number", |format, magnitude| magnitude <= format.infinity()),
        ("notanumber", |format, magnitude| magnitude > format.infinity()),
        ("normal", |format, magnitude| magnitude < format.infinity() && !format.is_subnormal(magnitude)),
        ("subnormal", |format, magnitude| format.is_subnormal(magnitude)),
    ];
    for ty in ["f32", "f64"] {
        let format = Format::of(ty);
        for (kind, definition) in kinds {
            checks.push(lanewise(format!("testp.{kind}.{ty}"), &format!("pred {ty}"), move |s| {
                definition(format, s[0] & !format.sign())
            }));
        }
    }
    checks
}

fn predicates() -> Vec<Check> {
    vec![
        lanewise("and.pred", "pred pred pred", |s| s[0] == 1 && s[1] == 1),
        lanewise("or.pred", "pred pred pred", |s| s[0] == 1 || s[1] == 1),
        lanewise("xor.pred", "pred pred pred", |s| s[0] != s[1]),
        lanewise("not.pred", "pred pred", |s| s[0] == 0),
        lanewise("mov.pred", "pred pred", |s| s[0]),
        surrounded("mov.pred p, i", "pred pred", "{g}mov.pred {d}, 1;", false, |_| 1u64),
        surrounded("mov.pred p, i", "pred pred", "{g}mov.pred {d}, 0;", false, |_| 0u64),
    ]
}
