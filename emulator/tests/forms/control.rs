//! Branches, ends, barriers, special registers and the addresses of variables.

use warpwright_emulator::Launch;

use super::Check;
use super::common::Bench;

/// What each thread stores from `%r9` at the end of `body`, in a grid of three dimensions. `%r20` is the thread's number
/// in the grid, `%p7` a guard that holds for some threads.
fn run(body: &str, blocks: [u32; 3], threads: [u32; 3]) -> Vec<u32> {
    run_with("", body, blocks, threads)
}

fn run_with(directives: &str, body: &str, blocks: [u32; 3], threads: [u32; 3]) -> Vec<u32> {
    let body = format!(
        "ld.param.u64 %rd10, [p0]; mov.u32 %r1, %ctaid.z; mov.u32 %r2, %nctaid.y; mov.u32 %r3, %ctaid.y;
         mad.lo.u32 %r1, %r1, %r2, %r3; mov.u32 %r2, %nctaid.x; mov.u32 %r3, %ctaid.x; mad.lo.u32 %r1, %r1, %r2, %r3;
         mov.u32 %r4, %tid.z; mov.u32 %r5, %ntid.y; mov.u32 %r6, %tid.y; mad.lo.u32 %r4, %r4, %r5, %r6;
         mov.u32 %r7, %ntid.x; mov.u32 %r8, %tid.x; mad.lo.u32 %r21, %r4, %r7, %r8;
         mov.u32 %r4, %ntid.z; mul.lo.u32 %r5, %r5, %r7; mul.lo.u32 %r5, %r5, %r4; mad.lo.u32 %r20, %r1, %r5, %r21;
         mul.lo.u32 %r22, %r20, 0x9e3779b1; shr.u32 %r22, %r22, 31; setp.ne.u32 %p7, %r22, 0;
         mul.wide.u32 %rd11, %r20, 4; add.u64 %rd10, %rd10, %rd11; mov.u32 %r9, {OLD};
         {body}
         st.global.u32 [%rd10], %r9; ret;"
    );
    let bench = Bench::new(&super::common::kernel(1, directives, &body));
    let count = (blocks.iter().product::<u32>() * threads.iter().product::<u32>()) as usize;
    let out = bench.upload(&vec![UNWRITTEN; count]);
    bench.launch(blocks, threads, &[out]).unwrap();
    bench.read_u32(out, count)
}

const OLD: u32 = 0xdead_beef;
const UNWRITTEN: u32 = 0x5555_5555;

fn guarded(n: u32) -> bool {
    n.wrapping_mul(0x9e37_79b1) >> 31 == 1
}

/// The forms with and without a guard.
fn both(form: &str) -> Vec<String> {
    vec![form.to_owned(), format!("@p {form}")]
}

fn check(forms: &[&str], run: impl Fn() + 'static) -> Check {
    Check { forms: forms.iter().map(|form| (*form).to_owned()).collect(), run: Box::new(run) }
}

/// One block of `threads`: what each stores is what a function of its number says.
fn expect(body: &str, threads: u32, expected: impl Fn(u32) -> u32) {
    let found = run(body, [1, 1, 1], [threads, 1, 1]);
    assert_eq!(found, (0..threads).map(expected).collect::<Vec<_>>(), "{body}");
}

