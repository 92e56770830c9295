// Programmatic dependent launch: a kernel with `@pdl` begins before those before it have ended.
//
// Below compute capability 9.0 there is no such thing, and these do nothing.
#pragma once

// Waits until the kernels before this one have ended, with all that they wrote. What the `@pdl` rule names may be read before.
// Every thread comes here before it ends, so that the end of this kernel is after theirs.
__device__ inline void wait_for_predecessors() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the kernel after this one begin, as soon as there is room and all blocks came here.
__device__ inline void let_dependents_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
