//! What the lanes of a warp tell each other: shuffles, votes, reductions, matches, the active mask.

use super::Check;
use super::common::Bench;
use super::lanewise::Random;

/// What the lanes of one warp have. Lanes outside the mask do not take part.
#[derive(Clone)]
struct Case {
    mask: u32,
    a: [u32; 32],
    b: [u32; 32],
    c: [u32; 32],
}

impl Case {
    fn lanes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..32).filter(|lane| self.mask >> lane & 1 == 1)
    }
}

/// What a lane has afterwards in its register and its predicate.
type Results = [(u32, bool); 32];

const OLD: (u32, bool) = (0xdead_beef, false);

/// Runs an instruction in one warp for each case. Its sources are `%r1`, `%r2`, `%r3`, `%rd1` (twice `%r1`) and `%p1`
/// (whether `%r1` is odd), the member mask is `%r4`; its results are `%r9` and `%q`.
fn run(instruction: &str, cases: &[Case], expected: impl Fn(&Case) -> Results) {
    let body = format!(
        "ld.param.u64 %rd10, [p0]; ld.param.u64 %rd11, [p1]; mov.u32 %r10, %ctaid.x; mov.u32 %r11, %tid.x;
         shl.b32 %r12, %r10, 5; add.u32 %r12, %r12, %r11; mul.wide.u32 %rd12, %r12, 16; add.u64 %rd12, %rd12, %rd10;
         ld.global.v4.u32 {{%r1, %r2, %r3, %r4}}, [%rd12]; mov.b64 %rd1, {{%r1, %r1}};
         and.b32 %r13, %r1, 1; setp.ne.u32 %p1, %r13, 0;
         shr.u32 %r13, %r4, %r11; and.b32 %r13, %r13, 1; setp.ne.u32 %p7, %r13, 0;
         mov.u32 %r9, {}; setp.ne.u32 %q, %r9, %r9;
         {instruction}
         selp.u32 %r14, 1, 0, %q; mul.wide.u32 %rd13, %r12, 8; add.u64 %rd13, %rd13, %rd11;
         st.global.v2.u32 [%rd13], {{%r9, %r14}}; ret;",
        OLD.0
    );
    let bench = Bench::new(&super::common::kernel(2, "", &format!(".reg .pred %q; {body}")));
    let words: Vec<u32> =
        cases.iter().flat_map(|case| (0..32).flat_map(|n| [case.a[n], case.b[n], case.c[n], case.mask])).collect();
    let input = bench.upload(&words);
    let out = bench.upload(&vec![0x5555_5555u32; cases.len() * 64]);
    bench.launch([cases.len() as u32, 1, 1], [32, 1, 1], &[input, out]).unwrap();
    let found = bench.read_u32(out, cases.len() * 64);
    for (case, found) in cases.iter().zip(found.chunks(64)) {
        let mut expected = expected(case);
        (0..32).filter(|lane| case.mask >> lane & 1 == 0).for_each(|lane| expected[lane] = OLD);
        for (lane, found) in found.chunks(2).enumerate() {
            let found = (found[0], found[1] == 1);
            let (mask, a, b, c) = (case.mask, case.a[lane], case.b[lane], case.c[lane]);
            assert_eq!(found, expected[lane], "{instruction} lane {lane} of {mask:#x}: {a:#x} {b:#x} {c:#x}");
        }
    }
}

