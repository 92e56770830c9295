//! What is counted of launches, against counts made by hand.

mod common;

use common::{Bench, kernel};
use warpwright_emulator::counters::{Class, Count, Counters, Instruction, Resource, Roofline};
use warpwright_emulator::profile::{A100, H100, RTX_4090, T4};
use warpwright_emulator::{Launch, Options};

/// The counters of a launch of kernel `k`, which agree with the number of instructions that any launch has.
fn launch(bench: &Bench, blocks: u32, threads: u32, dynamic_shared: u32, parameters: &[u64]) -> Counters {
    let bytes: Vec<u8> = parameters.iter().flat_map(|parameter| parameter.to_le_bytes()).collect();
    let launch = Launch { blocks: [blocks, 1, 1], threads: [threads, 1, 1], dynamic_shared, parameters: &bytes };
    let options = Options { counters: true, ..Options::default() };
    let counted = bench.device.launch_with(&bench.module, "k", &launch, &options).expect("it runs");
    let plain = bench.device.launch(&bench.module, "k", &launch).expect("it runs");
    assert_eq!(plain.counters, None);
    let counters = *counted.counters.expect("counters");
    assert_eq!(counted.thread_instructions, plain.thread_instructions);
    assert_eq!(counters.total().threads, plain.thread_instructions);
    assert_eq!((counters.blocks, counted.blocks, counters.launches), (u64::from(blocks), u64::from(blocks), 1));
    counters
}

/// The counters of one block of a kernel with one parameter, 64 KiB of memory.
fn counters(body: &str, threads: u32) -> Counters {
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&vec![0u32; 1 << 14]);
    launch(&bench, 1, threads, 0, &[memory])
}

/// The first instruction with an opcode.
fn find<'c>(counters: &'c Counters, opcode: &str) -> &'c Instruction {
    let found = counters.instructions.iter().find(|one| one.opcode == opcode);
    found.unwrap_or_else(|| panic!("no {opcode} in {counters:?}"))
}

fn executed(counters: &Counters, opcode: &str) -> (u64, u64) {
    let Count { warps, threads, .. } = find(counters, opcode).count;
    (warps, threads)
}

#[test]
fn every_instruction_counts_once_a_warp() {
    // 3 warps, the last one of 6 lanes, in 5 blocks
    let bench = Bench::new(&kernel(1, "", "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; add.u32 %r2, %r1, 1; ret;"));
    let counters = launch(&bench, 5, 70, 0, &[0]);
    for one in &counters.instructions[..4] {
        assert_eq!((one.count.warps, one.count.threads), (15, 5 * 70), "{}", one.opcode);
    }
    // the end that is added after the last instruction is not reached
    assert_eq!(counters.instructions.len(), 5);
    assert_eq!(counters.instructions[4].count, Count::default());
    assert_eq!((counters.total().warps, counters.total().threads), (4 * 15, 4 * 5 * 70));
    assert!((counters.total().lanes() - 70.0 / 3.0).abs() < 1e-9);
    assert_eq!(counters.class(Class::Integer).threads, 5 * 70);
    assert_eq!((counters.kernel.as_str(), counters.grid, counters.block), ("k", [5, 1, 1], [70, 1, 1]));
    // without a `ret` it is
    let counters = self::counters("mov.u32 %r1, 5;", 32);
    assert_eq!((counters.instructions.len(), executed(&counters, "ret")), (2, (1, 32)));
}

#[test]
fn guards_take_lanes_away_and_not_turns() {
    let body = "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 10; setp.gt.u32 %p2, %r1, 99;
        @%p1 add.u32 %r2, %r1, 1; @!%p1 sub.u32 %r2, %r1, 1; @%p2 xor.b32 %r2, %r1, 1; ret;";
    let counters = counters(body, 64);
    // 10 lanes of the first warp, and none of the second: it passes the instruction all the same
    assert_eq!(executed(&counters, "add.u32"), (2, 10));
    assert_eq!(executed(&counters, "sub.u32"), (2, 54));
    assert_eq!(executed(&counters, "xor.b32"), (2, 0));
}

