//! Kernels in the styles of other engines and libraries, compiled with nvcc when the tests run, on the emulator under every
//! check and in several orders of execution, against references in plain loops.
//!
//! Each source says whose style it is and what it covers; the module of its name has the references.

mod cooperative;
mod cub_block;
mod cub_device;
mod flash_attention;
mod k_quants;
mod math;
mod misc;
mod paged_attention;
mod pipeline_gemm;
mod program;
mod random;
mod toolchain;
mod wmma_gemm;

use program::Program;

/// A test for each source and each target that it is compiled for.
macro_rules! sources {
    ($($source:ident: $($test:ident = $target:literal),+;)*) => {
        $($(
            #[test]
            fn $test() {
                $source::check(&Program::new(stringify!($source), $target));
            }
        )+)*
    };
}

sources! {
    cub_block: cub_block_75 = 75, cub_block_90 = 90;
    cub_device: cub_device_75 = 75, cub_device_90 = 90;
    wmma_gemm: wmma_gemm_75 = 75, wmma_gemm_80 = 80, wmma_gemm_90 = 90;
    paged_attention: paged_attention_75 = 75, paged_attention_80 = 80, paged_attention_90 = 90;
    k_quants: k_quants_75 = 75, k_quants_90 = 90, k_quants_100 = 100;
    flash_attention: flash_attention_80 = 80, flash_attention_90 = 90, flash_attention_100 = 100;
    pipeline_gemm: pipeline_gemm_75 = 75, pipeline_gemm_80 = 80, pipeline_gemm_90 = 90;
    misc: misc_75 = 75, misc_80 = 80, misc_90 = 90;
    cooperative: cooperative_75 = 75, cooperative_80 = 80, cooperative_90 = 90;
}

/// Barriers in shared memory, which are `mbarrier` for these targets.
#[test]
fn barriers_in_shared_memory() {
    [80, 90].iter().for_each(|target| pipeline_gemm::barriers(&Program::new("pipeline_gemm", *target)));
}

/// They are atomic operations for older ones.
#[test]
#[ignore = "the emulator does not run these as it should: barriers for sm_75 let threads pass too early, or never"]
fn barriers_of_atomic_operations() {
    pipeline_gemm::barriers(&Program::new("pipeline_gemm", 75));
}
