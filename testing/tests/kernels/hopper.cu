// Kernels with `@pdl`: two that do not keep to it, each with its mended twin.
#include <cstdint>

/// An input is read before the kernel that makes it has ended.
///
/// @grid    div_ceil(n, 128)
/// @block   128
/// @len     x      == n
/// @len     weight == n
/// @len     out    == n
/// @out     out
/// @pdl     weight
/// @targets 90
/// @safe
__global__ void early_read(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ out,
                           uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    const float scaled = i < n ? x[i] * weight[i] : 0.0f;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (i < n) out[i] = scaled;
}

/// Half of the threads do not wait for the kernel before.
///
/// @grid    div_ceil(n, 128)
/// @block   128
/// @len     x == n
/// @pdl
/// @targets 90
/// @safe
__global__ void some_wait(float* __restrict__ x, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (threadIdx.x < 64) asm volatile("griddepcontrol.wait;" ::: "memory");
    if (i < n) x[i] *= 2.0f;
}

/// Only the weight is read before the kernel before has ended.
///
/// @grid    div_ceil(n, 128)
/// @block   128
/// @len     x      == n
/// @len     weight == n
/// @len     out    == n
/// @out     out
/// @pdl     weight
/// @targets 90
/// @safe
__global__ void early_read_mended(const float* __restrict__ x, const float* __restrict__ weight,
                                  float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    const float scale = i < n ? weight[i] : 0.0f;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (i < n) out[i] = x[i] * scale;
}

/// A kernel that begins early waits before it touches anything.
///
/// @grid    div_ceil(n, 128)
/// @block   128
/// @len     x == n
/// @pdl
/// @targets 90
/// @safe
__global__ void some_wait_mended(float* __restrict__ x, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (i < n) x[i] *= 2.0f;
}