fn branches() -> Vec<Check> {
    vec![
        check(&["@p bra s", "@!p bra s", "bra s"], || {
            for (guard, holds) in [("@%p7", true), ("@!%p7", false)] {
                let body = format!("{guard} bra OVER; mov.u32 %r9, 1; bra JOIN; OVER: mov.u32 %r9, 2; JOIN:");
                expect(&body, 80, |n| if guarded(n) == holds { 2 } else { 1 });
                // backwards, each lane as often as it wants, by a sum of what it counts
                let comparison = if holds { "setp.lt" } else { "setp.ge" };
                let round = guard.replace("%p7", "%p1");
                let body = format!(
                    "rem.u32 %r10, %r20, 37; mov.u32 %r11, 0; mov.u32 %r9, 0;
                     AGAIN: add.u32 %r9, %r9, %r11; add.u32 %r11, %r11, 1; {comparison}.u32 %p1, %r11, %r10;
                     {round} bra AGAIN;"
                );
                expect(&body, 96, |n| (0..(n % 37).max(1)).sum());
            }
        }),
        check(&["bra.uni s"], || {
            expect("bra.uni OVER; mov.u32 %r9, 1; OVER: add.u32 %r9, %r9, 1;", 33, |_| OLD + 1);
        }),
        check(&["@p bra.uni s"], || {
            // all lanes of a warp agree
            let body = "and.b32 %r10, %r20, 32; setp.eq.u32 %p1, %r10, 0; @%p1 bra.uni OVER; mov.u32 %r9, 1; OVER:";
            expect(body, 96, |n| if n & 32 == 0 { OLD } else { 1 });
        }),
        check(&["ret", "@p ret", "@!p ret", "ret.uni"], || {
            expect("@%p7 ret; mov.u32 %r9, 5;", 80, |n| if guarded(n) { UNWRITTEN } else { 5 });
            expect("@!%p7 ret; mov.u32 %r9, 5;", 80, |n| if guarded(n) { 5 } else { UNWRITTEN });
            expect("ret; mov.u32 %r9, 5;", 80, |_| UNWRITTEN);
            expect("ret.uni;", 80, |_| UNWRITTEN);
        }),
        check(&["exit", "@p exit", "@!p exit"], || {
            // those who are left meet at a barrier without the others
            expect("@%p7 exit; bar.sync 0; mov.u32 %r9, 5;", 80, |n| if guarded(n) { UNWRITTEN } else { 5 });
            expect("@!%p7 exit; bar.warp.sync -1; mov.u32 %r9, 5;", 32, |n| if guarded(n) { 5 } else { UNWRITTEN });
            expect("exit;", 80, |_| UNWRITTEN);
        }),
    ]
}

/// A shared word for each thread, and its address in `%r24`.
const SHARED: &str = ".shared .align 4 .b8 s[512]; mov.u32 %r23, s; mad.lo.u32 %r24, %r21, 4, %r23;";