#[test]
fn diverged_parts_count_apart() {
    let body = "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 3; setp.eq.u32 %p1, %r2, 0; @%p1 bra THEN;
        sub.u32 %r3, %r1, 1; bra.uni JOIN; THEN: add.u32 %r3, %r1, 1; JOIN: xor.b32 %r3, %r3, 1; ret;";
    let counters = counters(body, 32);
    assert_eq!(executed(&counters, "bra"), (1, 8));
    assert_eq!(executed(&counters, "sub.u32"), (1, 24));
    assert_eq!(executed(&counters, "bra.uni"), (1, 24));
    assert_eq!(executed(&counters, "add.u32"), (1, 8));
    // where they meet they are one again
    assert_eq!(executed(&counters, "xor.b32"), (1, 32));
}

#[test]
fn loops_count_each_round() {
    // lane n goes round n % 4 + 1 times
    let body = "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 3; LOOP: sub.u32 %r2, %r2, 1; add.u32 %r3, %r3, 1;
        setp.ge.s32 %p1, %r2, 0; @%p1 bra LOOP; ret;";
    let counters = counters(body, 32);
    assert_eq!(executed(&counters, "add.u32"), (4, 8 * (1 + 2 + 3 + 4)));
    // in the last round no lane branches
    assert_eq!(executed(&counters, "bra"), (4, 8 * (1 + 2 + 3)));
    assert!((counters.class(Class::Control).lanes() - (48.0 + 32.0) / 5.0).abs() < 1e-9);
}

#[test]
fn what_waits_counts_once() {
    // the sides of a branch meet in a shuffle each, and all warps at a barrier; the second barrier is passed by some early
    let body = "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra EVEN;
        add.u32 %r3, %r1, 1; shfl.sync.bfly.b32 %r4, %r1, 1, 31, -1; bra.uni JOIN;
        EVEN: shfl.sync.bfly.b32 %r5, %r1, 1, 31, -1; JOIN: bar.sync 0; @%p1 bar.warp.sync 0x55555555;
        shfl.sync.idx.b32 %r6, %r1, 0, 31, -1; bar.sync 0; ret;";
    let counters = counters(body, 96);
    let shuffles: Vec<_> = counters.instructions.iter().filter(|one| one.opcode == "shfl.sync.bfly.b32").collect();
    assert_eq!(shuffles.len(), 2);
    for one in shuffles {
        assert_eq!((one.count.warps, one.count.threads), (3, 48));
    }
    assert_eq!(executed(&counters, "shfl.sync.idx.b32"), (3, 96));
    assert_eq!(executed(&counters, "bar.warp.sync"), (3, 48));
    let barriers = counters.sum(|one| one.opcode == "bar.sync");
    assert_eq!((counters.class(Class::Barrier), barriers.threads), (barriers, 2 * 96));
    // both sides of the branch come to the first barrier, maybe one after the other
    assert!((6..=9).contains(&barriers.warps), "{barriers:?}");
}

/// The count of an access by 32 lanes, lane `n` at byte `f(n)` of the memory.
fn access(instruction: &str, offset: &str) -> Counters {
    counters(
        &format!(
            "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; {offset} cvt.u64.u32 %rd2, %r2; add.u64 %rd3, %rd1, %rd2;
             {instruction} ret;"
        ),
        32,
    )
}

#[test]
fn sectors_of_global_memory() {
    let load = |width: &str, offset: &str| {
        let counters = access(&format!("ld.global.{width} %r3, [%rd3];"), offset);
        let count = find(&counters, &format!("ld.global.{width}")).count;
        assert_eq!(count, counters.class(Class::GlobalLoad));
        assert_eq!((counters.loaded_sectors, counters.stored_sectors), (count.sectors, 0));
        (count.global_bytes, count.sectors)
    };
    // side by side
    assert_eq!(load("u32", "shl.b32 %r2, %r1, 2;"), (128, 4));
    assert_eq!(load("u16", "shl.b32 %r2, %r1, 1;"), (64, 2));
    assert_eq!(load("u8", "mov.u32 %r2, %r1;"), (32, 1));
    // shifted by four bytes: into one more
    assert_eq!(load("u32", "shl.b32 %r2, %r1, 2; add.u32 %r2, %r2, 4;"), (128, 5));
    // every second word, and words so far apart that each has a sector of its own
    assert_eq!(load("u32", "shl.b32 %r2, %r1, 3;"), (128, 8));
    assert_eq!(load("u32", "shl.b32 %r2, %r1, 5;"), (128, 32));
    assert_eq!(load("u32", "shl.b32 %r2, %r1, 8;"), (128, 32));
    // all the same word, and backward
    assert_eq!(load("u32", "mov.u32 %r2, 64;"), (128, 1));
    assert_eq!(load("u32", "sub.u32 %r2, 31, %r1; shl.b32 %r2, %r2, 2;"), (128, 4));
    // guarded lanes ask for nothing
    let counters = access("setp.lt.u32 %p1, %r1, 4; @%p1 ld.global.u32 %r3, [%rd3];", "shl.b32 %r2, %r1, 4;");
    assert_eq!((counters.total().global_bytes, counters.total().sectors, counters.loaded_sectors), (16, 2, 2));
}

