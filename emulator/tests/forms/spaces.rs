//! Generic addresses: `cvta` there and back, and `isspacep`, of variables in every state space.

use super::Check;
use super::common::Bench;

/// The spaces as `cvta` names them, and a variable in each.
const SPACES: [(&str, &str); 5] = [
    ("global", "in_global"),
    ("const", "in_constant"),
    ("shared", "in_shared"),
    ("local", "in_local"),
    ("param", "in_parameter"),
];

/// Shared memory as that of the block, and of the cluster, is named.
const OF_CLUSTERS: [(&str, &str); 2] = [("shared::cta", "in_shared"), ("shared::cluster", "in_shared")];

/// Runs `body` in one thread, with its results, 32-bit words, at `%rd1`. The second word of each variable is 100 and more.
fn run(body: &str, results: usize) -> Vec<u32> {
    let ptx = format!(
        ".version 8.8\n.target sm_90\n.address_size 64\n
         .global .align 8 .u32 in_global[4] = {{1, 100, 2, 3}}; .const .align 8 .u32 in_constant[4] = {{1, 101, 2, 3}};
         .visible .entry k(.param .u64 out, .param .align 8 .b8 in_parameter[16])\n{{
         .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<20>;
         .shared .align 8 .b8 in_shared[16]; .local .align 8 .b8 in_local[16];
         ld.param.u64 %rd1, [out]; st.shared.u32 [in_shared+4], 102; st.local.u32 [in_local+4], 103;
         {body}\nret;\n}}\n"
    );
    let bench = Bench::new(&ptx);
    let out = bench.upload(&vec![0xeeee_eeeeu32; results]);
    bench.launch([1, 1, 1], [1, 1, 1], &[out, 1 | 104 << 32, 0]).unwrap();
    bench.read_u32(out, results)
}

fn conversions(n: usize) -> Check {
    let (space, name) = if n < SPACES.len() { SPACES[n] } else { OF_CLUSTERS[n - SPACES.len()] };
    let forms = vec![format!("cvta.{space}.u64"), format!("cvta.to.{space}.u64")];
    let run = move || {
        // what is found through the generic address, through the one made of that, and whether it is the first again
        let body = format!(
            "mov.u64 %rd2, {name}; cvta.{space}.u64 %rd3, %rd2; ld.u32 %r1, [%rd3+4]; cvta.to.{space}.u64 %rd4, %rd3;
             ld.{space}.u32 %r2, [%rd4+4]; setp.eq.u64 %p1, %rd2, %rd4; selp.u32 %r3, 1, 0, %p1;
             st.global.u32 [%rd1], %r1; st.global.u32 [%rd1+4], %r2; st.global.u32 [%rd1+8], %r3;
             setp.eq.u32 %p2, %r1, %r2; @!%p2 cvta.{space}.u64 %rd3, %rd1; @%p2 cvta.{space}.u64 %rd3, {name};
             ld.u32 %r1, [%rd3+4]; st.global.u32 [%rd1+12], %r1;"
        );
        let value = if n < SPACES.len() { 100 + n as u32 } else { 102 };
        assert_eq!(run(&body, 4), [value, value, 1, value], "{space}");
        if matches!(space, "global" | "shared" | "local") {
            // what is stored through one is found through the other
            let body = format!(
                "cvta.{space}.u64 %rd3, {name}; st.u32 [%rd3+8], 55; ld.{space}.u32 %r1, [{name}+8];
                 st.{space}.u32 [{name}+12], 66; ld.u32 %r2, [%rd3+12]; st.global.u32 [%rd1], %r1; st.global.u32 [%rd1+4], %r2;"
            );
            assert_eq!(run(&body, 2), [55, 66], "{space}");
        }
    };
    Check { forms, run: Box::new(run) }
}

/// Of the addresses of all variables, and of the first and the last byte of each.
fn classes(class: &'static str) -> Check {
    let run = move || {
        let mut body = String::new();
        for (n, (space, name)) in SPACES.into_iter().enumerate() {
            for (m, offset) in [0, 15].into_iter().enumerate() {
                let at = 4 * (2 * n + m);
                body += &format!(
                    "mov.u64 %rd2, {name}; cvta.{space}.u64 %rd2, %rd2; add.u64 %rd2, %rd2, {offset}; setp.eq.u32 %p2, 0, 1;
                     isspacep.{class} %p1, %rd2; @%p1 isspacep.{class} %p2, %rd2; selp.u32 %r1, 1, 0, %p1;
                     selp.u32 %r2, 2, 0, %p2; add.u32 %r1, %r1, %r2; st.global.u32 [%rd1+{at}], %r1;\n"
                );
            }
        }
        let found = run(&body, 2 * SPACES.len());
        for (n, (space, _)) in SPACES.into_iter().enumerate() {
            // constants are a window of their own in none of the classes here but that of global memory, which is open
            if space == "const" {
                continue;
            }
            let expected = if class.split("::").next() == Some(space) { 3 } else { 0 };
            assert_eq!(found[2 * n..2 * n + 2], [expected; 2], "isspacep.{class} of {space}");
        }
    };
    Check { forms: vec![format!("isspacep.{class} p, d")], run: Box::new(run) }
}

pub fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = (0..SPACES.len() + OF_CLUSTERS.len()).map(conversions).collect();
    checks
        .extend(["global", "local", "shared", "shared::cta", "shared::cluster", "param", "param::entry"].map(classes));
    checks
}
