//! Functions and calls in PTX written by hand: what nvcc does not emit, or not in so hostile a form.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::checks::Checks;
use warpwright_emulator::{Device, FaultKind, Launch, LaunchError};

/// Stores `%r9` of every thread of one block to the first parameter.
const STORE: &str = "ld.param.u64 %rd1, [p0]; mov.u32 %r31, %tid.x; mul.wide.u32 %rd2, %r31, 4;
    add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r9;";

/// What each of 64 threads stores, with functions before the kernel.
fn run(functions: &str, body: &str) -> Vec<u32> {
    let bench = Bench::new(&kernel(1, functions, &format!("{body}\n{STORE}\nret;")));
    let out = bench.upload(&[0xdead_beef_u32; 64]);
    bench.launch([1, 1, 1], [64, 1, 1], &[out]).unwrap_or_else(|error| panic!("{error}"));
    bench.read_u32(out, 64)
}

fn fault(functions: &str, body: &str) -> FaultKind {
    let bench = Bench::new(&kernel(1, functions, body));
    let out = bench.upload(&[0u32; 64]);
    bench.fault(1, 64, &[out]).kind
}

fn each(expected: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..64).map(expected).collect()
}

/// The error of a module that cannot be loaded, and the text of the line that it names.
fn refused(functions: &str, body: &str) -> (String, String) {
    let ptx = kernel(1, functions, body);
    match Device::new(1 << 20, 1).load(&ptx) {
        Ok(_) => panic!("{ptx} was taken"),
        Err(error) => {
            assert!(error.line >= 1, "{error}");
            (error.message, ptx.lines().nth(error.line as usize - 1).unwrap().to_owned())
        }
    }
}

#[test]
fn formals_and_arguments_may_be_registers() {
    let functions = ".func (.reg .u32 r) weigh (.reg .u32 a, .reg .u64 b, .reg .u16 c)
        { .reg .u32 t; .reg .pred p; cvt.u32.u64 t, b; mad.lo.u32 r, a, t, 7; cvt.u32.u16 t, c; add.u32 r, r, t;
          setp.lt.u32 p, a, 8; @p ret; add.u32 r, r, 100; }
        .func nothing () { ret; }
        .func (.param .b32 r) sum (.param .b32 a, .param .b32 b)
        { .reg .u32 %r<4>; ld.param::func.u32 %r1, [a]; ld.param.u32 %r2, [b]; add.u32 %r3, %r1, %r2; st.param.u32 [r], %r3; }";
    let body = "mov.u32 %r1, %tid.x; mov.u64 %rd5, 3; mov.u16 %rs1, 9; call nothing;
        call (%r9), weigh, (%r1, %rd5, %rs1); call (_), weigh, (%r1, %rd5, 1);
        call (%r9), sum, (%r9, 1000);";
    let expected = |n: u32| 3 * n + 7 + 9 + 1000 + if n < 8 { 0 } else { 100 };
    assert_eq!(run(functions, body), each(expected));
}

#[test]
fn calls_may_be_guarded_and_their_results_are_too() {
    let functions = ".func (.reg .u32 r) ten () { mov.u32 r, 10; ret; }";
    let body = "mov.u32 %r9, 1; mov.u32 %r1, %tid.x; and.b32 %r1, %r1, 3; setp.eq.u32 %p1, %r1, 2;
        @%p1 call (%r9), ten; @!%p1 add.u32 %r9, %r9, 1;";
    assert_eq!(run(functions, body), each(|n| if n % 4 == 2 { 10 } else { 2 }));
}