#[test]
fn wide_accesses_and_stores() {
    let body = "ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd3]; st.global.v2.u32 [%rd3], {%r3, %r4};
        st.global.u64 [%rd3 + 8], %rd2;";
    let counters = access(body, "shl.b32 %r2, %r1, 4;");
    let loads = counters.class(Class::GlobalLoad);
    assert_eq!((loads.global_bytes, loads.sectors, loads.moved_bytes()), (512, 16, 512));
    assert!((loads.efficiency() - 1.0).abs() < 1e-12);
    // each of the two stores writes half of every sector
    let stores = counters.class(Class::GlobalStore);
    assert_eq!((stores.warps, stores.threads, stores.global_bytes, stores.sectors), (2, 64, 512, 32));
    assert!((stores.efficiency() - 0.5).abs() < 1e-12);
    // what is touched twice is different once
    assert_eq!((counters.loaded_sectors, counters.stored_sectors, counters.distinct_bytes()), (16, 16, 1024));
}

#[test]
fn different_sectors_of_many_blocks() {
    // every block reads the same 128 bytes, and writes 128 of its own
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2;
        ld.global.u32 %r2, [%rd1]; mov.u32 %r3, %ctaid.x; mul.wide.u32 %rd3, %r3, 128; add.u64 %rd3, %rd3, %rd1;
        st.global.u32 [%rd3 + 128], %r2; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&vec![0u32; 1 << 16]);
    let counters = launch(&bench, 1000, 32, 0, &[memory]);
    assert_eq!((counters.class(Class::GlobalLoad).sectors, counters.loaded_sectors), (4000, 4));
    assert_eq!((counters.class(Class::GlobalStore).sectors, counters.stored_sectors), (4000, 4000));
}

/// Bytes, passes and conflicts of one access to shared memory by 32 lanes.
fn shared(instruction: &str, offset: &str) -> (u64, u64, u64) {
    let body = format!(
        ".shared .align 16 .b8 s[16384]; mov.u32 %r1, %tid.x; {offset} mov.u32 %r3, s; add.u32 %r2, %r2, %r3;
         {instruction} ret;"
    );
    let Count { shared_bytes, passes, conflicts, sectors, global_bytes, .. } = counters(&body, 32).total();
    assert_eq!((sectors, global_bytes), (0, 0));
    (shared_bytes, passes, conflicts)
}

#[test]
fn banks_of_shared_memory() {
    let word = |offset| shared("ld.shared.u32 %r4, [%r2];", offset);
    assert_eq!(word("shl.b32 %r2, %r1, 2;"), (128, 1, 0));
    // strides of 2, 4 and 32 words, and of 33
    assert_eq!(word("shl.b32 %r2, %r1, 3;"), (128, 2, 1));
    assert_eq!(word("shl.b32 %r2, %r1, 4;"), (128, 4, 3));
    assert_eq!(word("shl.b32 %r2, %r1, 7;"), (128, 32, 31));
    assert_eq!(word("mul.lo.u32 %r2, %r1, 132;"), (128, 1, 0));
    // one word for all, or one for each half of the warp: in one bank, or in two
    assert_eq!(word("mov.u32 %r2, 12;"), (128, 1, 0));
    assert_eq!(word("shr.u32 %r2, %r1, 4; shl.b32 %r2, %r2, 7;"), (128, 2, 1));
    assert_eq!(word("shr.u32 %r2, %r1, 4; shl.b32 %r2, %r2, 2;"), (128, 1, 0));
    // bytes of a word are one word
    assert_eq!(shared("ld.shared.u8 %r4, [%r2];", "mov.u32 %r2, %r1;"), (32, 1, 0));
    assert_eq!(shared("st.shared.u16 [%r2], %r1;", "shl.b32 %r2, %r1, 1;"), (64, 1, 0));
    // 8 bytes: half of the warp at a time
    let double = |offset| shared("ld.shared.u64 %rd4, [%r2];", offset);
    assert_eq!(double("shl.b32 %r2, %r1, 3;"), (256, 2, 0));
    assert_eq!(double("shl.b32 %r2, %r1, 4;"), (256, 4, 2));
    assert_eq!(double("shl.b32 %r2, %r1, 7;"), (256, 32, 30));
    // 16 bytes: a quarter at a time
    let quadruple = |offset| shared("ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r2];", offset);
    assert_eq!(quadruple("shl.b32 %r2, %r1, 4;"), (512, 4, 0));
    assert_eq!(quadruple("shl.b32 %r2, %r1, 5;"), (512, 8, 4));
    assert_eq!(quadruple("shl.b32 %r2, %r1, 7;"), (512, 32, 28));
    assert_eq!(quadruple("mov.u32 %r2, 0;"), (512, 4, 0));
    // guarded lanes meet nobody
    let few = "setp.lt.u32 %p1, %r1, 3; @%p1 ld.shared.u32 %r4, [%r2];";
    assert_eq!(shared(few, "shl.b32 %r2, %r1, 7;"), (12, 3, 2));
}

