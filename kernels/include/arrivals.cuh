// What blocks of a launch leave to the last of them.
//
// Each stores its part, then counts its arrival; who finds that all others were there before goes on with all parts. What
// the counter begins with decides who that is, and it may be anything: so all that one block stores and another loads is
// stored and loaded as atomics are. However many blocks are taken for the last one, this is no race.
#pragma once

#include <cstdint>

// Four f32.
__device__ inline void store_shared_result(float* to, float4 x) {
    asm volatile("st.relaxed.gpu.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w)
                 : "memory");
}
__device__ inline float4 load_shared_result(const float* from) {
    float4 x;
    asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                 : "l"(from)
                 : "memory");
    return x;
}

// A word.
__device__ inline void store_shared_result(uint32_t* to, uint32_t x) {
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(x) : "memory");
}
__device__ inline uint32_t load_shared_result(const uint32_t* from) {
    uint32_t x;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(from) : "memory");
    return x;
}

// Counts the arrival of this block, with what its threads wrote before the last barrier. Returns whether it is the last of
// `blocks`; then the counter is 0 again. By one thread.
__device__ inline bool arrives_last(uint32_t* arrivals, uint32_t blocks) {
    uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(arrivals) : "memory");
    if (before != blocks - 1) return false;
    atomicExch(arrivals, 0);
    return true;
}
