/// @targets 80
__global__ void k(float* x) { x[0] = 1; }
/// @targets 80 90
__global__ void l(float* x) { x[0] = 2; }
/// @targets sm_80
__global__ void m(float* x) { x[0] = 3; }
