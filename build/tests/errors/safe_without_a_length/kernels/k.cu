#include <cstdint>
/// @grid  1
/// @block 32
/// @len   x == n
/// @safe
__global__ void copy(const float* x, float* y, uint32_t n) { y[0] = x[n - 1]; }