#[test]
fn matrices_in_shared_memory() {
    let load = |count: u32, offset| {
        let registers = (0..count).map(|n| format!("%r{}", n + 4)).collect::<Vec<_>>().join(", ");
        shared(&format!("ldmatrix.sync.aligned.m8n8.x{count}.shared.b16 {{{registers}}}, [%r2];"), offset)
    };
    // rows of 16 bytes next to one another: a pass for each matrix
    assert_eq!(load(4, "shl.b32 %r2, %r1, 4;"), (512, 4, 0));
    assert_eq!(load(2, "shl.b32 %r2, %r1, 4;"), (256, 2, 0));
    assert_eq!(load(1, "shl.b32 %r2, %r1, 4;"), (128, 1, 0));
    // rows of 128 bytes: those of a matrix are all in the same banks; with 16 bytes between they are apart
    assert_eq!(load(4, "shl.b32 %r2, %r1, 7;"), (512, 32, 28));
    assert_eq!(load(4, "mul.lo.u32 %r2, %r1, 144;"), (512, 4, 0));
    let store = "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r2], {%r1, %r1};";
    assert_eq!(shared(store, "shl.b32 %r2, %r1, 5;"), (256, 4, 2));
    // a fragment of 16 rows of 32 bytes, one after the other, and 128 bytes apart
    let fragment = |stride| {
        let load =
            "wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 {%r4, %r5, %r6, %r7, %r8, %r9, %r10, %r11}, [%r2]";
        shared(&format!("{load}, {stride};"), "mov.u32 %r2, 0;")
    };
    assert_eq!(fragment(16), (512, 4, 0));
    assert_eq!(fragment(64), (512, 16, 12));
    // they wait for all lanes, and are counted once
    let apart = "and.b32 %r9, %r1, 1; setp.eq.u32 %p1, %r9, 1; @%p1 bra ODD; mov.u32 %r7, 1; ODD:";
    assert_eq!(shared(&format!("{apart} {store}"), "shl.b32 %r2, %r1, 4;"), (256, 2, 0));
}

#[test]
fn fragments_in_global_memory() {
    let fragment = |stride: u32| {
        let store =
            "wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%rd1], {%f1, %f1, %f1, %f1, %f1, %f1, %f1, %f1}";
        let body = format!("ld.param.u64 %rd1, [p0]; mov.f32 %f1, 0f00000000; {store}, {stride}; ret;");
        let counters = counters(&body, 32);
        let Count { global_bytes, sectors, .. } = counters.total();
        (global_bytes, sectors, counters.stored_sectors)
    };
    // 16 rows of 64 bytes
    assert_eq!(fragment(16), (1024, 32, 32));
    assert_eq!(fragment(64), (1024, 32, 32));
    assert_eq!(fragment(20), (1024, 40, 40));
}

