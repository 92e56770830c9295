// The kernels of mistakes.cu without the mistake.
#include <cstdint>

/// @grid  1
/// @block 128
/// @len   x == n
/// @safe
__global__ void off_by_one_mended(float* __restrict__ x, uint32_t n) {
    for (size_t i = threadIdx.x; i < n; i += 128) x[i] *= 2.0f;
}

/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @safe
__global__ void no_guard_mended(float* __restrict__ x, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) x[i] += 1.0f;
}

/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   index == n
/// @len   table == size
/// @len   out   == n
/// @out   out
/// @safe
__global__ void unchecked_index_mended(const uint32_t* __restrict__ index, const float* __restrict__ table,
                                       float* __restrict__ out, uint32_t n, uint32_t size) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] = index[i] < size ? table[index[i]] : 0.0f;
}

/// @grid  rows
/// @block 64
/// @len   x   == rows * dim
/// @len   out == rows * dim
/// @out   out
/// @safe
__global__ void signed_overflow_mended(const float* __restrict__ x, float* __restrict__ out, int rows, int dim) {
    const int64_t row = int64_t(blockIdx.x) * dim;
    for (int64_t i = threadIdx.x; i < dim; i += 64) out[row + i] = -x[row + i];
}

/// @grid  rows
/// @block 64
/// @len   x   == rows * dim
/// @len   out == rows * dim
/// @out   out
/// @safe
__global__ void unsigned_overflow_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t rows,
                                         uint32_t dim) {
    const size_t row = size_t(blockIdx.x) * dim;
    for (size_t i = threadIdx.x; i < dim; i += 64) out[row + i] = -x[row + i];
}

/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == 2 * n
/// @len   out == n
/// @out   out
/// @safe
__global__ void wrong_length_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] = x[i] * x[size_t(n) + i];
}

/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void not_written_whole_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @safe
__global__ void read_first_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] += x[i];
}

/// @grid    div_ceil(n, 512)
/// @block   128
/// @require n % 4 == 0
/// @len     x   == n
/// @len     out == n
/// @align   x   16
/// @align   out 16
/// @out     out
/// @safe
__global__ void unstated_alignment_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n / 4) reinterpret_cast<float4*>(out)[i] = reinterpret_cast<const float4*>(x)[i];
}

/// @grid    1
/// @block   32
/// @require n >= 1
/// @len     next  == n
/// @len     steps == 1
/// @out     steps
/// @safe
__global__ void endless_mended(const uint32_t* __restrict__ next, uint32_t* __restrict__ steps, uint32_t n) {
    uint32_t at = 0, count = 0;
    while (count < n && next[at] < n) at = next[at], ++count;
    if (threadIdx.x == 0) *steps = count;
}

/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @safe
__global__ void writes_const_mended(float* x, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) x[i] = 1.0f;
}

/// @grid  1
/// @block 64
/// @len   x == 64
/// @safe
__global__ void missing_threads_mended(float* __restrict__ x) {
    asm volatile("bar.sync 1, 64;" ::: "memory");
    x[threadIdx.x] = 0.0f;
}

/// Values change places between warps, with a barrier on either side.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void missing_barrier_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    __shared__ float values[128];
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    values[threadIdx.x] = 0.0f;
    __syncthreads();
    values[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    if (i < n) out[i] = values[threadIdx.x ^ 64];
}

/// Every thread writes its word of shared memory, with an element or without.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void unwritten_shared_mended(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    __shared__ float values[128];
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    values[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    if (i < n) out[i] = values[threadIdx.x ^ 1];
}

/// A warp tells another one that a value is there, after a fence; another fence stands before the value is read.
///
/// @grid  1
/// @block 64
/// @len   value == 1
/// @len   out   == 1
/// @out   out
/// @safe
__global__ void unfenced_mended(float* __restrict__ value, float* __restrict__ out) {
    __shared__ uint32_t ready;
    if (threadIdx.x == 0) ready = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
        value[0] = 1.0f;
        __threadfence_block();
        atomicExch(&ready, 1u);
    }
    if (threadIdx.x == 32) {
        while (atomicAdd(&ready, 0u) == 0) {
        }
        __threadfence_block();
        out[0] = value[0];
    }
}