#[test]
fn lanes_return_to_where_they_came_from() {
    // Three places call one function, two of them through another; all lanes are in it together, and exchange there.
    let functions = ".func (.param .b32 r) swap (.param .b32 a)
        { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; shfl.sync.bfly.b32 %r2, %r1, 3, 31, -1; st.param.b32 [r], %r2; ret; }
        .func (.param .b32 r) outer (.param .b32 a)
        { .reg .b32 %r<4>; .reg .pred %p; ld.param.b32 %r1, [a]; and.b32 %r3, %r1, 1; setp.eq.u32 %p, %r3, 1;
          { .param .b32 x; .param .b32 y; st.param.b32 [x], %r1; @%p bra ODD;
            call.uni (y), swap, (x); ld.param.b32 %r2, [y]; add.u32 %r2, %r2, 1000; bra.uni JOIN;
            ODD: call.uni (y), swap, (x); ld.param.b32 %r2, [y]; add.u32 %r2, %r2, 2000; JOIN: }
          st.param.b32 [r], %r2; ret; }";
    let body = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 48; and.b32 %r2, %r1, 2; setp.eq.u32 %p2, %r2, 0;
        { .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; @%p2 bra DIRECT;
          call.uni (b), outer, (a); bra.uni DONE; DIRECT: call.uni (b), swap, (a); DONE: ld.param.b32 %r9, [b]; }";
    let expected = |n: u32| match n {
        _ if n & 2 == 0 => n ^ 3,
        _ if n & 1 == 0 => (n ^ 3) + 1000,
        _ => (n ^ 3) + 2000,
    };
    assert_eq!(run(functions, body), each(expected));
}

#[test]
fn registers_and_variables_belong_to_an_activation() {
    // f(n) writes n to a local array, calls f(n - 1), and finds its register, predicate and array as they were.
    let functions = ".func (.param .b32 r) f (.param .b32 a)
        { .reg .b32 %r<6>; .reg .b64 %rd<4>; .reg .pred %p<3>; .local .align 8 .b8 own[24];
          ld.param.b32 %r1, [a]; st.local.u32 [own+8], %r1; mov.u64 %rd1, own; cvta.local.u64 %rd2, %rd1;
          and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 1; mul.wide.u32 %rd3, %r1, 5; mov.u32 %r3, 0;
          setp.eq.u32 %p2, %r1, 0; @%p2 bra END;
          { .param .b32 x; .param .b32 y; sub.u32 %r4, %r1, 1; st.param.b32 [x], %r4;
            call (y), f, (x); ld.param.b32 %r3, [y]; }
          END: ld.u32 %r5, [%rd2+8]; add.u32 %r3, %r3, %r5; cvt.u32.u64 %r5, %rd3; add.u32 %r3, %r3, %r5;
          @%p1 add.u32 %r3, %r3, 1000; st.param.b32 [r], %r3; ret; }";
    let body = "mov.u32 %r1, %tid.x; call (%r9), f, (%r1);";
    let expected = |n: u32| (0..=n).map(|k| 6 * k + if k % 2 == 1 { 1000 } else { 0 }).sum();
    assert_eq!(run(functions, body), each(expected));
}

#[test]
fn pointers_to_the_variables_of_a_caller() {
    // Each level adds to its caller's variable through a generic pointer, three deep and once in the kernel.
    let functions = ".func deepest (.param .b64 p) { .reg .b64 q; .reg .u32 v; ld.param.u64 q, [p]; ld.u32 v, [q];
          add.u32 v, v, 5; st.u32 [q], v; ret; }
        .func middle (.param .b64 p) { .reg .b64 q, own; .reg .u32 v, w; .local .align 4 .u32 x; ld.param.u64 q, [p];
          st.local.u32 [x], 70; mov.u64 own, x; cvta.local.u64 own, own;
          { .param .b64 a; st.param.b64 [a], own; call deepest, (a); }
          { .param .b64 a; st.param.b64 [a], q; call deepest, (a); }
          ld.local.u32 v, [x]; ld.u32 w, [q]; add.u32 w, w, v; st.u32 [q], w; ret; }";
    let body = ".local .align 4 .u32 here; mov.u32 %r1, %tid.x; st.local.u32 [here], %r1; mov.u64 %rd4, here;
        cvta.local.u64 %rd4, %rd4; call middle, (%rd4); ld.local.u32 %r9, [here];";
    assert_eq!(run(functions, body), each(|n| n + 5 + 75));
}

#[test]
fn jumps_through_lists() {
    // Labels of a scope are its own, so the same ones can stand in two.
    let one = |base: u32| {
        format!(
            "{{ T: .branchtargets A, B, C, A; .reg .u32 i; and.b32 i, %r1, 3; brx.idx i, T;
               A: add.u32 %r9, %r9, {base}; bra.uni D; B: mul.lo.u32 %r9, %r9, 3; bra.uni D; C: not.b32 %r9, %r9; D: }}"
        )
    };
    let body = format!("mov.u32 %r1, %tid.x; mov.u32 %r9, %r1; {} {}", one(10), one(20));
    let expected = |n: u32| match n % 4 {
        0 | 3 => n + 30,
        1 => n * 9,
        _ => n,
    };
    assert_eq!(run("", &body), each(expected));
    let past = "T: .branchtargets A, B; mov.u32 %r1, %tid.x; brx.idx %r1, T; A: ret; B: ret;";
    assert_eq!(fault("", past), FaultKind::JumpIndex { index: 2, targets: 2 });
}