#[test]
fn asynchronous_copies() {
    let copy = |bytes: u32, taken: &str, stride: u32| {
        let cache = if bytes == 16 { "cg" } else { "ca" };
        let body = format!(
            ".shared .align 16 .b8 s[512]; ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mov.u32 %r2, s;
             mad.lo.u32 %r2, %r1, {bytes}, %r2; mul.wide.u32 %rd2, %r1, {stride}; add.u64 %rd1, %rd1, %rd2;
             {taken} cp.async.{cache}.shared.global [%r2], [%rd1], {bytes}, %r3; cp.async.wait_all; ret;"
        );
        let counters = counters(&body, 32);
        let Count { global_bytes, sectors, shared_bytes, passes, conflicts, .. } = counters.total();
        assert_eq!((counters.loaded_sectors, counters.stored_sectors), (sectors, 0));
        (global_bytes, sectors, shared_bytes, passes, conflicts)
    };
    assert_eq!(copy(16, "mov.u32 %r3, 16;", 16), (512, 16, 512, 4, 0));
    assert_eq!(copy(16, "mov.u32 %r3, 16;", 64), (512, 32, 512, 4, 0));
    assert_eq!(copy(4, "mov.u32 %r3, 4;", 4), (128, 4, 128, 1, 0));
    assert_eq!(copy(8, "mov.u32 %r3, 8;", 8), (256, 8, 256, 2, 0));
    // 13 bytes of each source; nothing at all; only in the first four lanes
    assert_eq!(copy(16, "mov.u32 %r3, 13;", 16), (416, 16, 512, 4, 0));
    assert_eq!(copy(16, "mov.u32 %r3, 0;", 16), (0, 0, 512, 4, 0));
    let some = "setp.lt.u32 %p1, %r1, 4; selp.u32 %r3, 16, 0, %p1;";
    assert_eq!(copy(16, some, 16), (64, 2, 512, 4, 0));
}

#[test]
fn atomics_on_one_word_are_made_one_by_one() {
    assert_eq!(shared("red.shared.add.u32 [%r2], 1;", "mov.u32 %r2, 0;"), (128, 32, 31));
    assert_eq!(shared("red.shared.add.u32 [%r2], 1;", "shl.b32 %r2, %r1, 2;"), (128, 1, 0));
    let counters =
        access("atom.global.add.u32 %r3, [%rd3], 1; red.global.add.u64 [%rd1 + 4096], 1;", "mov.u32 %r2, 0;");
    let atomics = counters.class(Class::Atomic);
    assert_eq!((atomics.warps, atomics.threads, atomics.global_bytes, atomics.sectors), (2, 64, 32 * 12, 2));
    // they read and write
    assert_eq!((counters.loaded_sectors, counters.stored_sectors), (2, 2));
}

#[test]
fn generic_addresses_count_where_they_lead() {
    // lanes below 8 go to shared memory, lanes below 12 to local memory, the others to global memory
    let body = ".shared .align 16 .b8 s[4096]; .local .align 8 .b8 l[64]; ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x;
        mul.wide.u32 %rd2, %r1, 128; mov.u64 %rd3, s; cvta.shared.u64 %rd3, %rd3; mov.u64 %rd4, l;
        cvta.local.u64 %rd4, %rd4; add.u64 %rd3, %rd3, %rd2; add.u64 %rd1, %rd1, %rd2;
        setp.lt.u32 %p1, %r1, 8; setp.lt.u32 %p2, %r1, 12; selp.b64 %rd5, %rd4, %rd1, %p2;
        selp.b64 %rd5, %rd3, %rd5, %p1; st.u32 [%rd5], %r1; ld.u32 %r2, [%rd5]; ret;";
    let counters = counters(body, 32);
    for class in [Class::GenericStore, Class::GenericLoad] {
        let expected = Count {
            warps: 1,
            threads: 32,
            global_bytes: 20 * 4,
            shared_bytes: 8 * 4,
            local_bytes: 4 * 4,
            sectors: 20,
            passes: 8,
            conflicts: 7,
        };
        assert_eq!(counters.class(class), expected);
    }
    assert_eq!(counters.class(Class::GlobalLoad), Count::default());
    assert_eq!((counters.loaded_sectors, counters.stored_sectors), (20, 20));
}

#[test]
fn local_memory_and_constants() {
    let body = ".local .align 16 .b8 l[64]; mov.u32 %r1, %tid.x; st.local.u32 [l + 8], %r1;
        ld.local.v2.u32 {%r2, %r3}, [l + 8]; ld.const.u32 %r4, [c]; ret;";
    let bench = Bench::new(&kernel(1, ".const .align 4 .b8 c[4] = {1, 2, 3, 4};", body));
    let counters = launch(&bench, 2, 40, 0, &[0]);
    assert_eq!(counters.class(Class::LocalStore).local_bytes, 2 * 40 * 4);
    assert_eq!(counters.class(Class::LocalLoad).local_bytes, 2 * 40 * 8);
    // constants have a cache of their own
    let expected = Count { warps: 4, threads: 80, ..Count::default() };
    assert_eq!((counters.class(Class::Constant), counters.distinct_bytes()), (expected, 0));
}

