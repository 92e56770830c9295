//! Atomic operations: what each leaves behind and returns, over edge values, in every shape of its operands. All orders
//! and scopes, vectors, and threads that contend are the next file's subject.

use super::Check;
use super::exact::{BF16, F16, F32, F64, Format, Rounding};
use super::integers::value;
use super::lanewise::{Expected, surrounded};

/// The new value from the old one, `b` and `c`.
pub type Definition = Box<dyn Fn(&[u64]) -> u64>;

/// Operation with its type, the type of its registers, its operands after the address, and the new value.
pub fn operations(global: bool) -> Vec<(String, &'static str, usize, Definition)> {
    let mut all: Vec<(String, &'static str, usize, Definition)> = Vec::new();
    for ty in ["u32", "s32", "u64", "s64"] {
        all.push((format!("add.{ty}"), ty, 1, Box::new(|s| s[0].wrapping_add(s[1]))));
        let least = move |s: &[u64]| if value(ty, s[1]) < value(ty, s[0]) { s[1] } else { s[0] };
        let most = move |s: &[u64]| if value(ty, s[1]) > value(ty, s[0]) { s[1] } else { s[0] };
        all.push((format!("min.{ty}"), ty, 1, Box::new(least)));
        all.push((format!("max.{ty}"), ty, 1, Box::new(most)));
    }
    for ty in ["b32", "b64"] {
        all.push((format!("and.{ty}"), ty, 1, Box::new(|s| s[0] & s[1])));
        all.push((format!("or.{ty}"), ty, 1, Box::new(|s| s[0] | s[1])));
        all.push((format!("xor.{ty}"), ty, 1, Box::new(|s| s[0] ^ s[1])));
    }
    all.push(("inc.u32".into(), "u32", 1, Box::new(|s| if s[0] >= s[1] { 0 } else { s[0] + 1 })));
    all.push(("dec.u32".into(), "u32", 1, Box::new(|s| if s[0] == 0 || s[0] > s[1] { s[1] } else { s[0] - 1 })));
    for ty in ["b32", "b64"] {
        all.push((format!("exch.{ty}"), ty, 1, Box::new(|s| s[1])));
    }
    for ty in ["b16", "b32", "b64"] {
        all.push((format!("cas.{ty}"), ty, 2, Box::new(|s| if s[0] == s[1] { s[2] } else { s[0] })));
    }
    // Global memory flushes subnormal numbers, shared memory does not.
    all.push((
        "add.f32".into(),
        "f32",
        1,
        Box::new(move |s| {
            let flushed = |bits: u64| if global { F32.flush(bits) } else { bits };
            flushed(F32.add(flushed(s[0]), flushed(s[1]), Rounding::Nearest))
        }),
    ));
    all.push(("add.f64".into(), "f64", 1, Box::new(|s| F64.add(s[0], s[1], Rounding::Nearest))));
    for (ty, pair, format) in [("f16", "f16x2", F16), ("bf16", "bf16x2", BF16)] {
        let half = move |s: &[u64], shift: u32| {
            format.add(s[0] >> shift & 0xffff, s[1] >> shift & 0xffff, Rounding::Nearest) << shift
        };
        all.push((format!("add.noftz.{ty}"), ty, 1, Box::new(move |s| half(s, 0))));
        all.push((format!("add.noftz.{pair}"), pair, 1, Box::new(move |s| half(s, 0) | half(s, 16))));
    }
    all
}

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    // the cell of a thread is where its first source is in global memory, or one of 16 bytes in shared memory
    let places = [
        (".global", "%rd20", 'd', true),
        (".shared", "%r25", 'r', false),
        ("", "%rd20", 'd', true),
        ("", "%rd25", 'd', false),
    ];
    for (space, address, letter, global) in places {
        for order in ["", ".relaxed.gpu", ".acquire.gpu", ".release.cta", ".acq_rel.gpu", ".acq_rel.sys"] {
            for (operation, ty, operands, definition) in operations(global) {
                // who sees an operation when is no part of what it computes, so a few stand for all
                if !order.is_empty() && !["add.u32", "add.f32", "cas.b32", "exch.b64"].contains(&&operation[..]) {
                    continue;
                }
                let (bits, register) = match ty {
                    "b16" | "f16" | "bf16" => (16, 'h'),
                    _ if ty.ends_with("64") => (64, 'd'),
                    _ => (32, 'r'),
                };
                let sources = ["{b}", "{c}"][..operands].join(", ");
                let types = vec![ty; operands + 2].join(" ");
                let cell = if global { ".global" } else { ".shared" };
                let cell_address = if address == "%rd25" { "%r25" } else { address };
                let shapes = vec![register.to_string(); operands].join(", ");
                let form = format!("atom{order}{space}.{operation} {register}, [{letter}], {shapes}");
                let put = format!("st{cell}.b{bits} [{cell_address}], {{a}};");
                // what it returns
                let template = format!("{put} {{g}}atom{order}{space}.{operation} {{d}}, [{address}], {sources};");
                checks.push(surrounded(&form, &types, &template, true, |s| s[0]));
                // what it leaves behind: the old value where the guard does not hold
                let definition = std::rc::Rc::new(definition);
                let is_nan = move |bits: u64| ty == "f64" && Format::of(ty).is_nan(bits);
                let left = |definition: std::rc::Rc<Definition>| {
                    move |s: &[u64]| match definition(s) {
                        bits if is_nan(bits) => Expected::Nan,
                        bits => Expected::Bits(bits),
                    }
                };
                let get = format!("ld{cell}.b{bits} {{d}}, [{cell_address}];");
                let unused = ["%h8", "%r30", "%rd30"]["hrd".find(register).unwrap()];
                let template =
                    format!("{put} {{g}}atom{order}{space}.{operation} {unused}, [{address}], {sources}; {get}");
                checks.push(surrounded(&form, &types, &template, true, left(definition.clone())));
                if (ty == "u32" || ["exch.b32", "add.u64"].contains(&&operation[..]))
                    && matches!(order, "" | ".acq_rel.gpu")
                {
                    // an immediate, which is compiled apart
                    let form = format!("atom{order}{space}.{operation} {register}, [{letter}], i");
                    let template = format!("{put} {{g}}atom{order}{space}.{operation} {{d}}, [{address}], 7;");
                    checks.push(surrounded(&form, &types, &template, true, |s| s[0]));
                    let operation = operation.clone();
                    let definition = operations(global).into_iter().find(|(name, ..)| *name == operation).unwrap().3;
                    let template = format!("{put} {{g}}atom{order}{space}.{operation} {unused}, [{address}], 7; {get}");
                    checks.push(surrounded(&form, &types, &template, true, move |s| definition(&[s[0], 7])));
                }
                if operation.starts_with("cas") || operation.starts_with("exch") {
                    continue;
                }
                let form = format!("red{order}{space}.{operation} [{letter}], {shapes}");
                if !order.starts_with(".ac") {
                    let template = format!("{put} {{g}}red{order}{space}.{operation} [{address}], {sources}; {get}");
                    checks.push(surrounded(&form, &types, &template, true, left(definition)));
                }
            }
        }
    }
    checks
}