#[test]
fn calls_through_registers() {
    let functions = ".func (.param .b32 r) twice (.param .b32 a)
          { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; add.u32 %r2, %r1, %r1; st.param.b32 [r], %r2; ret; }
        .weak .func (.param .b32 r) inverse (.param .b32 a)
          { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; not.b32 %r2, %r1; st.param.b32 [r], %r2; ret; }
        .func (.param .b64 r) other (.param .b32 a) { ret; }
        .alias same, twice;
        .global .align 8 .b8 mixed[24] = {7, 0, 0, 0, 0, 0, 0, 0, 0xFF(inverse), 0xFF00(inverse), 0xFF0000(inverse),
          0xFF000000(inverse), 0xFF00000000(inverse), 0xFF0000000000(inverse), 0xFF000000000000(inverse),
          0xFF00000000000000(inverse)};
        .global .u64 where = generic(mixed)+8; .const .u64 functions[2] = {same, other};";
    let body = |get: &str, list: &str| {
        format!(
            "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 1; ld.global.u64 %rd4, [where];
             ld.u64 %rd5, [%rd4]; ld.const.u64 %rd6, [functions]; mov.u64 %rd7, other; {get}
             P: .callprototype (.param .b32 _) _ (.param .b32 _); Q: .calltargets twice, inverse;
             call (%r9), %rd8, (%r1), {list};"
        )
    };
    for list in ["P", "Q"] {
        let found = run(functions, &body("selp.b64 %rd8, %rd5, %rd6, %p1;", list));
        assert_eq!(found, each(|n| if n % 2 == 1 { !n } else { 2 * n }), "{list}");
    }
    // One that takes and returns something else, and one that is no function.
    for get in ["mov.u64 %rd8, %rd7;", "mov.u64 %rd8, %rd4;", "add.u64 %rd8, %rd5, 8;"] {
        let kind = fault(functions, &format!("{} ret;", body(get, "P")));
        assert!(matches!(kind, FaultKind::NotAFunction { .. }), "{get}: {kind}");
    }
}

#[test]
fn an_argument_may_be_the_address_of_a_function() {
    let functions = ".func (.reg .u32 r) ten () { mov.u32 r, 10; } .func (.reg .u32 r) six () { mov.u32 r, 6; }
        .func (.reg .u32 r) apply (.reg .u64 f) { P: .callprototype (.param .b32 _) _ (); call (r), f, P; }";
    let body =
        "call (%r1), apply, (ten); .local .align 16 .u64 both[2]; .reg .b64 f; st.local.v2.u64 [both], {six, ten};
        ld.local.u64 f, [both]; call (%r2), apply, (f); mad.lo.u32 %r9, %r1, 100, %r2;";
    assert_eq!(run(functions, body), vec![1006; 64]);
}

#[test]
fn functions_call_one_another_through_a_table() {
    // even and odd find each other in global memory: recursion that only addresses show.
    let functions = |table: &str| {
        let function = |name: &str, other: u32, end: u32| {
            format!(
                ".func (.param .b32 r) {name} (.param .b32 a)
                 {{ .reg .b32 %r<4>; .reg .b64 f; .reg .pred z; ld.param.b32 %r1, [a]; setp.eq.u32 z, %r1, 0;
                   mov.u32 %r2, {end}; @z bra END; ld.global.u64 f, [table+{other}]; sub.u32 %r3, %r1, 1;
                   P: .callprototype (.param .b32 _) _ (.param .b32 _); call (%r2), f, (%r3), P; add.u32 %r2, %r2, %r1;
                   END: st.param.b32 [r], %r2; ret; }}"
            )
        };
        format!(
            ".func (.param .b32 r) even (.param .b32 a); .func (.param .b32 r) odd (.param .b32 a); {table}
             {} {}",
            function("even", 8, 0),
            function("odd", 0, 10_000)
        )
    };
    let functions = functions(".global .u64 table[2] = {even, odd};");
    let expected = |n: u32| n * (n + 1) / 2 + if n % 2 == 1 { 10_000 } else { 0 };
    assert_eq!(run(&functions, "mov.u32 %r1, %tid.x; call (%r9), even, (%r1);"), each(expected));
}