fn barriers() -> Vec<Check> {
    let mut checks = Vec::new();
    for (opcode, operands, shape) in [
        ("bar.sync", "0", "i"),
        ("bar.sync", "15", "i"),
        ("bar.sync", "%r25", "r"),
        ("bar.sync", "3, 128", "i, i"),
        ("bar.sync", "%r25, %r26", "r, r"),
        ("barrier.sync", "0", "i"),
        ("barrier.sync.aligned", "1, 128", "i, i"),
    ] {
        let run = move || {
            // each thread gives to one that is in another warp, and takes what was given to it; twice over
            let body = format!(
                "{SHARED} mov.u32 %r25, 2; mov.u32 %r26, 128; mov.u32 %r9, %r21; mov.u32 %r27, 0;
                 AGAIN: st.shared.u32 [%r24], %r9; {opcode} {operands}; add.u32 %r10, %r21, 45; and.b32 %r10, %r10, 127;
                 mad.lo.u32 %r10, %r10, 4, %r23; ld.shared.u32 %r9, [%r10]; {opcode} {operands};
                 add.u32 %r27, %r27, 1; setp.lt.u32 %p1, %r27, 5; @%p1 bra AGAIN;"
            );
            expect(&body, 128, |n| (n + 5 * 45) % 128);
        };
        checks.push(Check { forms: vec![format!("{opcode} {shape}")], run: Box::new(run) });
    }
    // some of the warps alone
    checks.push(check(&["@p bar.sync i, i", "bar.sync i, i"], || {
        let body = format!(
            "{SHARED} st.shared.u32 [%r24], %r21; mov.u32 %r9, 7; setp.lt.u32 %p1, %r21, 64; @%p1 bar.sync 1, 64;
             @!%p1 bra JOIN; xor.b32 %r10, %r21, 32; mad.lo.u32 %r10, %r10, 4, %r23; ld.shared.u32 %r9, [%r10]; JOIN:"
        );
        expect(&body, 128, |n| if n < 64 { n ^ 32 } else { 7 });
    }));
    for (negated, shape) in [("", "p"), ("!", "!p")] {
        for operation in ["popc", "and", "or"] {
            let (form, text) = match operation {
                "popc" => (format!("bar.red.popc.u32 r, i, {shape}"), "bar.red.popc.u32 %r9, 1,".to_owned()),
                _ => (format!("bar.red.{operation}.pred p, i, {shape}"), format!("bar.red.{operation}.pred %p3, 1,")),
            };
            let run = move || {
                for limit in [0, 1, 70, 99, 100] {
                    let body = format!(
                        "setp.lt.u32 %p1, %r21, {limit}; setp.eq.u32 %p3, %r21, %r21; mov.u32 %r9, 0;
                         {text} {negated}%p1; selp.u32 %r10, 1000, 2000, %p3; add.u32 %r9, %r9, %r10;"
                    );
                    let ayes = if negated.is_empty() { limit } else { 100 - limit };
                    let expected = match operation {
                        "popc" => ayes + 1000,
                        "and" => {
                            if ayes == 100 {
                                1000
                            } else {
                                2000
                            }
                        }
                        _ => {
                            if ayes > 0 {
                                1000
                            } else {
                                2000
                            }
                        }
                    };
                    expect(&body, 100, |_| expected);
                }
            };
            checks.push(Check { forms: vec![form], run: Box::new(run) });
        }
    }
    checks.push(check(&["bar.warp.sync i", "bar.warp.sync r", "@p bar.warp.sync r"], || {
        // what a lane stored is seen by another behind the barrier
        for barrier in ["bar.warp.sync -1;", "mov.u32 %r10, -1; bar.warp.sync %r10;"] {
            let body = format!(
                "{SHARED} st.shared.u32 [%r24], %r21; {barrier} xor.b32 %r11, %r24, 64; ld.shared.u32 %r9, [%r11];"
            );
            expect(&body, 128, |n| n ^ 16);
        }
        let body = "and.b32 %r10, %r21, 1; setp.ne.u32 %p1, %r10, 0; mov.u32 %r11, 0xaaaaaaaa; @%p1 bar.warp.sync %r11;
            selp.u32 %r9, 1, 2, %p1;";
        expect(body, 64, |n| if n % 2 == 1 { 1 } else { 2 });
    }));
    checks
}