#[test]
fn operations_are_those_of_arithmetic() {
    let body = "fma.rn.f32 %f1, %f2, %f3, %f4; add.f32 %f1, %f2, %f3; max.f32 %f1, %f2, %f3; ex2.approx.f32 %f1, %f1;
        fma.rn.f64 %fd1, %fd2, %fd3, %fd4; mul.f32 %f1, %f1, %f1; add.u32 %r1, %r2, %r3; fma.rn.f16x2 %r1, %r2, %r3, %r4;
        ret;";
    let counters = counters(body, 50);
    assert_eq!(counters.floating_point_operations(), 50 * (2 + 1 + 2 + 1 + 4));
    for (class, instructions) in [(Class::Float32, 4), (Class::Special, 1), (Class::Float64, 1), (Class::Half, 1)] {
        assert_eq!(counters.class(class).warps, 2 * instructions, "{class}");
    }
}

#[test]
fn an_order_that_is_drawn_counts_the_same() {
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 7; mul.wide.u32 %rd2, %r1, 4;
        add.u64 %rd1, %rd1, %rd2; LOOP: ld.global.u32 %r3, [%rd1]; sub.u32 %r2, %r2, 1;
        setp.ge.s32 %p1, %r2, -20; @%p1 bra LOOP; bar.sync 0; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&vec![0u32; 64]);
    let parameters = memory.to_le_bytes();
    let run = |schedule| {
        let launch = Launch { blocks: [7, 1, 1], threads: [64, 1, 1], dynamic_shared: 0, parameters: &parameters };
        let options = Options { counters: true, schedule, ..Options::default() };
        *bench.device.launch_with(&bench.module, "k", &launch, &options).unwrap().counters.unwrap()
    };
    let expected = run(None);
    for seed in 0..4 {
        assert_eq!(run(Some(seed)).total().threads, expected.total().threads);
        assert_eq!(run(Some(seed)).distinct_bytes(), 256);
    }
}

#[test]
fn blocks_that_wait_for_one_another_are_counted_whole() {
    // each block waits until those before it have added one; with many turns in between
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %ctaid.x; sub.u32 %r1, 5, %r1;
        SPIN: ld.relaxed.gpu.global.u32 %r2, [%rd1]; setp.lt.u32 %p1, %r2, %r1; @%p1 bra SPIN;
        atom.global.add.u32 %r3, [%rd1], 1; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&[0u32]);
    let parameters = memory.to_le_bytes();
    let launch = Launch { blocks: [6, 1, 1], threads: [1, 1, 1], dynamic_shared: 0, parameters: &parameters };
    let options = Options { counters: true, ..Options::default() };
    let statistics = bench.device.launch_with(&bench.module, "k", &launch, &options).unwrap();
    let counters = statistics.counters.unwrap();
    assert_eq!(counters.class(Class::Atomic).threads, 6);
    assert_eq!(counters.total().threads, statistics.thread_instructions);
    assert_eq!(bench.read_u32(memory, 1), [6]);
}

#[test]
fn launches_add_up() {
    let bench = Bench::new(&kernel(1, "", "ld.param.u64 %rd1, [p0]; ld.global.u32 %r1, [%rd1]; ret;"));
    let memory = bench.upload(&[0u32]);
    let one = launch(&bench, 1, 32, 0, &[memory]);
    let mut sum = launch(&bench, 3, 64, 0, &[memory]);
    assert!(sum.add(&one));
    assert_eq!((sum.launches, sum.blocks, sum.grid, sum.block), (2, 4, [1, 1, 1], [32, 1, 1]));
    assert_eq!((sum.class(Class::GlobalLoad).warps, sum.loaded_sectors), (7, 2));
    // not the same kernel, though it has the same name
    let before = sum.clone();
    assert!(!sum.add(&counters("ret;", 32)));
    assert_eq!(sum, before);
}

