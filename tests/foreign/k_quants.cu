// In the style of llama.cpp's matrix-vector products: weights in k-quants and in blocks of 32, activations quantised to
// q8_1 first, products of bytes by dp4a, a warp or several for each row. Covers q4_0, q8_0, q4_K and q6_K with q8_1, and the
// quantisation of f32 to q8_1. Written from the layouts of the formats.
#include <cuda_fp16.h>

#include <cstdint>

// 32 values: q * d.
struct BlockQ8_0 {
    __half d;
    int8_t q[32];
};
// 32 values (q - 8) * d; byte i has values i and i + 16.
struct BlockQ4_0 {
    __half d;
    uint8_t q[16];
};
// 32 activations q * d; s is d times the sum of q.
struct BlockQ8_1 {
    __half2 ds;
    int8_t q[32];
};
// 256 values in 8 groups of 32: d * scale * q - dmin * min, with scales and mins of 6 bits.
struct BlockQ4_K {
    __half2 dm;
    uint8_t scales[12];
    uint8_t q[128];
};
// 256 values in 16 groups of 16: d * scale * (q - 32), with 4 low bits and 2 high ones apart.
struct BlockQ6_K {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    __half d;
};
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18 && sizeof(BlockQ8_1) == 36, "");
static_assert(sizeof(BlockQ4_K) == 144 && sizeof(BlockQ6_K) == 210, "");

__device__ float warp_max(float x) {
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, step));
    return x;
}
__device__ float warp_sum(float x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}

// A thread for each of n activations, which are a multiple of 32.
extern "C" __global__ void quantize_q8_1(const float* __restrict__ x, BlockQ8_1* __restrict__ out, int n) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= n) return;
    const float value = x[at], most = warp_max(fabsf(value));
    const float d = most / 127.0f;
    const int8_t q = most == 0.0f ? 0 : int8_t(roundf(value / d));
    const float sum = warp_sum(float(q)) * d;
    out[at / 32].q[at % 32] = q;
    if (at % 32 == 0) out[at / 32].ds = __floats2half2_rn(d, sum);
}

// Four bytes that are aligned to two only.
__device__ int word(const void* bytes, int at) {
    const uint16_t* halves = static_cast<const uint16_t*>(bytes) + 2 * at;
    return halves[0] | halves[1] << 16;
}