/// What changes no result of a kernel that is alone: memory is as it was, and execution goes on.
fn nothings() -> Vec<Check> {
    let mut all: Vec<(String, String)> = [
        ("griddepcontrol.wait", ""),
        ("griddepcontrol.launch_dependents", ""),
        ("nanosleep.u32", "i"),
        ("brkpt", ""),
        ("pmevent", "i"),
        ("pmevent.mask", "i"),
        ("prefetch.L1", "[d]"),
        ("prefetch.L2", "[d]"),
        ("prefetch.global.L1", "[d]"),
        ("prefetch.global.L2", "[d]"),
        ("prefetch.local.L1", "[s]"),
        ("prefetch.local.L2", "[s]"),
        ("prefetch.global.L2::evict_last", "[d]"),
        ("prefetch.global.L2::evict_normal", "[d]"),
        ("prefetchu.L1", "[d]"),
        ("applypriority.L2::evict_normal", "[d], i"),
        ("applypriority.global.L2::evict_normal", "[d], i"),
        ("membar.proxy.alias", ""),
        ("fence.mbarrier_init.release.cluster", ""),
        ("fence.acquire.sync_restrict::shared::cluster.cluster", ""),
        ("fence.release.sync_restrict::shared::cta.cluster", ""),
        ("fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster", ""),
        ("fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster", ""),
        ("setmaxnreg.inc.sync.aligned.u32", "40"),
        ("setmaxnreg.dec.sync.aligned.u32", "40"),
        ("prefetch.tensormap", "[d]"),
        ("prefetch.const.tensormap", "[d]"),
        ("prefetch.param.tensormap", "[d]"),
    ]
    .map(|(opcode, operands)| (opcode.to_owned(), operands.to_owned()))
    .to_vec();
    for proxy in ["alias", "async", "async.global", "async.shared::cta", "async.shared::cluster"] {
        all.push((format!("fence.proxy.{proxy}"), String::new()));
    }
    for scope in ["cta", "cluster", "gpu", "sys"] {
        all.push((format!("fence.proxy.tensormap::generic.acquire.{scope}"), "[d], i".into()));
        all.push((format!("fence.proxy.tensormap::generic.release.{scope}"), String::new()));
    }
    for root in ["membar.gl", "membar.cta", "membar.sys", "fence.acq_rel.gpu", "fence.sc.cta"] {
        all.push((root.to_owned(), String::new()));
    }
    let directives = ".global .align 128 .b8 lines[256];";
    let check = |(opcode, operands): (String, String)| {
        let form = format!("{opcode} {operands}");
        let value = if operands == "i" { "10" } else { "128" };
        let operands = operands.replace('i', value).replace('d', "%rd12").replace('s', "in_local");
        let text = format!("{opcode} {operands};");
        Check {
            forms: both(form.trim_end()),
            run: Box::new(move || {
                let body = format!(
                    ".local .align 8 .b8 in_local[8]; st.local.u32 [in_local+4], %r20; mov.u64 %rd12, lines; {text} @%p7 {text}
                     ld.global.u32 %r9, [%rd10]; ld.local.u32 %r10, [in_local+4]; add.u32 %r9, %r9, %r10;"
                );
                let found = run_with(directives, &body, [1; 3], [80, 1, 1]);
                assert_eq!(found, (0..80).map(|n| UNWRITTEN + n).collect::<Vec<_>>(), "{text}");
            }),
        }
    };
    let mut checks: Vec<Check> = all.into_iter().map(check).collect();
    checks.extend(discards());
    checks.extend(policies());
    checks
}

/// What is discarded may be anything until it is written again; what lies beside it stays.
fn discards() -> Vec<Check> {
    let of_opcode = |opcode: &'static str| {
        check(&[&format!("{opcode} [d], i")], move || {
            let directives = ".global .align 128 .b8 lines[384];";
            let body = format!(
                "mov.u64 %rd12, lines; setp.ne.u32 %p1, %r20, 0; @%p1 ret; st.global.u32 [%rd12+124], 5;
                 st.global.u32 [%rd12+128], 6; st.global.u32 [%rd12+256], 7; {opcode} [%rd12+128], 128;
                 ld.global.u32 %r9, [%rd12+124]; ld.global.u32 %r10, [%rd12+256]; mad.lo.u32 %r9, %r9, 10, %r10;
                 st.global.u32 [%rd12+128], 8; ld.global.u32 %r10, [%rd12+128]; mad.lo.u32 %r9, %r9, 10, %r10;"
            );
            assert_eq!(run_with(directives, &body, [1; 3], [1, 1, 1]), [578], "{opcode}");
        })
    };
    vec![of_opcode("discard.L2"), of_opcode("discard.global.L2")]
}

