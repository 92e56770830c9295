#include <cstdint>
#define int32_t unsigned
__global__ void k(float* x, int n) { x[0] = n; }
#undef int32_t
#define int int64_t
__global__ void l(float* x, int n) { x[0] = n; }
