#include <cstdint>
/// Adds one.
/// @grid  n
/// @blcok 32
/// @len   x == n
/// @safe
__global__ void add_one(float* x, uint32_t n) { x[0] += n; }
