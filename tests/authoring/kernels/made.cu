// Kernels that are made by macros, and others that C names.
#include <cstdint>

#define KERNEL(threads) __global__ void __launch_bounds__(threads)
#define BINARY(name, op)                                                                        \
    KERNEL(256) name##_arrays(const float* __restrict__ a, const float* b, float* out, uint32_t n) { \
        const uint32_t i = blockIdx.x * 256 + threadIdx.x;                                      \
        if (i < n) out[i] = a[i] op b[i];                                                       \
    }

/// Adds.
/// @grid  div_ceil(n, 256)
/// @block 256
/// @len   a == n
/// @len   b == n
/// @len   out == n
/// @out   out
/// @safe
BINARY(add, +)

/// Multiplies.
BINARY(mul, *)

/// By its plain name.
/// @grid 1
/// @block 1
/// @len x == 1
/// @optional mask
/// @len mask == 1
/// @safe
extern "C" __global__ void plain(float* x, const uint8_t* mask, bool negate) {
    if (mask == nullptr || *mask) x[0] = negate ? -x[0] : x[0];
}