#[test]
fn a_lane_may_wait_for_another_in_a_function() {
    // Lane 0 calls until lane 1, which is behind the loop, has stored; then a warp waits for another.
    for setter in [1, 63] {
        let functions = ".shared .align 4 .b8 flag[4];
            .func (.param .b32 r) look () { .reg .u32 v; ld.volatile.shared.u32 v, [flag]; st.param.b32 [r], v; ret; }";
        let body = format!(
            "mov.u32 %r1, %tid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra INIT; st.shared.u32 [flag], 0; INIT: bar.sync 0;
             @%p1 bra SET; SPIN: call (%r9), look; setp.eq.u32 %p2, %r9, 0; @%p2 bra SPIN; bra.uni DONE;
             SET: mov.u32 %r9, 9; setp.ne.u32 %p3, %r1, {setter}; @%p3 bra DONE; st.volatile.shared.u32 [flag], 77;
             DONE:"
        );
        assert_eq!(run(functions, &body), each(|n| if n == 0 { 77 } else { 9 }));
    }
}

#[test]
fn exit_in_a_function_ends_the_lane_alone() {
    let functions = ".func leave (.param .b32 a)
        { .reg .u32 n; .reg .pred p; ld.param.u32 n, [a]; setp.lt.u32 p, n, 20; @p exit; bar.sync 0; ret; }";
    // The lanes that are left meet at the barriers; the next block starts with empty stacks.
    let bench = Bench::new(&kernel(
        1,
        functions,
        &format!("mov.u32 %r1, %tid.x; mov.u32 %r9, %r1; call leave, (%r1); bar.sync 0; {STORE} ret;"),
    ));
    let out = bench.upload(&[5u32; 64]);
    bench.launch([40, 1, 1], [64, 1, 1], &[out]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bench.read_u32(out, 64), each(|n| if n < 20 { 5 } else { n }));
}

#[test]
fn shared_memory_of_functions() {
    // A function's shared variable is one for the block, apart from the kernel's and before dynamic shared memory.
    let functions = ".extern .shared .align 8 .b8 dynamic[];
        .func (.param .b32 r) count () { .shared .align 4 .u32 counter; .reg .u32 v; .reg .u32 d; mov.u32 d, dynamic;
          atom.shared.add.u32 v, [counter], 1; st.param.b32 [r], d; ret; }
        .func (.param .b32 r) look () { .shared .align 4 .u32 counter; .reg .u32 v; ld.shared.u32 v, [counter];
          st.param.b32 [r], v; ret; }";
    let body = ".shared .align 4 .u32 own; st.shared.u32 [own], 3; call (%r1), count; call (%r2), look;
        mov.u32 %r9, own; add.u32 %r9, %r9, %r1;";
    // own, counter, counter: their order is not said, but none is where another is, and the dynamic one is after all
    let found = run(functions, body);
    assert!(found.iter().all(|value| (16..16 + 12).contains(value)), "{found:?}");
}

#[test]
fn local_variables_are_fresh_in_every_call() {
    // A function returns what its array holds and then writes to it: no call finds what another has left.
    let functions = ".func (.param .b32 r) f () { .local .align 4 .b8 own[16]; .reg .u32 v; ld.local.u32 v, [own+4];
        st.param.b32 [r], v; st.local.u32 [own+4], 1; ret; }";
    let twice = "call (%r9), f; call (%r9), f;";
    assert_eq!(run(functions, twice), vec![u32::MAX; 64]);
    // The check of what is read before it is written knows frames: each call reads what nothing has written, and its
    // twin, which writes first, does not.
    let checked = |functions: &str| {
        let device = Device::with_checks(1 << 20, 1, Checks::ALL);
        let module = device.load(&kernel(0, functions, &format!("{twice} ret;"))).unwrap();
        let launch = Launch { blocks: [1; 3], threads: [64, 1, 1], dynamic_shared: 0, parameters: &[] };
        device.launch(&module, "k", &launch)
    };
    match checked(functions) {
        Err(LaunchError::Fault(fault)) => {
            assert!(matches!(fault.kind, FaultKind::Uninitialised { .. }), "{fault}");
        }
        other => panic!("{other:?}"),
    }
    assert!(checked(&functions.replace(".reg .u32 v;", ".reg .u32 v; st.local.u32 [own+4], 3;")).is_ok());
}

