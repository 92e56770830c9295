#include <cstdint>
__global__ void scale_it(float* x) { x[0] *= 2; }
__global__ void scaleIt(float* x) { x[0] *= 3; }
__global__ void Scale_It(float* x) { x[0] *= 4; }
