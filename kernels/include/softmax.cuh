// What the softmax of attention has in common: powers of two, and the room for small weights.
#pragma once

// Weights are 2^HEADROOM times what they are defined as, so that small ones keep their bits as f16.
constexpr float HEADROOM = 5.0f;
constexpr float LOG2_E = 1.4426950408889634f;

// 2^x; for very small results 0.
__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
