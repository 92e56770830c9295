/// @grid    2
/// @block   32
/// @cluster 2
/// @len     x == 1
__global__ void k(float* x) { x[0] = 1; }
