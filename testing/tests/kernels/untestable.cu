// Kernels whose contracts cannot be tested.
#include <cstdint>

/// Nothing says how long `x` is.
///
/// @grid  1
/// @block 32
__global__ void no_length(float* x) { x[threadIdx.x] = 0.0f; }

/// No number is odd and a multiple of four.
///
/// @grid    1
/// @block   32
/// @len     x == n
/// @require n % 4 == 0
/// @require n % 2 == 1
/// @safe
__global__ void contradiction(float* x, uint32_t n) {
    if (threadIdx.x < n) x[threadIdx.x] = 0.0f;
}
