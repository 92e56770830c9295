#include <cstdint>
__global__ void broken(float* x, uint32_t n) {
    x[n] = missing;
    x[0] = 1.0f
}
