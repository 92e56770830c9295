#include <cstdint>
namespace a { __global__ void scale(float* x) { x[0] *= 2; } }
namespace b { __global__ void scale(float* x) { x[0] *= 3; } }
