/// @grid  1
/// @block 16, 16
/// @len   x == 1
__global__ void __launch_bounds__(128) k(float* x) { x[0] = 1; }