/// Cache policies: an access that is given one does what it does without.
fn policies() -> Vec<Check> {
    let mut texts = vec![(
        "createpolicy.cvt.L2.b64".to_owned(),
        "createpolicy.fractional.L2::evict_last.b64 %rd12, 0f3F000000; createpolicy.cvt.L2.b64 %rd5, %rd12;".to_owned(),
    )];
    for first in ["L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged"] {
        for second in ["", ".L2::evict_first", ".L2::evict_unchanged"] {
            for (kind, operands) in
                [("fractional", "0f3F800000"), ("range", "[%rd10], 64, 128"), ("range.global", "[%rd10], 64, 128")]
            {
                let opcode = format!("createpolicy.{kind}.{first}{second}.b64");
                let text = format!("{opcode} %rd5, {operands};");
                texts.push((opcode, text));
            }
        }
    }
    let check = |(opcode, text): (String, String)| Check {
        forms: vec![opcode],
        run: Box::new(move || {
            let body = format!(
                "{text} @%p7 {text} ld.global.L2::cache_hint.u32 %r9, [%rd10], %rd5; add.u32 %r9, %r9, %r20;
                 st.global.L2::cache_hint.u32 [%rd10], %r9, %rd5; ld.global.u32 %r9, [%rd10];"
            );
            expect(&body, 80, |n| UNWRITTEN + n);
        }),
    };
    texts.into_iter().map(check).collect()
}

const BLOCKS: [u32; 3] = [3, 2, 4];
const THREADS: [u32; 3] = [5, 3, 7];

fn specials() -> Vec<Check> {
    let mut checks = Vec::new();
    type Definition = Box<dyn Fn(u32, u32) -> u32>; // of the number of the block and of the thread in it
    let mut registers: Vec<(String, Definition)> = Vec::new();
    for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
        let place = move |n: u32, sizes: [u32; 3]| n / sizes[..axis].iter().product::<u32>() % sizes[axis];
        registers.push((format!("%tid.{name}"), Box::new(move |_, n| place(n, THREADS))));
        registers.push((format!("%ctaid.{name}"), Box::new(move |block, _| place(block, BLOCKS))));
        registers.push((format!("%ntid.{name}"), Box::new(move |_, _| THREADS[axis])));
        registers.push((format!("%nctaid.{name}"), Box::new(move |_, _| BLOCKS[axis])));
        // without clusters, each block is one
        registers.push((format!("%clusterid.{name}"), Box::new(move |block, _| place(block, BLOCKS))));
        registers.push((format!("%nclusterid.{name}"), Box::new(move |_, _| BLOCKS[axis])));
        registers.push((format!("%cluster_ctaid.{name}"), Box::new(|_, _| 0)));
        registers.push((format!("%cluster_nctaid.{name}"), Box::new(|_, _| 1)));
    }
    let warps = THREADS.iter().product::<u32>().div_ceil(32);
    registers.push(("%laneid".into(), Box::new(|_, n| n % 32)));
    registers.push(("%warpid".into(), Box::new(|_, n| n / 32)));
    registers.push(("%nwarpid".into(), Box::new(move |_, _| warps)));
    registers.push(("%cluster_ctarank".into(), Box::new(|_, _| 0)));
    registers.push(("%cluster_nctarank".into(), Box::new(|_, _| 1)));
    registers.push(("%dynamic_smem_size".into(), Box::new(|_, _| 0)));
    type Includes = fn(u32, u32) -> bool;
    let masks: [(&str, Includes); 5] = [
        ("eq", |other, lane| other == lane),
        ("lt", |other, lane| other < lane),
        ("le", |other, lane| other <= lane),
        ("gt", |other, lane| other > lane),
        ("ge", |other, lane| other >= lane),
    ];
    for (name, includes) in masks {
        registers.push((
            format!("%lanemask_{name}"),
            Box::new(move |_, n| (0..32).filter(|other| includes(*other, n % 32)).fold(0, |all, n| all | 1 << n)),
        ));
    }
    // one multiprocessor, and nothing that a driver would tell
    registers.push(("%smid".into(), Box::new(|_, _| 0)));
    registers.push(("%nsmid".into(), Box::new(|_, _| 1)));
    registers.push(("%total_smem_size".into(), Box::new(|_, _| 0)));
    registers.push(("%aggr_smem_size".into(), Box::new(|_, _| 0)));
    for n in 0..32 {
        registers.push((format!("%envreg{n}"), Box::new(|_, _| 0)));
    }
    registers.push(("WARP_SZ".into(), Box::new(|_, _| 32)));
    for (register, definition) in registers {
        let forms = ["u32", "b32"].iter().flat_map(|ty| both(&format!("mov.{ty} r, {register}"))).collect();
        let run_all = move || {
            let count = THREADS.iter().product::<u32>();
            for ty in ["u32", "b32"] {
                for guard in ["", "@%p7 ", "@!%p7 "] {
                    let found = run(&format!("{guard}mov.{ty} %r9, {register};"), BLOCKS, THREADS);
                    let expected =
                        (0..found.len() as u32).map(|n| match guard.is_empty() || guarded(n) == (guard == "@%p7 ") {
                            true => definition(n / count, n % count),
                            false => OLD,
                        });
                    assert_eq!(found, expected.collect::<Vec<_>>(), "{guard}{register}");
                }
            }
        };
        checks.push(Check { forms, run: Box::new(run_all) });
    }
    checks
}