/// A check of an instruction with a member mask in a register and as an immediate, as it is and under a guard. `text`
/// has `{m}` for the mask; `form` has the shape of all other operands.
fn collective(
    form: &str,
    text: &str,
    cases: impl Fn() -> Vec<Case> + 'static,
    expected: impl Fn(&Case) -> Results + 'static,
) -> Check {
    let forms = [form.to_owned() + ", r", form.to_owned() + ", i", format!("@p {form}, r"), format!("@p {form}, i")];
    let text = text.to_owned();
    let run = move || {
        let cases = cases();
        run(&format!("@%p7 {}", text.replace("{m}", "%r4")), &cases, &expected);
        let full: Vec<Case> = cases.iter().filter(|case| case.mask == u32::MAX).cloned().collect();
        assert!(!full.is_empty());
        run(&text.replace("{m}", "%r4"), &full, &expected);
        run(&text.replace("{m}", "-1"), &full, &expected);
        let half: Vec<Case> = cases.iter().filter(|case| case.mask == 0xffff).cloned().collect();
        assert!(!half.is_empty());
        run(&format!("@%p7 {}", text.replace("{m}", "0xffff")), &half, &expected);
    };
    Check { forms: forms.to_vec(), run: Box::new(run) }
}

/// Warps with values of all kinds: equal, different, a few alike, random; whole ones and parts.
fn values() -> Vec<Case> {
    let mut random = Random::new(3);
    let mut cases = Vec::new();
    let masks = [u32::MAX, 0xffff, 0xffff_0000, 0x5555_5555, 1, 1 << 31, 0x8000_0001, 0x00f0_0f00];
    let some: Vec<u32> = (0..8).map(|_| random.next() as u32 | 1).collect();
    for mask in masks.into_iter().chain(some) {
        let zero = [0; 32];
        let case = |a: [u32; 32]| Case { mask, a, b: zero, c: zero };
        for value in [0, 1, 2, u32::MAX, 0x8000_0000, 0x7fff_ffff] {
            cases.push(case([value; 32]));
        }
        cases.push(case(std::array::from_fn(|lane| lane as u32)));
        cases.push(case(std::array::from_fn(|lane| lane as u32 % 3)));
        cases.push(case(std::array::from_fn(|_| random.next() as u32)));
        cases.push(case(std::array::from_fn(|_| random.next() as u32 % 4)));
        // one lane in disagreement
        let odd = random.next() as usize % 32;
        cases.push(case(std::array::from_fn(|lane| if lane == odd { 1 } else { 0x8000_0000 })));
    }
    cases
}

/// As the ISA words it: the lane that is read, and whether it is in range.
fn source(mode: &str, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let highest = (lane & segment) | (clamp & !segment);
    let lowest = lane & segment;
    let (wanted, valid) = match mode {
        "up" => (lane.wrapping_sub(b), i64::from(lane) - i64::from(b) >= i64::from(highest)),
        "down" => (lane + b, lane + b <= highest),
        "bfly" => (lane ^ b, lane ^ b <= highest),
        _ => (lowest | (b & !segment), lowest | (b & !segment) <= highest),
    };
    if valid { (wanted, true) } else { (lane, false) }
}

fn shuffled(mode: &str, case: &Case, predicate: bool) -> Results {
    std::array::from_fn(|lane| {
        let (from, valid) = source(mode, lane as u32, case.b[lane], case.c[lane]);
        (case.a[from as usize & 31], predicate && valid)
    })
}

/// Cases of which no lane reads one outside the mask.
fn shuffles(mode: &str) -> Vec<Case> {
    let mut random = Random::new(9);
    let mut cases = Vec::new();
    let clamps = [0x1f, 0, 0x1807, 0x1800, 0x1c03, 0x1c00, 0x1e01, 0x101f, 0x1f1f, 0xffff_ffff, 7];
    let masks = [u32::MAX, 0xffff, 0xffff_0000, 0x5555_5555, 0x0f0f_0f0f, 1 << 7];
    for mask in masks {
        for c in clamps {
            for b in (0..33).chain([63, 0xffff_ffff, 0x20]) {
                cases.push((mask, [b; 32], [c; 32]));
            }
        }
    }
    for _ in 0..100 {
        let c = clamps[random.next() as usize % clamps.len()];
        // each lane its own
        cases.push((u32::MAX, std::array::from_fn(|_| random.next() as u32), [c; 32]));
        cases.push((
            u32::MAX,
            std::array::from_fn(|_| random.next() as u32 % 8),
            std::array::from_fn(|_| random.next() as u32),
        ));
    }
    let cases =
        cases.into_iter().map(|(mask, b, c)| Case { mask, a: std::array::from_fn(|_| random.next() as u32), b, c });
    cases
        .filter(|case| {
            // `up` may come to a lane below the first where a clamp lets it
            let reads = |lane: usize| source(mode, lane as u32, case.b[lane], case.c[lane]).0;
            case.lanes().all(|lane| reads(lane) < 32 && case.mask >> reads(lane) & 1 == 1)
        })
        .collect()
}

