// Templates and their instances.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "gemv.cuh"

namespace ops {
/// `x[i] *= a`
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @safe
template <class T>
__global__ void scale(T* x, T a, uint32_t n) {
    const uint32_t i = blockIdx.x * 128 + threadIdx.x;
    if (i < n) x[i] = T(float(x[i]) * float(a));
}
template __global__ void scale<float>(float*, float, uint32_t);
template __global__ void scale<__half>(__half*, __half, uint32_t);
template __global__ void scale<int>(int*, int, uint32_t);
}  // namespace ops
template __global__ void ops::scale<__nv_bfloat16>(__nv_bfloat16*, __nv_bfloat16, uint32_t);

/// `y[i] = x[i]`
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @len   y == n
/// @out   y
/// @safe
template <class From, class To>
__global__ void convert(const From* x, To* y, uint32_t n) {
    const uint32_t i = blockIdx.x * 128 + threadIdx.x;
    if (i < n) y[i] = To(float(x[i]));
}
template __global__ void convert<float, __half>(const float*, __half*, uint32_t);
template __global__ void convert<int, float>(const int*, float*, uint32_t);

/// Writes `first` and the numbers after it.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @out   x
/// @safe
template <class Index>
__global__ void count(Index* x, Index n, Index first) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) x[i] = first + Index(i);
}
template __global__ void count<uint32_t>(uint32_t*, uint32_t, uint32_t);
template __global__ void count<uint64_t>(uint64_t*, uint64_t, uint64_t);

struct Bytes {
    using element = uint8_t;
    using sum = uint32_t;
};
struct Words {
    using element = int32_t;
    using sum = long long;
};
template __global__ void gemv<Bytes, 4>(const uint8_t*, uint32_t*, uint32_t);
template __global__ void gemv<Words, 1>(const int32_t*, long long*, uint32_t);

// How a matrix is held, in chunks of 32 weights: `WORDS` words of numbers of `BITS` bits in two's complement, the lowest
// bits first, and `SCALES` scales, each for as many weights.
template <uint32_t SCALES_OF_A_CHUNK>
struct Nibbles {
    static constexpr uint32_t BITS = 4, WORDS = 4, SCALES = SCALES_OF_A_CHUNK;
};
namespace ops {
struct Octets {
    enum : uint32_t { BITS = 8, WORDS = 8, SCALES = 1 };
};

/// `y[token, row]` is the dot product of the row with the token's row of `x`; a block has `TOKENS` tokens.
///
/// @grid  div_ceil(rows, 4), div_ceil(tokens, TOKENS)
/// @block 4, TOKENS
/// @len   words  == rows * chunks * W::WORDS
/// @len   scales == rows * chunks * W::SCALES
/// @len   x      == tokens * chunks * W::WORDS * (32 / W::BITS)
/// @len   y      == tokens * rows
/// @out   y
/// @require chunks <= 4
/// @safe
template <class W, uint32_t TOKENS>
__global__ void matmul(const uint32_t* words, const float* scales, const float* x, float* y, uint32_t rows,
                       uint32_t chunks, uint32_t tokens) {
    constexpr uint32_t PER_WORD = 32 / W::BITS, CHUNK = W::WORDS * PER_WORD;
    const size_t row = blockIdx.x * 4 + threadIdx.x, token = blockIdx.y * TOKENS + threadIdx.y;
    if (row >= rows || token >= tokens) return;
    float sum = 0;
    for (size_t i = 0; i < size_t(chunks) * CHUNK; ++i) {
        const uint32_t word = words[row * chunks * W::WORDS + i / PER_WORD];
        const int weight = int(word << (32 - W::BITS * (i % PER_WORD + 1))) >> (32 - W::BITS);
        sum += float(weight) * scales[(row * chunks * CHUNK + i) * W::SCALES / CHUNK] * x[token * chunks * CHUNK + i];
    }
    y[token * rows + row] = sum;
}
template __global__ void matmul<Nibbles<1>, 1>(const uint32_t*, const float*, const float*, float*, uint32_t, uint32_t,
                                               uint32_t);
template __global__ void matmul<Nibbles<2>, 8>(const uint32_t*, const float*, const float*, float*, uint32_t, uint32_t,
                                               uint32_t);
template __global__ void matmul<Octets, 2>(const uint32_t*, const float*, const float*, float*, uint32_t, uint32_t,
                                           uint32_t);
}  // namespace ops