/// Clocks go on, with their halves, and shared memory has a size.
fn clocks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (low, whole, high) in
        [("%clock", "%clock64", "%clock_hi"), ("%globaltimer_lo", "%globaltimer", "%globaltimer_hi")]
    {
        let forms = [format!("mov.u32 r, {low}"), format!("mov.u64 d, {whole}"), format!("mov.u32 r, {high}")];
        let run = move || {
            // until it has passed 2000 units; each half lies between those of the whole before and after
            let body = format!(
                "mov.u64 %rd5, {whole}; WAIT: mov.u32 %r12, {low}; mov.u64 %rd6, {whole}; sub.u64 %rd7, %rd6, %rd5;
                 setp.lt.u64 %p1, %rd7, 2000; @%p1 bra WAIT;
                 mov.u64 %rd5, {whole}; mov.u32 %r10, {low}; mov.u32 %r11, {high}; mov.u64 %rd6, {whole};
                 cvt.u32.u64 %r13, %rd5; sub.u32 %r10, %r10, %r13; sub.u64 %rd7, %rd6, %rd5; cvt.u64.u32 %rd8, %r10;
                 setp.le.u64 %p1, %rd8, %rd7; selp.u32 %r9, 1, 0, %p1; shr.u64 %rd5, %rd5, 32; shr.u64 %rd6, %rd6, 32;
                 cvt.u64.u32 %rd8, %r11; setp.le.u64 %p2, %rd5, %rd8; setp.le.u64 %p3, %rd8, %rd6; and.pred %p2, %p2, %p3;
                 selp.u32 %r10, 2, 0, %p2; add.u32 %r9, %r9, %r10;"
            );
            expect(&body, 64, |_| 3);
        };
        checks.push(Check { forms: forms.to_vec(), run: Box::new(run) });
    }
    checks.push(check(&["mov.u64 d, %globaltimer"], || {
        // in nanoseconds, as the host has it
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as u32;
        let before = now();
        let body = "mov.u64 %rd5, %globaltimer; div.u64 %rd5, %rd5, 1000000000; cvt.u32.u64 %r9, %rd5;";
        let found = run(body, [1; 3], [1, 1, 1])[0];
        assert!((before..=now()).contains(&found), "{found}");
    }));
    checks.push(check(&["mov.u64 d, %current_graph_exec"], || {
        // no launch is that of a graph launched by a kernel
        expect("mov.u64 %rd5, %current_graph_exec; cvt.u32.u64 %r9, %rd5;", 40, |_| 0);
    }));
    let sizes = ["mov.u32 r, %total_smem_size", "mov.u32 r, %aggr_smem_size", "mov.u32 r, %dynamic_smem_size"];
    checks.push(check(&sizes, || {
        for (bytes, dynamic) in [(512, 0), (512, 1024), (16, 48)] {
            let body = format!(
                "ld.param.u64 %rd1, [p0]; .shared .align 16 .b8 s[{bytes}]; mov.u32 %r1, %total_smem_size; mov.u32 %r2, %aggr_smem_size;
                 mov.u32 %r3, %dynamic_smem_size; st.shared.u8 [s], 1; st.global.v2.u32 [%rd1], {{%r1, %r2}};
                 st.global.u32 [%rd1+8], %r3; ret;"
            );
            let bench = Bench::new(&super::common::kernel(1, "", &body));
            let out = bench.upload(&[UNWRITTEN; 4]);
            // what is static alone
            bench.launch([1; 3], [1; 3], &[out]).unwrap();
            assert_eq!(bench.read_u32(out, 3), [bytes, bytes, 0]);
            let parameters = out.to_le_bytes();
            let launch =
                Launch { blocks: [1; 3], threads: [1; 3], dynamic_shared: dynamic, parameters: &parameters };
            bench.device.launch(&bench.module, "k", &launch).unwrap();
            assert_eq!(bench.read_u32(out, 3), [bytes + dynamic, bytes + dynamic, dynamic]);
        }
    }));
    checks
}