fn shuffle_checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for mode in ["up", "down", "bfly", "idx"] {
        for predicate in [true, false] {
            let (destination, shape) = if predicate { ("%r9|%q", "r|p") } else { ("%r9", "r") };
            let text = format!("shfl.sync.{mode}.b32 {destination}, %r1, %r2, %r3, {{m}};");
            let form = format!("shfl.sync.{mode}.b32 {shape}, r, r, r");
            checks.push(collective(&form, &text, move || shuffles(mode), move |case| shuffled(mode, case, predicate)));
            // with the lane, the clamp or both as immediates
            for (b_is, c_is) in [('i', 'r'), ('r', 'i'), ('i', 'i')] {
                let form = format!("shfl.sync.{mode}.b32 {shape}, r, {b_is}, {c_is}");
                let forms = ["i", "r"].map(|mask| format!("{form}, {mask}"));
                let run_all = move || {
                    let uniform = |case: &Case| case.b == [case.b[0]; 32] && case.c == [case.c[0]; 32];
                    let cases = shuffles(mode).into_iter().filter(uniform).step_by(7);
                    for case in cases {
                        let b = if b_is == 'i' { case.b[0].to_string() } else { "%r2".into() };
                        let c = if c_is == 'i' { case.c[0].to_string() } else { "%r3".into() };
                        for mask in [case.mask.to_string(), "%r4".into()] {
                            let text = format!("@%p7 shfl.sync.{mode}.b32 {destination}, %r1, {b}, {c}, {mask};");
                            run(&text, std::slice::from_ref(&case), |case| shuffled(mode, case, predicate));
                        }
                    }
                };
                let forms = forms.iter().flat_map(|form| [form.clone(), format!("@p {form}")]).collect();
                checks.push(Check { forms, run: Box::new(run_all) });
            }
        }
    }
    checks
}

fn votes() -> Vec<Check> {
    let mut checks = Vec::new();
    for (negated, shape, text) in [(false, "p", "%p1"), (true, "!p", "!%p1")] {
        let aye = move |case: &Case, lane: usize| (case.a[lane] & 1 == 1) != negated;
        let ayes = move |case: &Case| case.lanes().filter(|lane| aye(case, *lane)).count();
        for mode in ["all", "any", "uni"] {
            let form = format!("vote.sync.{mode}.pred p, {shape}");
            let text = format!("vote.sync.{mode}.pred %q, {text}, {{m}};");
            checks.push(collective(&form, &text, values, move |case| {
                let (ayes, all) = (ayes(case), case.lanes().count());
                let result = match mode {
                    "all" => ayes == all,
                    "any" => ayes > 0,
                    _ => ayes == all || ayes == 0,
                };
                [(OLD.0, result); 32]
            }));
        }
        let form = format!("vote.sync.ballot.b32 r, {shape}");
        let text = format!("vote.sync.ballot.b32 %r9, {text}, {{m}};");
        checks.push(collective(&form, &text, values, move |case| {
            let ballot = case.lanes().filter(|lane| aye(case, *lane)).fold(0, |all, lane| all | 1 << lane);
            [(ballot, false); 32]
        }));
    }
    checks
}

