// Kernels as people write them, with contracts: atomics, half precision, reductions in double precision.
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

/// Counts bytes, first in shared memory.
///
/// @grid    min(div_ceil(n, 256), 64)
/// @block   256
/// @len     x    == n
/// @len     bins == 256
/// @safe
__global__ void histogram(const uint8_t* x, unsigned int* bins, uint32_t n) {
    __shared__ unsigned int local[256];
    local[threadIdx.x] = 0;
    __syncthreads();
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += size_t(gridDim.x) * blockDim.x)
        atomicAdd(&local[x[i]], 1u);
    __syncthreads();
    if (local[threadIdx.x]) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

/// `y = a * x + y` in half precision.
///
/// @grid    div_ceil(n, 256)
/// @block   256
/// @len     x == n
/// @len     y == n
/// @safe
__global__ void half_axpy(const __half* x, __half* y, __half a, int n) {
    int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n) y[i] = __hfma(a, x[i], y[i]);
}

/// GELU of pairs, with the odd element at the end by itself.
///
/// @grid    div_ceil(n, 512)
/// @block   256
/// @len     x == n
/// @align   x 4
/// @len     y == n
/// @align   y 4
/// @out     y
/// @safe
__global__ void half2_gelu(const __half* x, __half* y, uint32_t n) {
    size_t i = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * 2;
    if (i + 1 < n) {
        __half2 v = *reinterpret_cast<const __half2*>(x + i);
        __half2 inner = __hmul2(__hfma2(__hmul2(v, v), __float2half2_rn(0.0356774f), __float2half2_rn(0.797885f)), v);
        float2 t = __half22float2(inner);
        __half2 th = __floats2half2_rn(tanhf(t.x), tanhf(t.y));
        __half2 half_v = __hmul2(v, __float2half2_rn(0.5f));
        *reinterpret_cast<__half2*>(y + i) = __hfma2(half_v, th, half_v);
    } else if (i < n) {
        float v = __half2float(x[i]);
        y[i] = __float2half(0.5f * v * (1.0f + tanhf(0.797885f * v + 0.0356774f * v * v * v)));
    }
}

/// Scales rows of bf16.
///
/// @grid    rows
/// @block   128
/// @len     x     == rows * dim
/// @len     scale == rows
/// @len     y     == rows * dim
/// @out     y
/// @safe
__global__ void bf16_scale(const __nv_bfloat16* x, const float* scale, __nv_bfloat16* y, uint32_t rows, uint32_t dim) {
    const size_t row = size_t(blockIdx.x) * dim;
    for (uint32_t i = threadIdx.x; i < dim; i += blockDim.x)
        y[row + i] = __float2bfloat16(__bfloat162float(x[row + i]) * scale[blockIdx.x]);
}

/// Root of the mean square, in double precision.
///
/// @grid    1
/// @block   256
/// @len     x   == n
/// @len     out == 1
/// @out     out
/// @safe
__global__ void rms_f64(const double* x, double* out, uint32_t n) {
    __shared__ double partial[256];
    double sum = 0;
    for (size_t i = threadIdx.x; i < n; i += 256) sum += x[i] * x[i];
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int offset = 128; offset; offset /= 2) {
        if (threadIdx.x < offset) partial[threadIdx.x] += partial[threadIdx.x + offset];
        __syncthreads();
    }
    if (threadIdx.x == 0) *out = n ? sqrt(partial[0] / n) : 0.0;
}

/// The largest element, by compare-and-swap on its bits, and how many are positive.
///
/// @grid    div_ceil(n, 256)
/// @block   256
/// @len     x        == n
/// @len     largest  == 1
/// @len     positive == 1
/// @safe
__global__ void largest_and_positive(const float* x, float* largest, int* positive, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
    const float value = i < n ? x[i] : -INFINITY;
    const int count = __syncthreads_count(value > 0.0f);
    if (threadIdx.x == 0) atomicAdd(positive, count);
    int* bits = reinterpret_cast<int*>(largest);
    int old = *bits, assumed;
    do {
        assumed = old;
        if (!(value > __int_as_float(assumed))) break;
        old = atomicCAS(bits, assumed, __float_as_int(value));
    } while (assumed != old);
}
