// Kernels that do not keep their contracts, each with one mistake that people make.
#include <cstdint>

/// The loop runs one element too far.
///
/// @grid  1
/// @block 128
/// @len   x == n
/// @safe
__global__ void off_by_one(float* __restrict__ x, uint32_t n) {
    for (uint32_t i = threadIdx.x; i <= n; i += 128) x[i] *= 2.0f;
}

/// The last block has threads without an element.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @safe
__global__ void no_guard(float* __restrict__ x, uint32_t n) {
    x[size_t(blockIdx.x) * 128 + threadIdx.x] += 1.0f;
}

/// An index from memory is used as it is.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   index == n
/// @len   table == size
/// @len   out   == n
/// @out   out
/// @safe
__global__ void unchecked_index(const uint32_t* __restrict__ index, const float* __restrict__ table,
                                float* __restrict__ out, uint32_t n, uint32_t size) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] = table[index[i]];
}

/// The row's start is computed with a sign and 32 bits.
///
/// @grid  rows
/// @block 64
/// @len   x   == rows * dim
/// @len   out == rows * dim
/// @out   out
/// @safe
__global__ void signed_overflow(const float* __restrict__ x, float* __restrict__ out, int rows, int dim) {
    const int row = blockIdx.x * dim;
    for (int i = threadIdx.x; i < dim; i += 64) out[row + i] = -x[row + i];
}

/// The row's start is computed with 32 bits, and wraps to a small number.
///
/// @grid  rows
/// @block 64
/// @len   x   == rows * dim
/// @len   out == rows * dim
/// @out   out
/// @safe
__global__ void unsigned_overflow(const float* __restrict__ x, float* __restrict__ out, uint32_t rows, uint32_t dim) {
    const uint32_t row = blockIdx.x * dim;
    for (uint32_t i = threadIdx.x; i < dim; i += 64) out[row + i] = -x[row + i];
}

/// The second half of `x` is not in the length.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void wrong_length(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] = x[i] * x[size_t(n) + i];
}

/// Elements that are not positive are passed over.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void not_written_whole(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n && x[i] > 0.0f) out[i] = x[i];
}

/// The output is added to.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void read_first(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) out[i] += x[i];
}

/// Four elements are loaded as one.
///
/// @grid    div_ceil(n, 512)
/// @block   128
/// @require n % 4 == 0
/// @len     x   == n
/// @len     out == n
/// @align   out 16
/// @out     out
/// @safe
__global__ void unstated_alignment(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n / 4) reinterpret_cast<float4*>(out)[i] = reinterpret_cast<const float4*>(x)[i];
}

/// A list is followed to its end, which it may not have.
///
/// @grid    1
/// @block   32
/// @require n >= 1
/// @len     next  == n
/// @len     steps == 1
/// @out     steps
/// @safe
__global__ void endless(const uint32_t* __restrict__ next, uint32_t* __restrict__ steps, uint32_t n) {
    uint32_t at = 0, count = 0;
    while (next[at] < n) at = next[at], ++count;
    if (threadIdx.x == 0) *steps = count;
}

/// A pointer to `const` is written.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @safe
__global__ void writes_const(const float* x, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) const_cast<float*>(x)[i] = 1.0f;
}

/// A warp may leave out a barrier that is for both.
///
/// @grid  1
/// @block 64
/// @len   x == 64
/// @safe
__global__ void missing_threads(float* __restrict__ x) {
    const float first = x[threadIdx.x / 32];
    __syncthreads();
    if (first > 0.0f) asm volatile("bar.sync 1, 64;" ::: "memory");
    x[threadIdx.x] = 0.0f;
}

/// Values change places between warps, and there is no barrier before they are read.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void missing_barrier(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    __shared__ float values[128];
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    values[threadIdx.x] = 0.0f;
    __syncthreads();
    values[threadIdx.x] = i < n ? x[i] : 0.0f;
    if (i < n) out[i] = values[threadIdx.x ^ 64];
}

/// Shared memory that nobody has written is read where the last block has no elements.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x   == n
/// @len   out == n
/// @out   out
/// @safe
__global__ void unwritten_shared(const float* __restrict__ x, float* __restrict__ out, uint32_t n) {
    __shared__ float values[128];
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) values[threadIdx.x] = x[i];
    __syncthreads();
    if (i < n) out[i] = values[threadIdx.x ^ 1];
}

/// A warp tells another one that a value is there, and nothing says that the value is seen with that.
///
/// @grid  1
/// @block 64
/// @len   value == 1
/// @len   out   == 1
/// @out   out
/// @safe
__global__ void unfenced(float* __restrict__ value, float* __restrict__ out) {
    __shared__ uint32_t ready;
    if (threadIdx.x == 0) ready = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
        value[0] = 1.0f;
        atomicExch(&ready, 1u);
    }
    if (threadIdx.x == 32) {
        while (atomicAdd(&ready, 0u) == 0) {
        }
        out[0] = value[0];
    }
}