fn reductions() -> Vec<Check> {
    type Fold = fn(u32, u32) -> u32;
    let operations: [(&str, Fold); 9] = [
        ("add.u32", |a, b| (u64::from(a) + u64::from(b)) as u32),
        ("add.s32", |a, b| (i64::from(a as i32) + i64::from(b as i32)) as u32),
        ("min.u32", |a, b| if b < a { b } else { a }),
        ("max.u32", |a, b| if b > a { b } else { a }),
        ("min.s32", |a, b| if (b as i32) < a as i32 { b } else { a }),
        ("max.s32", |a, b| if b as i32 > a as i32 { b } else { a }),
        ("and.b32", |a, b| a & b),
        ("or.b32", |a, b| a | b),
        ("xor.b32", |a, b| a ^ b),
    ];
    operations
        .into_iter()
        .map(|(operation, fold)| {
            let (form, text) =
                (format!("redux.sync.{operation} r, r"), format!("redux.sync.{operation} %r9, %r1, {{m}};"));
            collective(&form, &text, values, move |case| {
                let result = case.lanes().map(|lane| case.a[lane]).reduce(fold).unwrap();
                [(result, false); 32]
            })
        })
        .collect()
}

fn matches() -> Vec<Check> {
    let mut checks = Vec::new();
    for (ty, register, letter) in [("b32", "%r1", "r"), ("b64", "%rd1", "d")] {
        let any = format!("match.any.sync.{ty} %r9, {register}, {{m}};");
        checks.push(collective(&format!("match.any.sync.{ty} r, {letter}"), &any, values, |case| {
            std::array::from_fn(|lane| {
                let same = case.lanes().filter(|other| case.a[*other] == case.a[lane]);
                (same.fold(0, |all, other| all | 1 << other), false)
            })
        }));
        for (destination, shape) in [("%r9|%q", "r|p"), ("%r9", "r")] {
            let all = format!("match.all.sync.{ty} {destination}, {register}, {{m}};");
            let predicate = shape == "r|p";
            checks.push(collective(&format!("match.all.sync.{ty} {shape}, {letter}"), &all, values, move |case| {
                let first = case.lanes().next().unwrap();
                let same = case.lanes().all(|lane| case.a[lane] == case.a[first]);
                [if same { (case.mask, predicate) } else { (0, false) }; 32]
            }));
        }
    }
    checks
}

/// One of the members is elected, the same each time, and all are told which.
fn election() -> Check {
    let run_all = || {
        for (text, both) in [("elect.sync %r9|%q, %r4;", true), ("elect.sync _|%q, %r4;", false)] {
            // who of the members it is, is not said; here it is the first
            let leader = |mask: u32| if both { mask.trailing_zeros() } else { OLD.0 };
            run(&format!("@%p7 {text}"), &values(), move |case| {
                std::array::from_fn(|lane| (leader(case.mask), lane as u32 == case.mask.trailing_zeros()))
            });
        }
        let full: Vec<Case> = values().into_iter().filter(|case| case.mask == u32::MAX).collect();
        run("elect.sync %r9|%q, -1;", &full, |_| std::array::from_fn(|lane| (0, lane == 0)));
    };
    Check { forms: vec!["elect.sync r|p, r".into(), "elect.sync r|p, i".into()], run: Box::new(run_all) }
}

pub fn checks() -> Vec<Check> {
    let mut checks = shuffle_checks();
    checks.extend(votes());
    checks.extend(reductions());
    checks.extend(matches());
    checks.push(election());
    // Lanes that are together in a branch are those of its side: here, that of the guard.
    checks.push(Check {
        forms: vec!["activemask.b32 r".into(), "@p activemask.b32 r".into()],
        run: Box::new(|| {
            run("@%p7 activemask.b32 %r9;", &values(), |case| [(case.mask, false); 32]);
            let branch = "@!%p7 bra SKIP; activemask.b32 %r9; SKIP:";
            run(branch, &values(), |case| [(case.mask, false); 32]);
        }),
    });
    checks
}