/// Addresses of variables: what is stored through one is found by the name, and alignment is what was asked for.
fn symbols() -> Vec<Check> {
    let mut checks = Vec::new();
    let shared = ".shared .align 1 .b8 before[3]; .shared .align 16 .b8 s[512]; .shared .align 4 .b8 behind[4];";
    for (ty, register, letter) in
        [("u32", "%r10", 'r'), ("b32", "%r10", 'r'), ("u64", "%rd5", 'd'), ("b64", "%rd5", 'd')]
    {
        let run = move || {
            let next = if letter == 'r' { "add.u32 %r10, %r10, 4;" } else { "add.u64 %rd5, %rd5, 4;" };
            // one thread stores; the others read by the name, and what lies beside is another's
            let body = format!(
                "{shared} mov.{ty} {register}, s; setp.eq.u32 %p1, %r21, 0; @%p1 st.shared.u8 [before+2], 7;
                 @%p1 st.shared.u32 [behind], 9; {next} @%p1 st.shared.u32 [{register}], 77; bar.sync 0;
                 ld.shared.u32 %r9, [s+4]; ld.shared.u32 %r11, [behind]; ld.shared.u8 %r12, [before+2];
                 mad.lo.u32 %r9, %r9, 100, %r11; mad.lo.u32 %r9, %r9, 100, %r12;"
            );
            expect(&body, 80, |_| 77_0907);
            let low = if letter == 'r' { "%r10" } else { "%r13" };
            let cut = if letter == 'r' { "" } else { "cvt.u32.u64 %r13, %rd5;" };
            expect(&format!("{shared} mov.{ty} {register}, s; {cut} and.b32 %r9, {low}, 15;"), 40, |_| 0);
        };
        checks.push(Check { forms: vec![format!("mov.{ty} {letter}, s")], run: Box::new(run) });
    }
    // of global memory, with an offset too; of the parameters
    checks.push(check(&["mov.u64 d, s", "mov.b64 d, s"], || {
        let directives = ".global .align 8 .b8 g[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};";
        for ty in ["u64", "b64"] {
            let found =
                run_with(directives, &format!("mov.{ty} %rd5, g; ld.global.u32 %r9, [%rd5+4];"), [1; 3], [40, 1, 1]);
            assert_eq!(found, [0x0807_0605; 40]);
            let body = format!("mov.{ty} %rd5, g+8; ld.global.u32 %r9, [%rd5+4];");
            assert_eq!(run_with(directives, &body, [1; 3], [40, 1, 1]), [0x100f_0e0d; 40]);
            let body = format!(
                "mov.{ty} %rd5, p0; ld.param.u64 %rd6, [%rd5]; ld.param.u64 %rd7, [p0]; sub.u64 %rd6, %rd6, %rd7;
                cvt.u32.u64 %r9, %rd6;"
            );
            expect(&body, 40, |_| 0);
        }
    }));
    checks
}

pub fn checks() -> Vec<Check> {
    let mut checks = branches();
    checks.extend(barriers());
    checks.extend(nothings());
    checks.extend(specials());
    checks.extend(clocks());
    checks.extend(symbols());
    checks
}
