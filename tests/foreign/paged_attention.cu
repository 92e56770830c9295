// In the style of vLLM's paged attention: keys and values in blocks of 16 positions that a table finds, a block of threads for
// each head of each sequence, groups of threads for each key, shuffles for sums; in its second form partitions of the
// positions, put together by another kernel. Covers f16 and bf16, head sizes of 64 and 128, and grouped queries.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cfloat>
#include <cstdint>

constexpr int WARP = 32, BLOCK_SIZE = 16, THREADS = 128, WARPS = THREADS / WARP;

__device__ float wide(__half x) { return __half2float(x); }
__device__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ void narrow(__half& to, float x) { to = __float2half_rn(x); }
__device__ void narrow(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }

template <int WIDTH>
__device__ float sum_of_group(float x) {
#pragma unroll
    for (int step = WIDTH / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

template <bool MAXIMUM>
__device__ float over_block(float x, float* parts) {
    const auto combine = [](float a, float b) { return MAXIMUM ? fmaxf(a, b) : a + b; };
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x = combine(x, __shfl_xor_sync(0xffffffffu, x, step));
    if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
    __syncthreads();
    x = threadIdx.x % WARP < WARPS ? parts[threadIdx.x % WARP] : (MAXIMUM ? -FLT_MAX : 0.0f);
#pragma unroll
    for (int step = WARPS / 2; step > 0; step /= 2) x = combine(x, __shfl_xor_sync(0xffffffffu, x, step));
    return __shfl_sync(0xffffffffu, x, 0);
}

// Keys are [block, head, HEAD / X, BLOCK_SIZE, X] with 16 bytes of X, values [block, head, HEAD, BLOCK_SIZE]. The positions
// of one partition, or of all where PARTITION is 0.
template <typename T, int HEAD, int PARTITION>
__device__ void attend(T* out, float* sums, float* largest, const T* query, const T* keys, const T* values, int kv_heads,
                       float scale, const int* tables, const int* lengths, int blocks_each) {
    constexpr int X = 16 / sizeof(T);
    const int head = blockIdx.x, heads = gridDim.x, sequence = blockIdx.y, partition = blockIdx.z;
    const int length = lengths[sequence];
    const int first = partition * PARTITION;
    if (PARTITION > 0 && first >= length) return;
    const int end = PARTITION > 0 ? min(first + PARTITION, length) : length;
    const int first_block = first / BLOCK_SIZE, last_block = (end + BLOCK_SIZE - 1) / BLOCK_SIZE;
    const int kv_head = head / (heads / kv_heads);
    const int* table = tables + sequence * blocks_each;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;

    extern __shared__ float logits[];
    __shared__ float parts[2 * WARPS];
    __shared__ __align__(16) T q[HEAD];
    for (int i = threadIdx.x; i < HEAD; i += THREADS) q[i] = query[(sequence * heads + head) * HEAD + i];
    __syncthreads();

    // Two threads for each position of a block of keys.
    constexpr int GROUP = WARP / BLOCK_SIZE;
    float most = -FLT_MAX;
    for (int block = first_block + warp; block < last_block; block += WARPS) {
        const int64_t at = table[block];
        const int offset = lane / GROUP, part = lane % GROUP, position = block * BLOCK_SIZE + offset;
        const T* key = keys + (at * kv_heads + kv_head) * HEAD * BLOCK_SIZE + offset * X;
        float dot = 0.0f;
#pragma unroll
        for (int i = part; i < HEAD / X; i += GROUP) {
            const uint4 bytes = *reinterpret_cast<const uint4*>(key + i * BLOCK_SIZE * X);
            const T* k = reinterpret_cast<const T*>(&bytes);
#pragma unroll
            for (int j = 0; j < X; j++) dot += wide(q[i * X + j]) * wide(k[j]);
        }
        dot = scale * sum_of_group<GROUP>(dot);
        if (part == 0) logits[position - first] = position < end ? dot : 0.0f;
        if (position < end) most = fmaxf(most, dot);
    }
    most = over_block<true>(most, parts);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < end - first; i += THREADS) {
        const float weight = __expf(logits[i] - most);
        logits[i] = weight;
        sum += weight;
    }
    sum = over_block<false>(sum, parts + WARPS);
    const float inverse = __fdividef(1.0f, sum + 1e-6f);
    __syncthreads();
    if (PARTITION > 0 && threadIdx.x == 0) {
        const int to = (sequence * heads + head) * gridDim.z + partition;
        largest[to] = most;
        sums[to] = sum;
    }

    // Two threads for each row of values: eight positions each.
    constexpr int ROWS = WARP / 2, EACH = HEAD / ROWS;
    float result[EACH] = {};
    for (int block = first_block + warp; block < last_block; block += WARPS) {
        const int64_t at = table[block];
        const int half = lane % 2 * 8;
        const T* rows = values + (at * kv_heads + kv_head) * HEAD * BLOCK_SIZE;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const uint4 bytes = *reinterpret_cast<const uint4*>(rows + (i * ROWS + lane / 2) * BLOCK_SIZE + half);
            const T* v = reinterpret_cast<const T*>(&bytes);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const int position = block * BLOCK_SIZE + half + j;
                if (position < end) result[i] += logits[position - first] * wide(v[j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) result[i] = sum_of_group<2>(result[i]);
    __syncthreads();

    // Warps are added in halves, in the memory of the logits.
#pragma unroll
    for (int count = WARPS; count > 1; count /= 2) {
        const int middle = count / 2;
        if (warp >= middle && warp < count && lane % 2 == 0) {
            for (int i = 0; i < EACH; i++) logits[(warp - middle) * HEAD + i * ROWS + lane / 2] = result[i];
        }
        __syncthreads();
        if (warp < middle && lane % 2 == 0) {
            for (int i = 0; i < EACH; i++) result[i] += logits[warp * HEAD + i * ROWS + lane / 2];
        }
        __syncthreads();
    }
    if (warp == 0 && lane % 2 == 0) {
        T* to = out + ((sequence * heads + head) * gridDim.z + partition) * HEAD;
        for (int i = 0; i < EACH; i++) narrow(to[i * ROWS + lane / 2], result[i] * inverse);
    }
}

#define ATTEND(NAME, T, HEAD, PARTITION)                                                                                  \
    extern "C" __global__ void NAME(T* out, float* sums, float* largest, const T* query, const T* keys, const T* values,  \
                                    int kv_heads, float scale, const int* tables, const int* lengths, int blocks_each) {  \
        attend<T, HEAD, PARTITION>(out, sums, largest, query, keys, values, kv_heads, scale, tables, lengths,             \
                                   blocks_each);                                                                          \
    }
ATTEND(paged_f16_64, __half, 64, 0)
ATTEND(paged_f16_128, __half, 128, 0)
ATTEND(paged_bf16_128, __nv_bfloat16, 128, 0)
ATTEND(paged_parts_f16_64, __half, 64, 64)
ATTEND(paged_parts_bf16_128, __nv_bfloat16, 128, 64)

// Puts the partitions of each head together, weighted by their sums.
template <typename T, int HEAD>
__device__ void combine(T* out, const float* sums, const float* largest, const T* parts, const int* lengths, int partitions) {
    const int heads = gridDim.x, head = blockIdx.x, sequence = blockIdx.y;
    const int count = (lengths[sequence] + 63) / 64;
    const int at = (sequence * heads + head) * partitions;
    T* to = out + (sequence * heads + head) * HEAD;
    if (count == 1) {
        for (int i = threadIdx.x; i < HEAD; i += blockDim.x) to[i] = parts[at * HEAD + i];
        return;
    }
    extern __shared__ float weights[];
    __shared__ float scratch[2 * WARPS];
    float most = -FLT_MAX;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        weights[i] = largest[at + i];
        most = fmaxf(most, weights[i]);
    }
    most = over_block<true>(most, scratch);
    float total = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const float scaled = sums[at + i] * expf(weights[i] - most);
        total += scaled;
        weights[i] = scaled;
    }
    total = over_block<false>(total, scratch + WARPS);
    __syncthreads();
    const float inverse = __fdividef(1.0f, total + 1e-6f);
    for (int i = threadIdx.x; i < HEAD; i += blockDim.x) {
        float sum = 0.0f;
        for (int j = 0; j < count; j++) sum += wide(parts[(at + j) * HEAD + i]) * weights[j] * inverse;
        narrow(to[i], sum);
    }
}
#define COMBINE(NAME, T, HEAD)                                                                                        \
    extern "C" __global__ void NAME(T* out, const float* sums, const float* largest, const T* parts, const int* lengths,  \
                                    int partitions) {                                                                 \
        combine<T, HEAD>(out, sums, largest, parts, lengths, partitions);                                             \
    }
COMBINE(combine_f16_64, __half, 64)
COMBINE(combine_bf16_128, __nv_bfloat16, 128)