#[test]
fn deep_recursion_is_a_stack_overflow() {
    let functions = ".func f (.param .b32 a) { .reg .u32 n; ld.param.u32 n, [a]; add.u32 n, n, 1; call f, (n); ret; }";
    let kind = fault(functions, "mov.u32 %r1, 0; call f, (%r1); ret;");
    assert!(matches!(kind, FaultKind::StackOverflow { bytes } if bytes >= 64 << 10), "{kind}");
    // but some hundred levels are no problem
    let bounded = ".func (.param .b32 r) f (.param .b32 a) { .reg .u32 n, m; .reg .pred z; ld.param.u32 n, [a];
        setp.eq.u32 z, n, 0; mov.u32 m, 0; @z bra E; sub.u32 m, n, 1; call (m), f, (m); add.u32 m, m, n;
        E: st.param.b32 [r], m; ret; }";
    assert_eq!(run(bounded, "mov.u32 %r1, 300; call (%r9), f, (%r1);"), vec![300 * 301 / 2; 64]);
}

#[test]
fn what_a_kernel_does_not_reach_is_not_decoded() {
    let functions = ".func never () { frobnicate.u32; call missing; ret; }
        .extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b); .extern .func elsewhere ();";
    assert_eq!(run(functions, "mov.u32 %r9, 4;"), vec![4; 64]);
}

#[test]
fn calls_that_cannot_be_are_errors_when_the_module_is_loaded() {
    let functions = ".extern .func elsewhere ();\n.func (.param .b32 r) f (.param .b32 a) { ret; }
        .func bad () {\nfrobnicate.u32;\nret; }\n.func worse () {\ncall elsewhere;\n}";
    let cases = [
        ("call elsewhere;", "the function `elsewhere` is not defined in this module", "call elsewhere;"),
        ("call nowhere;", "the function `nowhere` is not defined in this module", "call nowhere;"),
        ("call malloc;", "the function `malloc` is not defined in this module", "call malloc;"),
        ("call bad;", "the instruction `frobnicate.u32` is not supported", "frobnicate.u32;"),
        ("call worse;", "the function `elsewhere` is not defined in this module", "call elsewhere;"),
        ("call f;", "takes 1 arguments and returns 1 values, not 0 and 0", "call f;"),
        ("call (%r1), f, (%rd1);", "expected a 32-bit", "call (%r1), f, (%rd1);"),
        ("call (%rd1), f, (%r1);", "expected a 32-bit", "call (%rd1), f, (%r1);"),
        ("call %rd1;", "a list of what that can be", "call %rd1;"),
        ("call %rd1, missing;", "`missing` is no prototype", "call %rd1, missing;"),
        ("L: .calltargets nowhere; call %rd1, L;", "`nowhere` is not defined", "L: .calltargets"),
        ("L: .branchtargets nowhere; brx.idx %r1, L;", "the label `nowhere` is not defined", "brx.idx"),
        ("brx.idx %r1, missing;", "`missing` is no list of labels", "brx.idx"),
        ("call (_), vprintf, (%rd1);", "takes 2 arguments and returns 1 values", "call (_), vprintf"),
    ];
    for (body, message, line) in cases {
        let (found, at) = refused(functions, body);
        assert!(found.contains(message), "{body}: {found}");
        assert!(at.contains(line), "{body}: {at}");
    }
    let cases = [
        (".func f () { ret; }\n.func f () { ret; }", "`f` is defined twice", ".func f () { ret; }"),
        (".alias a, nowhere;", "`nowhere` is not defined", ".alias"),
        (".global .u64 x = nowhere;", "`nowhere` is not defined", ".global .u64 x"),
        (".global .u32 x[1] = {1, 2};", "longer than the variable", ".global .u32 x"),
        (".extern .global .u32 x;", "defined in another module", ".extern"),
        (".func f (.reg .pred p) { ret; }", "not a type of parameters", ".func f"),
    ];
    for (functions, message, line) in cases {
        let (found, at) = refused(functions, "ret;");
        assert!(found.contains(message), "{functions}: {found}");
        assert!(at.contains(line), "{functions}: {at}");
    }
}