#[test]
fn the_hottest_instructions_come_first() {
    let body = ".shared .align 16 .b8 s[16384]; mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 7; mov.u32 %r3, s;
        add.u32 %r2, %r2, %r3; ld.shared.u32 %r4, [%r2]; ret;";
    let hottest = counters(body, 32);
    let hottest = hottest.hottest(2);
    assert_eq!((hottest.len(), hottest[0].opcode.as_str(), hottest[0].turns()), (2, "ld.shared.u32", 32));
    assert!(hottest[1].turns() == 1 && hottest[1].opcode != "mov.u32", "{hottest:?}");
}

#[test]
fn instructions_know_their_lines() {
    let ptx = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<2>;\n.loc 1 17 3\n\
               mov.u32 %r1, 5;\nret;\n}\n.file 1 \"/src/kernel.cu\"\n";
    let counters = launch(&Bench::new(ptx), 1, 32, 0, &[]);
    let one = find(&counters, "mov.u32");
    assert_eq!((one.ptx_line, one.source.clone()), (8, Some(("/src/kernel.cu".to_owned(), 17))));
    assert!(counters.to_string().contains("kernel.cu:17"), "{counters}");
}

#[test]
fn text_has_every_figure() {
    let body =
        ".shared .align 16 .b8 s[16384]; ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 8;
        add.u64 %rd1, %rd1, %rd2; ld.global.u32 %r2, [%rd1]; shl.b32 %r3, %r1, 3; mov.u32 %r4, s;
        add.u32 %r4, %r4, %r3; st.shared.u32 [%r4], %r2; fma.rn.f32 %f1, %f1, %f1, %f1; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&vec![0u32; 1 << 14]);
    let text = launch(&bench, 1000, 32, 0, &[memory]).to_string();
    let line = |start: &str| -> Vec<String> {
        let found = text.lines().find(|line| line.trim_start().starts_with(start));
        let found = found.unwrap_or_else(|| panic!("no {start} in {text}"));
        found.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(line("f32 arithmetic"), ["f32 arithmetic", "1,000", "9.1 %", "32,000", "32.0"]);
    assert_eq!(line("all"), ["all", "11,000", "100.0 %", "352,000", "32.0"]);
    assert_eq!(line("loads"), ["loads", "128,000", "8,000", "256,000", "50.0 %", "256"]);
    assert_eq!(line("stores"), ["stores", "128,000", "2,000", "1,000 (50.0 %)"]);
    assert!(text.contains("floating-point operations: 64,000;"), "{text}");
    assert!(text.contains("1 launch, 1,000 blocks; grid 1000 x 1 x 1, block 32 x 1 x 1, 16,384 bytes"), "{text}");
    assert!(text.contains("st.shared.u32") && !text.contains("f64"), "{text}");
}

/// A kernel whose every thread executes `count` times one instruction.
fn repeated(instruction: &str, count: usize, blocks: u32, threads: u32) -> Counters {
    let body = format!(
        "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; {} ret;",
        std::iter::repeat_n(instruction, count).collect::<Vec<_>>().join("\n")
    );
    let bench = Bench::new(&kernel(1, "", &body));
    let memory = bench.upload(&vec![0u32; 1 << 14]);
    launch(&bench, blocks, threads, 0, &[memory])
}

fn time_of(roofline: &Roofline, resource: Resource) -> f64 {
    roofline.times.iter().find(|(known, _)| *known == resource).unwrap().1
}

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-9, "{found:e} is not {expected:e}");
}

#[test]
fn a_roof_of_arithmetic() {
    // 264 blocks of 256 threads, 20 times each: on all 132 multiprocessors of an H100, 128 lanes a cycle at 1.98 GHz
    let counters = repeated("fma.rn.f32 %f1, %f1, %f1, %f1;", 20, 264, 256);
    let roofline = Roofline::of(&counters, &H100);
    let lanes = 264.0 * 256.0 * 20.0;
    close(time_of(&roofline, Resource::Float32), lanes / (132.0 * 128.0 * 1.98e9));
    // a `ret` is issued too; moves and parameters are not
    close(time_of(&roofline, Resource::Issue), 264.0 * 8.0 * 21.0 / (132.0 * 4.0 * 1.98e9));
    assert_eq!((roofline.bound_by(), roofline.seconds), (Resource::Issue, roofline.times[0].1));
    // half as many lanes on a T4, where it binds more than the issue; 40 multiprocessors at 1.59 GHz
    let roofline = Roofline::of(&counters, &T4);
    close(roofline.seconds, lanes / (40.0 * 64.0 * 1.59e9));
    assert_eq!(roofline.bound_by(), Resource::Float32);
    // the tenth part of the multiprocessors can do no more than the tenth part
    let few = Roofline::of(&repeated("fma.rn.f32 %f1, %f1, %f1, %f1;", 20, 4, 256), &T4);
    close(few.seconds, 4.0 * 256.0 * 20.0 / (4.0 * 64.0 * 1.59e9));
    assert_eq!(few.multiprocessors, 4);
}

