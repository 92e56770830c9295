/// @grid    1
/// @block   32
/// @len     x == 32
/// @pdl
/// @targets 90
/// @safe
__global__ void k(float* x) { x[threadIdx.x] = 1; }
