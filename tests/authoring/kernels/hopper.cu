// What needs compute capability 9.0.
#include <cstdint>
#include <cuda_runtime.h>

/// Waits for what came before.
///
/// @grid    1
/// @block   32
/// @len     x == 32
/// @len     weight == 32
/// @pdl     weight
/// @targets 80 90
/// @safe
__global__ void late(float* x, const float* weight) {
    const float w = weight[threadIdx.x];
#if __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
#endif
    x[threadIdx.x] += w;
}
