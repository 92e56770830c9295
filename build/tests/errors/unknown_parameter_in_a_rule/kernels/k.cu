#include <cstdint>
/// Adds one.
/// @grid  rows
/// @block 32
/// @len   y == n
/// @require dim % 4 == 0
__global__ void add_one(float* x, uint32_t n) { x[0] += n; }
