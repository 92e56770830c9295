#include <cstdint>
/// @grid  n
/// @block 32, 32, 32, 32
/// @align x 3
__global__ void first(float* x, uint32_t n) { x[0] += n; }

/// @out n
/// @len x == sqrt(n)
__global__ void second(float* x, uint32_t n) { x[0] += n; }
