// Programmatic dependent launch: a kernel begins before the one before it has ended, and waits for that by itself (the
// rule `@pdl`). Before compute capability 9.0 kernels come one after the other, and these do nothing.
#pragma once

// Waits until the kernels before have ended and what they wrote can be seen.
__device__ inline void wait_for_predecessors() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the kernel after this one begin, once every block has said so or ended.
__device__ inline void let_dependents_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}
