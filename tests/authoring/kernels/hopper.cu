// Kernels that are launched before what comes before them has ended, where the device can do that.
#include <cstdint>
#include <cuda_runtime.h>

// Waits for what comes before.
__device__ inline void wait() {
#if __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
#endif
}

/// `out[i] = 2 * x[i]`, where `x` is read before the wait.
///
/// @grid    div_ceil(n, 256)
/// @block   256
/// @len     x == n
/// @len     out == n
/// @out     out
/// @pdl     x
/// @targets 80 90
/// @safe
__global__ void twice(const float* x, float* out, uint32_t n) {
    const uint32_t i = blockIdx.x * 256 + threadIdx.x;
    const float value = i < n ? x[i] : 0.0f;
    wait();
    if (i < n) out[i] = 2.0f * value;
}

/// `out[i] = 2 * x[i]`, where `out` may be touched before the wait.
///
/// @grid    div_ceil(n, 256)
/// @block   256
/// @len     x == n
/// @len     out == n
/// @pdl     out
/// @targets 80 90
/// @safe
__global__ void twice_into(const float* x, float* out, uint32_t n) {
    const uint32_t i = blockIdx.x * 256 + threadIdx.x;
    if (i < n) out[i] = 0.0f;
    wait();
    if (i < n) out[i] = 2.0f * x[i];
}

/// `out[i] = 2 * x[i]`, with all blocks at once.
///
/// @grid    div_ceil(n, 256)
/// @block   256
/// @len     x == n
/// @len     out == n
/// @pdl     x
/// @cooperative
/// @targets 80 90
/// @safe
__global__ void twice_together(const float* x, float* out, uint32_t n) {
    const uint32_t i = blockIdx.x * 256 + threadIdx.x;
    wait();
    if (i < n) out[i] = 2.0f * x[i];
}

/// `out[i] = 2 * x[i]`, after all that comes before.
///
/// @grid    div_ceil(n, 256)
/// @block   256
/// @len     x == n
/// @len     out == n
/// @safe
__global__ void twice_after(const float* x, float* out, uint32_t n) {
    const uint32_t i = blockIdx.x * 256 + threadIdx.x;
    if (i < n) out[i] = 2.0f * x[i];
}
