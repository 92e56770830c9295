// What a device can do at most: reading memory, sums of products of bytes, products of matrices. Benchmarks compare other
// kernels with these, measured in the same run.
//
// `read_all` has eight loads of 16 bytes of a thread in flight, and next to no arithmetic. The others keep eight independent
// chains a thread or warp, so that no instruction waits for the one before.
#include <cuda_fp16.h>

#include "mma.cuh"
#include "warp.cuh"

constexpr uint32_t THREADS = 512;
constexpr uint32_t LOADS = 8;
constexpr uint32_t CHAINS = 8;
constexpr uint32_t ROUNDS = 32;

/// Reads all of `words`, and leaves in `sums` for each block the exclusive or of what it read.
///
/// @grid    blocks
/// @block   512
/// @require count % 4 == 0
/// @len     words == count
/// @align   words 16
/// @len     sums  == blocks
/// @out     sums
/// @safe
__global__ void __launch_bounds__(THREADS)
read_all(const uint32_t* __restrict__ words, uint32_t* __restrict__ sums, uint64_t count, uint32_t blocks) {
    __shared__ uint32_t partial[THREADS / WARP];
    const uint4* __restrict__ quads = reinterpret_cast<const uint4*>(words);
    const size_t end = count / 4, stride = size_t(blocks) * THREADS;
    uint32_t sum = 0;
    size_t at = size_t(blockIdx.x) * THREADS + threadIdx.x;
    for (; at + (LOADS - 1) * stride < end; at += LOADS * stride) {
        uint4 loaded[LOADS];
#pragma unroll
        for (uint32_t n = 0; n < LOADS; ++n) loaded[n] = quads[at + n * stride];
#pragma unroll
        for (uint32_t n = 0; n < LOADS; ++n) sum ^= loaded[n].x ^ loaded[n].y ^ loaded[n].z ^ loaded[n].w;
    }
    for (; at < end; at += stride) {
        const uint4 loaded = quads[at];
        sum ^= loaded.x ^ loaded.y ^ loaded.z ^ loaded.w;
    }
    for (unsigned offset = WARP / 2; offset > 0; offset /= 2) sum ^= __shfl_xor_sync(FULL_WARP, sum, offset);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (uint32_t w = 1; w < THREADS / WARP; ++w) sum ^= partial[w];
        sums[blockIdx.x] = sum;
    }
}

/// 256 sums of four products of bytes a thread: 2,048 operations. `seed` is what they begin with.
///
/// @grid    blocks
/// @block   512
/// @len     out == blocks * 512
/// @out     out
/// @safe
__global__ void __launch_bounds__(THREADS)
byte_products(int32_t* __restrict__ out, int32_t seed, uint32_t blocks) {
    const size_t thread = size_t(blockIdx.x) * THREADS + threadIdx.x;
    int32_t sums[CHAINS];
#pragma unroll
    for (uint32_t n = 0; n < CHAINS; ++n) sums[n] = int32_t(threadIdx.x) * 0x01030507 + seed + int32_t(n);
    for (uint32_t round = 0; round < ROUNDS; ++round) {
#pragma unroll
        for (uint32_t n = 0; n < CHAINS; ++n) sums[n] = __dp4a(sums[n], seed, sums[n]);
    }
    int32_t sum = 0;
#pragma unroll
    for (uint32_t n = 0; n < CHAINS; ++n) sum ^= sums[n];
    out[thread] = sum;
}

/// 256 products of a 16 x 16 with a 16 x 8 matrix a warp, on tensor cores: 1,048,576 operations. `a` and `b` are two f16
/// each, of which all matrices are made. Sums begin with 0 to 31, as `4 * chain + i`; `out` is the sum of a lane's.
///
/// @targets 75 80
/// @grid    blocks
/// @block   512
/// @len     out == blocks * 512
/// @out     out
/// @safe
__global__ void __launch_bounds__(THREADS)
matrix_products(float* __restrict__ out, uint32_t a, uint32_t b, uint32_t blocks) {
    const size_t thread = size_t(blockIdx.x) * THREADS + threadIdx.x;
    // Chains that begin alike would be one.
    float sums[CHAINS][4];
#pragma unroll
    for (uint32_t n = 0; n < CHAINS; ++n)
        for (uint32_t i = 0; i < 4; ++i) sums[n][i] = float(4 * n + i);
    const uint32_t left[4] = {a, a, a, a};
    for (uint32_t round = 0; round < ROUNDS; ++round) {
#pragma unroll
        for (uint32_t n = 0; n < CHAINS; ++n) mma(sums[n], left, b, b);
    }
    float sum = 0.0f;
#pragma unroll
    for (uint32_t n = 0; n < CHAINS; ++n) sum += sums[n][0] + sums[n][1] + sums[n][2] + sums[n][3];
    out[thread] = sum;
}
