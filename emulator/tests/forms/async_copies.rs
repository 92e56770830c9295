//! `cp.async`: every size, source size, hint and way to wait. Nothing has landed before it is waited for, as far as the
//! emulator can choose, and everything has afterwards.

use super::Check;
use super::common::{Bench, kernel};

const OLD: u8 = 0x11;

/// The 16 bytes of shared memory of each of 32 threads after `body`, whose `READ` loads them. `%r2` is their address, `%rd4`
/// that of the thread's 16 bytes of `source`, `%rd9` a policy.
fn run(body: &str, source: &[u8]) -> Vec<u8> {
    let old = u32::from_le_bytes([OLD; 4]);
    let text = format!(
        "mov.u32 %r1, %tid.x; mov.u32 %r2, s; shl.b32 %r3, %r1, 4; add.u32 %r2, %r2, %r3; ld.param.u64 %rd3, [p1];
         cvt.u64.u32 %rd4, %r3; add.u64 %rd4, %rd3, %rd4; mov.u32 %r4, {old}; st.shared.v4.u32 [%r2], {{%r4, %r4, %r4, %r4}};
         createpolicy.fractional.L2::evict_last.b64 %rd9, 0f3F800000; bar.sync 0;
         {}
         ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r1, 16; add.u64 %rd1, %rd1, %rd2;
         st.global.v4.u32 [%rd1], {{%r9, %r10, %r11, %r12}}; ret;",
        body.replace("READ", "ld.shared.v4.u32 {%r9, %r10, %r11, %r12}, [%r2];")
    );
    let bench = Bench::new(&kernel(2, ".shared .align 16 .b8 s[512];", &text).replace("sm_75", "sm_90"));
    let (source, out) = (bench.upload(source), bench.upload(&[5u32; 128]));
    bench.launch([1, 1, 1], [32, 1, 1], &[out, source]).unwrap();
    bench.read_u32(out, 128).into_iter().flat_map(u32::to_le_bytes).collect()
}

fn source() -> Vec<u8> {
    (0..512u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

const WAITS: [&str; 2] = ["cp.async.commit_group; cp.async.wait_group 0;", "cp.async.wait_all;"];

fn copies(cache: &'static str, space: &'static str) -> Check {
    let hints = ["", ".L2::cache_hint", ".L2::64B", ".L2::128B", ".L2::256B", ".L2::cache_hint.L2::128B"];
    let opcodes = hints.map(|hint| format!("cp.async.{cache}{space}.global{hint}"));
    let mut forms = opcodes.to_vec();
    forms.extend(["cp.async.commit_group".into(), "cp.async.wait_group".into(), "cp.async.wait_all".into()]);
    let run = move || {
        let source = source();
        for (opcode, wait) in opcodes.iter().flat_map(|opcode| WAITS.map(|wait| (opcode, wait))) {
            let policy = if opcode.contains("cache_hint") { ", %rd9" } else { "" };
            for bytes in if cache == "ca" { &[4, 8, 16][..] } else { &[16] } {
                // all of the source, less of it (the rest is zeros), or none
                for taken in [None, Some(0), Some(bytes - 1), Some(bytes / 2), Some(*bytes)] {
                    let size = taken.map_or(String::new(), |_| ", %r7".to_owned());
                    let text = format!(
                        "mov.u32 %r7, {}; {opcode} [%r2], [%rd4], {bytes}{size}{policy}; {wait} READ",
                        taken.unwrap_or_default()
                    );
                    for (at, byte) in run(&text, &source).into_iter().enumerate() {
                        let expected = match at % 16 {
                            n if n < taken.unwrap_or(*bytes) => source[at],
                            n if n < *bytes => 0,
                            _ => OLD,
                        };
                        assert_eq!(byte, expected, "{text} byte {at}");
                    }
                }
            }
            // lanes whose source is ignored have zeros, and lanes of which a guard holds nothing have nothing
            let text = format!(
                "setp.lt.u32 %p1, %r1, 8; setp.lt.u32 %p2, %r1, 24; @%p1 mov.u64 %rd4, 3;
                 @%p2 {opcode} [%r2], [%rd4], 16, %p1{policy}; {wait} READ"
            );
            for (at, byte) in run(&text, &source).into_iter().enumerate() {
                let expected = match at / 16 {
                    0..8 => 0,
                    8..24 => source[at],
                    _ => OLD,
                };
                assert_eq!(byte, expected, "{text} byte {at}");
            }
        }
    };
    Check { forms, run: Box::new(run) }
}

/// Groups land in their order, so that all but so many have.
fn groups() -> Check {
    let run = || {
        let source = source();
        let four = (0..4)
            .map(|n| {
                format!("cp.async.ca.shared.global [%r2+{}], [%rd4+{}], 4; cp.async.commit_group;\n", 4 * n, 4 * n)
            })
            .collect::<String>();
        for waits in 0..6 {
            let found = run(&format!("{four} cp.async.wait_group {waits}; READ"), &source);
            let landed = 4usize.saturating_sub(waits);
            for (at, byte) in found.into_iter().enumerate() {
                let expected = if at % 16 / 4 < landed { source[at] } else { OLD };
                assert_eq!(byte, expected, "all but {waits}, byte {at}");
            }
        }
        // what is in no group is waited for by none
        let text = "cp.async.commit_group; cp.async.ca.shared.global [%r2], [%rd4], 4; cp.async.wait_group 0; READ";
        assert_eq!(run(text, &source), [OLD; 512]);
        assert_eq!(run(&text.replace("wait_group 0", "wait_all"), &source)[..4], source[..4]);
    };
    Check { forms: vec!["cp.async.commit_group".into(), "cp.async.wait_group i".into()], run: Box::new(run) }
}

pub fn checks() -> Vec<Check> {
    let spaces = [".shared", ".shared::cta"];
    let mut checks: Vec<Check> =
        ["ca", "cg"].into_iter().flat_map(|cache| spaces.map(|space| copies(cache, space))).collect();
    checks.push(groups());
    checks
}
