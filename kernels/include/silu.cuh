// The activation of SwiGLU (Shazeer, 2020).
#pragma once

// `x / (1 + e^-x)`
__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }
