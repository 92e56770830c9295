// Compiled for two targets: the device takes the best.
#include <cstdint>

/// Which code runs: the architecture that the compiler had.
///
/// @grid    1
/// @block   1
/// @len     out == 1
/// @out     out
/// @targets 75 80
/// @safe
__global__ void architecture(uint32_t* out) {
#ifdef __CUDA_ARCH__
    out[0] = __CUDA_ARCH__;
#endif
}