#[test]
fn a_roof_for_each_unit() {
    let seconds = |instruction: &str, resource: Resource, profile| {
        let counters = repeated(instruction, 10, 132, 128);
        time_of(&Roofline::of(&counters, profile), resource) / (132.0 * 128.0 * 10.0)
    };
    // lanes that a whole GPU has, and its clock
    close(seconds("fma.rn.f64 %fd1, %fd1, %fd1, %fd1;", Resource::Float64, &A100), 1.0 / 9.75e12 * 2.0);
    close(seconds("ex2.approx.f32 %f1, %f1;", Resource::Special, &RTX_4090), 1.0 / (128.0 * 16.0 * 2.52e9));
    close(seconds("fma.rn.f16x2 %r2, %r2, %r2, %r2;", Resource::Half, &H100), 1.0 / (132.0 * 128.0 * 1.98e9));
    close(seconds("cvt.rn.f32.u32 %f1, %r1;", Resource::Conversion, &H100), 1.0 / (132.0 * 64.0 * 1.98e9));
    close(seconds("shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;", Resource::Shuffle, &T4), 1.0 / (40.0 * 32.0 * 1.59e9));
    close(seconds("add.u32 %r2, %r2, %r1;", Resource::Integer, &H100), 1.0 / (132.0 * 64.0 * 1.98e9));
}

#[test]
fn a_roof_of_memory() {
    // each of 2048 warps loads 512 bytes of its own, and all of them once more
    let body = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r1, %r2, 64, %r1;
        mul.wide.u32 %rd2, %r1, 16; add.u64 %rd1, %rd1, %rd2; ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1];
        ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1]; ret;";
    let bench = Bench::new(&kernel(1, "", body));
    let memory = bench.upload(&vec![0u32; 1 << 18]);
    let counters = launch(&bench, 1024, 64, 0, &[memory]);
    let bytes = 2048.0 * 512.0;
    let roofline = Roofline::of(&counters, &A100);
    close(time_of(&roofline, Resource::Memory), bytes / 1555e9);
    close(time_of(&roofline, Resource::GlobalAccess), 2.0 * bytes / (108.0 * 128.0 * 1.41e9));
    assert_eq!(roofline.bound_by(), Resource::Memory);
    // an A100 has room for 32 such blocks, but there are only 10 for each multiprocessor
    assert_eq!((roofline.resident_blocks, roofline.multiprocessors), (32, 108));
    close(roofline.occupancy, 10.0 * 64.0 / 2048.0);
    let text = roofline.to_string();
    assert!(text.contains("NVIDIA A100-SXM4-40GB (sm_80) no less than ") && text.contains("bound by device memory"));
    assert!(text.contains("occupancy 31.2 % at most; 108 of 108 multiprocessors"), "{text}");
    // two of them take twice as long
    let mut sum = roofline.clone();
    sum.add(&roofline);
    close(sum.seconds, 2.0 * roofline.seconds);
    assert_eq!(sum.launches, 2);
}

#[test]
fn a_roof_of_shared_memory() {
    let body = ".shared .align 16 .b8 s[40960]; mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 7; and.b32 %r2, %r2, 4095;
        mov.u32 %r3, s; add.u32 %r2, %r2, %r3; ld.shared.u32 %r4, [%r2]; ret;";
    let bench = Bench::new(&kernel(0, "", body));
    let counters = launch(&bench, 132, 128, 8192, &[]);
    assert_eq!(counters.shared_bytes, 49152);
    let roofline = Roofline::of(&counters, &H100);
    // 4 warps, 32 passes each
    close(time_of(&roofline, Resource::SharedMemory), 128.0 / 1.98e9);
    assert_eq!((roofline.bound_by(), roofline.resident_blocks), (Resource::SharedMemory, 4));
}
