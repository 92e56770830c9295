//! Calls, directly and through registers, with stacks and recursion; jumps through lists; and how a thread or a launch ends.

use warpwright_emulator::FaultKind;

use super::Check;
use super::common::{Bench, kernel};

/// What each of 96 threads stores from `%r9`, with functions before the kernel. `%r1` is the thread's number.
fn expect(functions: &str, body: &str, expected: impl Fn(u32) -> u32) {
    let body = format!(
        "mov.u32 %r1, %tid.x; {body}
         ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r9; ret;"
    );
    let bench = Bench::new(&kernel(1, functions, &body));
    let out = bench.upload(&[0xdead_beefu32; 96]);
    bench.launch([1, 1, 1], [96, 1, 1], &[out]).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(bench.read_u32(out, 96), (0..96).map(expected).collect::<Vec<_>>(), "{body}");
}

/// The sum of Fibonacci's recursion, whose calls each keep a register and a variable of the stack.
fn fibonacci(n: u32) -> u32 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

fn calls(opcode: &'static str) -> Check {
    let run = move || {
        let recursion = format!(
            ".func (.param .b32 r) f (.param .b32 a)
             {{ .reg .b32 %r<8>; .reg .pred %p<2>; .local .align 4 .b8 kept[8];
               ld.param.b32 %r1, [a]; st.local.u32 [kept+4], %r1; setp.lt.u32 %p1, %r1, 2; mov.u32 %r2, %r1; @%p1 bra END;
               {{ .param .b32 x; .param .b32 y; sub.u32 %r3, %r1, 1; st.param.b32 [x], %r3; {opcode} (y), f, (x);
                 ld.param.b32 %r4, [y]; }}
               {{ .param .b32 x; .param .b32 y; ld.local.u32 %r5, [kept+4]; sub.u32 %r5, %r5, 2; st.param.b32 [x], %r5;
                 {opcode} (y), f, (x); ld.param.b32 %r6, [y]; }}
               add.u32 %r2, %r4, %r6;
               END: st.param.b32 [r], %r2; ret; }}"
        );
        let of_threads = format!("rem.u32 %r2, %r1, 9; {opcode} (%r9), f, (%r2);");
        expect(&recursion, &of_threads, |n| fibonacci(n % 9));
        // some lanes alone, and then all
        let some = format!(
            "mov.u32 %r9, 77; rem.u32 %r2, %r1, 9; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1;
             @%p1 {opcode} (%r9), f, (%r2); {opcode} (%r9), f, (%r9);"
        )
        .replace("(%r9);", "(%r4);")
        .replace(&format!("{opcode} (%r9), f, (%r4)"), &format!("min.u32 %r4, %r9, 10; {opcode} (%r9), f, (%r4)"));
        expect(&recursion, &some, |n| fibonacci(if n % 2 == 1 { fibonacci(n % 9).min(10) } else { 10 }));
        // through a register, each lane another function
        let functions = ".func (.param .b32 r) twice (.param .b32 a)
              { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; add.u32 %r2, %r1, %r1; st.param.b32 [r], %r2; ret; }
            .func (.param .b32 r) inverse (.param .b32 a)
              { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; not.b32 %r2, %r1; st.param.b32 [r], %r2; ret; }
            .func (.param .b32 r) square (.param .b32 a)
              { .reg .b32 %r<3>; ld.param.b32 %r1, [a]; mul.lo.u32 %r2, %r1, %r1; st.param.b32 [r], %r2; ret; }
            .global .align 8 .u64 table[3] = {twice, inverse, square};";
        for list in ["P: .callprototype (.param .b32 _) _ (.param .b32 _);", "P: .calltargets twice, inverse, square;"]
        {
            let body = format!(
                "rem.u32 %r2, %r1, 3; mov.u64 %rd5, table; mul.wide.u32 %rd6, %r2, 8; add.u64 %rd5, %rd5, %rd6;
                 ld.global.u64 %rd7, [%rd5]; {list} {opcode} (%r9), %rd7, (%r1), P;"
            );
            expect(functions, &body, |n| match n % 3 {
                0 => 2 * n,
                1 => !n,
                _ => n * n,
            });
        }
    };
    Check { forms: vec![opcode.to_owned()], run: Box::new(run) }
}

/// Jumps through a list, each lane to a place of its own, or, where the jump is uniform, each warp.
fn jumps(opcode: &'static str, index: &'static str, of_thread: fn(u32) -> u32) -> Check {
    let run = move || {
        let body = format!(
            "{index} mov.u32 %r9, 1000; T: .branchtargets A, B, C, A; {opcode} %r2, T; mov.u32 %r9, 5;
             A: add.u32 %r9, %r9, 1; bra END; B: mul.lo.u32 %r9, %r9, 3; C: add.u32 %r9, %r9, 7; END: add.u32 %r9, %r9, %r1;"
        );
        let target = |n: u32| match of_thread(n) {
            0 | 3 => 1001,
            1 => 3007,
            _ => 1007,
        };
        expect("", &body, |n| n + target(n));
        let beyond = format!("T: .branchtargets A, B; mov.u32 %r2, 2; {opcode} %r2, T; A: ret; B: ret;");
        let bench = Bench::new(&kernel(0, "", &beyond));
        assert_eq!(bench.fault(1, 32, &[]).kind, FaultKind::JumpIndex { index: 2, targets: 2 });
    };
    Check { forms: vec![opcode.to_owned()], run: Box::new(run) }
}

fn traps() -> Check {
    let run = || {
        let body = "mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 70; @%p1 trap; ret;";
        let bench = Bench::new(&kernel(0, "", body));
        bench.launch([1, 1, 1], [70, 1, 1], &[]).unwrap();
        let fault = bench.fault(1, 96, &[]);
        assert_eq!((fault.kind, fault.thread), (FaultKind::Trap, [70, 0, 0]));
    };
    Check { forms: vec!["trap".into(), "@p trap".into()], run: Box::new(run) }
}

pub fn checks() -> Vec<Check> {
    vec![
        calls("call"),
        calls("call.uni"),
        jumps("brx.idx", "and.b32 %r2, %r1, 3;", |n| n % 4),
        jumps("brx.idx.uni", "shr.u32 %r2, %r1, 5;", |n| n / 32),
        traps(),
    ]
}