// The products of 8 words of activations with a quarter of a block each: what one thread adds.
struct Q8_0 {
    using Block = BlockQ8_0;
    static constexpr int VALUES = 32, THREADS = 8;
    __device__ static float dot(const Block& w, const BlockQ8_1* x, int part) {
        const int sum = __dp4a(word(w.q, part), reinterpret_cast<const int*>(x->q)[part], 0);
        return __half2float(w.d) * __low2float(x->ds) * sum;
    }
};
struct Q4_0 {
    using Block = BlockQ4_0;
    static constexpr int VALUES = 32, THREADS = 4;
    __device__ static float dot(const Block& w, const BlockQ8_1* x, int part) {
        const int nibbles = word(w.q, part);
        const int* q = reinterpret_cast<const int*>(x->q);
        int sum = __dp4a(nibbles & 0x0f0f0f0f, q[part], 0);
        sum = __dp4a(nibbles >> 4 & 0x0f0f0f0f, q[part + 4], sum);
        // The 8 that each value is too large: a quarter of the block's sum comes from each thread.
        const float2 ds = __half22float2(x->ds);
        return __half2float(w.d) * (sum * ds.x - 2.0f * ds.y);
    }
};
struct Q4_K {
    using Block = BlockQ4_K;
    static constexpr int VALUES = 256, THREADS = 32;
    // Each thread has a word of nibbles: values of two groups.
    __device__ static float dot(const Block& w, const BlockQ8_1* x, int part) {
        const int pair = part / 8, at = part % 8;
        const int nibbles = reinterpret_cast<const int*>(w.q)[part];
        const float2 dm = __half22float2(w.dm);
        float sum = 0.0f, mins = 0.0f;
        for (int high = 0; high < 2; high++) {
            const int group = 2 * pair + high;
            int scale, least;
            if (group < 4) {
                scale = w.scales[group] & 63;
                least = w.scales[group + 4] & 63;
            } else {
                scale = (w.scales[group + 4] & 15) | (w.scales[group - 4] >> 6) << 4;
                least = (w.scales[group + 4] >> 4) | (w.scales[group] >> 6) << 4;
            }
            const int q = reinterpret_cast<const int*>(x[group].q)[at];
            const float d = __low2float(x[group].ds);
            sum += d * (scale * __dp4a(nibbles >> 4 * high & 0x0f0f0f0f, q, 0));
            mins += d * (least * __dp4a(0x01010101, q, 0));
        }
        return dm.x * sum - dm.y * mins;
    }
};
struct Q6_K {
    using Block = BlockQ6_K;
    static constexpr int VALUES = 256, THREADS = 32;
    // Each thread has a word of low bits, so 8 values 64 apart.
    __device__ static float dot(const Block& w, const BlockQ8_1* x, int part) {
        const int half = part / 16, at = part % 16;
        const int low = word(w.ql, part), high = word(w.qh, 8 * half + at % 8) >> (at / 8) * 2;
        float sum = 0.0f;
        for (int i = 0; i < 2; i++) {
            // Values 128 * half + 32 * (at / 8) + 64 * i + 4 * (at % 8) and the next three.
            const int value = 128 * half + 32 * (at / 8) + 64 * i + 4 * (at % 8);
            const int bits = (low >> 4 * i & 0x0f0f0f0f) | (high >> 4 * i & 0x03030303) << 4;
            const int q = __vsubss4(bits, 0x20202020);
            const BlockQ8_1& other = x[value / 32];
            const int dot = __dp4a(q, reinterpret_cast<const int*>(other.q)[value % 32 / 4], 0);
            sum += __low2float(other.ds) * (dot * w.scales[value / 16]);
        }
        return __half2float(w.d) * sum;
    }
};

// y = W x: blocks of 32 x WARPS threads for each row, whose values are `columns`.
template <typename Format, int WARPS>
__device__ void multiply(const void* weights, const BlockQ8_1* x, float* y, int columns, int rows) {
    const int row = blockIdx.x, warp = threadIdx.y, lane = threadIdx.x;
    const auto* blocks = static_cast<const typename Format::Block*>(weights) + row * (columns / Format::VALUES);
    constexpr int THREADS = Format::THREADS, AT_ONCE = 32 * WARPS / THREADS;
    const int thread = warp * 32 + lane;
    float sum = 0.0f;
    for (int i = thread / THREADS; i < columns / Format::VALUES; i += AT_ONCE) {
        sum += Format::dot(blocks[i], x + i * (Format::VALUES / 32), thread % THREADS);
    }
    __shared__ float parts[WARPS > 1 ? WARPS - 1 : 1][32];
    if (warp > 0) parts[warp - 1][lane] = sum;
    __syncthreads();
    if (warp > 0) return;
    for (int i = 0; i < WARPS - 1; i++) sum += parts[i][lane];
    sum = warp_sum(sum);
    if (lane == 0) y[row] = sum;
}

#define MULTIPLY(NAME, FORMAT, WARPS)                                                                               \
    extern "C" __global__ void NAME(const void* weights, const BlockQ8_1* x, float* y, int columns, int rows) {      \
        multiply<FORMAT, WARPS>(weights, x, y, columns, rows);                                                       \
    }
MULTIPLY(multiply_q8_0, Q8_0, 1)
MULTIPLY(multiply_q4_0, Q4_0, 4)
MULTIPLY(multiply_q4_k, Q4_K, 4)
MULTIPLY(multiply_q6_k, Q6_K, 2)
