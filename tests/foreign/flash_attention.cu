// In the style of FlashAttention and of the engines that have it inlined: products by mma.sync.m16n8k16 with operands from
// ldmatrix (transposed for values), keys and values brought by cp.async into two buffers that take turns, softmax as the
// tiles come, causal masks, grouped queries; f16 and bf16, head sizes of 64 and 128. For sm_80 and newer.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

constexpr int ROWS = 64, TILE = 32, WARPS = 4;

__device__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// 16 bytes, or zeros if they are not there.
__device__ void copy_async(void* to, const void* from, bool there) {
    const int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ void load_matrices(uint32_t (&r)[4], const void* at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(at)));
}
__device__ void load_matrices_transposed(uint32_t (&r)[4], const void* at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(at)));
}

template <typename T>
__device__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
__device__ void multiply<__half>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ void multiply<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <typename T>
__device__ uint32_t pack(float low, float high);
template <>
__device__ uint32_t pack<__half>(float low, float high) {
    const __half2 both = __floats2half2_rn(low, high);
    return reinterpret_cast<const uint32_t&>(both);
}
template <>
__device__ uint32_t pack<__nv_bfloat16>(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const uint32_t&>(both);
}

// Q and O are [tokens, heads, HEAD], K and V [positions, kv_heads, HEAD]. The last token is at the last position. A block has
// 64 rows of a head, each of its four warps 16.
template <typename T, int HEAD, bool CAUSAL>
__device__ void attend(const T* q, const T* k, const T* v, T* o, int tokens, int positions, int kv_heads, float scale) {
    constexpr int STRIDE = HEAD + 8;
    extern __shared__ __align__(16) unsigned char memory[];
    T* const q_tile = reinterpret_cast<T*>(memory);
    T* const k_tile = q_tile + ROWS * STRIDE;
    T* const v_tile = k_tile + 2 * TILE * STRIDE;
    const int head = blockIdx.y, heads = gridDim.y, kv_head = head / (heads / kv_heads);
    const int first = blockIdx.x * ROWS, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    constexpr int CHUNKS = HEAD / 8;

    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += WARPS * 32) {
        const int row = i / CHUNKS, at = i % CHUNKS * 8;
        const bool there = first + row < tokens;
        copy_async(q_tile + row * STRIDE + at, q + ((there ? first + row : 0) * heads + head) * HEAD + at, there);
    }
    const auto bring = [&](int tile) {
        T* const keys = k_tile + tile % 2 * TILE * STRIDE;
        T* const values = v_tile + tile % 2 * TILE * STRIDE;
        for (int i = threadIdx.x; i < TILE * CHUNKS; i += WARPS * 32) {
            const int row = i / CHUNKS, at = i % CHUNKS * 8, position = tile * TILE + row;
            const bool there = position < positions;
            const int from = ((there ? position : 0) * kv_heads + kv_head) * HEAD + at;
            copy_async(keys + row * STRIDE + at, k + from, there);
            copy_async(values + row * STRIDE + at, v + from, there);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    // What a row may see ends here.
    const int shift = positions - tokens;
    const int end = CAUSAL ? min(positions, min(first + ROWS, tokens) + shift) : positions;
    const int tiles = (end + TILE - 1) / TILE;
    bring(0);

    float out[HEAD / 8][4] = {};
    float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
    // exp(x * scale) is 2 to the x * scale * log2(e).
    const float factor = scale * 1.4426950408889634f;
    for (int tile = 0; tile < tiles; tile++) {
        if (tile + 1 < tiles) {
            bring(tile + 1);
            asm volatile("cp.async.wait_group 1;" ::: "memory");
        } else {
            asm volatile("cp.async.wait_group 0;" ::: "memory");
        }
        __syncthreads();
        const T* const keys = k_tile + tile % 2 * TILE * STRIDE;
        const T* const values = v_tile + tile % 2 * TILE * STRIDE;

        float scores[TILE / 8][4] = {};
#pragma unroll
        for (int x = 0; x < HEAD; x += 16) {
            uint32_t a[4];
            load_matrices(a, q_tile + (warp * 16 + lane % 16) * STRIDE + x + lane / 16 * 8);
#pragma unroll
            for (int n = 0; n < TILE; n += 16) {
                uint32_t b[4];
                load_matrices(b, keys + (n + lane % 8 + lane / 16 * 8) * STRIDE + x + lane / 8 % 2 * 8);
                multiply<T>(scores[n / 8], a, b[0], b[1]);
                multiply<T>(scores[n / 8 + 1], a, b[2], b[3]);
            }
        }
        // A thread has two neighbouring columns of rows lane / 4 and lane / 4 + 8.
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + warp * 16 + lane / 4 + 8 * half;
            float largest = most[half];
#pragma unroll
            for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const int position = tile * TILE + n * 8 + lane % 4 * 2 + j;
                    float& score = scores[n][2 * half + j];
                    if (position >= positions || CAUSAL && position > row + shift) score = -INFINITY;
                    largest = fmaxf(largest, score);
                }
            }
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
            // A row that is masked whole so far has no largest.
            const float base = largest == -INFINITY ? 0.0f : largest * factor;
            const float shrink = exp2f(most[half] * factor - base);
            most[half] = largest;
            float added = 0.0f;
#pragma unroll
            for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float& score = scores[n][2 * half + j];
                    score = exp2f(score * factor - base);
                    added += score;
                }
            }
            sum[half] = sum[half] * shrink + added;
#pragma unroll
            for (int n = 0; n < HEAD / 8; n++) {
                out[n][2 * half] *= shrink;
                out[n][2 * half + 1] *= shrink;
            }
        }
#pragma unroll
        for (int x = 0; x < TILE; x += 16) {
            const float(&p)[4] = scores[x / 8];
            const float(&next)[4] = scores[x / 8 + 1];
            const uint32_t a[4] = {pack<T>(p[0], p[1]), pack<T>(p[2], p[3]), pack<T>(next[0], next[1]),
                                   pack<T>(next[2], next[3])};
#pragma unroll
            for (int n = 0; n < HEAD; n += 16) {
                uint32_t b[4];
                load_matrices_transposed(b, values + (x + lane % 16) * STRIDE + n + lane / 16 * 8);
                multiply<T>(out[n / 8], a, b[0], b[1]);
                multiply<T>(out[n / 8 + 1], a, b[2], b[3]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sum[half] += __shfl_xor_sync(0xffffffff, sum[half], 1);
        sum[half] += __shfl_xor_sync(0xffffffff, sum[half], 2);
        const int row = first + warp * 16 + lane / 4 + 8 * half;
        if (row >= tokens) continue;
        const float inverse = 1.0f / sum[half];
        uint32_t* to = reinterpret_cast<uint32_t*>(o + (row * heads + head) * HEAD);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            to[n * 4 + lane % 4] = pack<T>(out[n][2 * half] * inverse, out[n][2 * half + 1] * inverse);
        }
    }
}

#define ATTEND(NAME, T, HEAD, CAUSAL)                                                                                     \
    extern "C" __global__ void __launch_bounds__(128)                                                                     \
        NAME(const T* q, const T* k, const T* v, T* o, int tokens, int positions, int kv_heads, float scale) {            \
        attend<T, HEAD, CAUSAL>(q, k, v, o, tokens, positions, kv_heads, scale);                                          \
    }
ATTEND(flash_f16_64_causal, __half, 64, true)
ATTEND(flash_f16_128, __half, 128, false)
ATTEND(flash_bf16_64, __nv_bfloat16, 64, false)
ATTEND(flash_bf16_128_causal, __nv_bfloat16, 128, true)

// One token, a warp for each head, two elements at a time: what decodes in candle and llama.cpp where nothing better fits.
template <typename T, typename Pair, int HEAD>
__device__ void decode(const T* q, const T* k, const T* v, float* o, int positions, int kv_heads, float scale) {
    const int head = blockIdx.x * blockDim.y + threadIdx.y, heads = gridDim.x * blockDim.y;
    const int kv_head = head / (heads / kv_heads), lane = threadIdx.x;
    constexpr int PAIRS = HEAD / 64;
    const Pair* const query = reinterpret_cast<const Pair*>(q + head * HEAD);
    Pair mine[PAIRS];
    float2 sum[PAIRS] = {};
    for (int i = 0; i < PAIRS; i++) mine[i] = query[i * 32 + lane];
    float most = -INFINITY, total = 0.0f;
    for (int position = 0; position < positions; position++) {
        const int at = (position * kv_heads + kv_head) * HEAD;
        const Pair* const key = reinterpret_cast<const Pair*>(k + at);
        float score = 0.0f;
        for (int i = 0; i < PAIRS; i++) {
            const Pair other = key[i * 32 + lane];
            score += float(mine[i].x) * float(other.x) + float(mine[i].y) * float(other.y);
        }
        for (int step = 16; step > 0; step /= 2) score += __shfl_xor_sync(0xffffffff, score, step);
        score *= scale;
        const float largest = fmaxf(most, score), shrink = __expf(most - largest), weight = __expf(score - largest);
        most = largest;
        total = total * shrink + weight;
        const Pair* const value = reinterpret_cast<const Pair*>(v + at);
        for (int i = 0; i < PAIRS; i++) {
            const Pair other = value[i * 32 + lane];
            sum[i].x = sum[i].x * shrink + weight * float(other.x);
            sum[i].y = sum[i].y * shrink + weight * float(other.y);
        }
    }
    float2* const to = reinterpret_cast<float2*>(o + head * HEAD);
    for (int i = 0; i < PAIRS; i++) to[i * 32 + lane] = make_float2(sum[i].x / total, sum[i].y / total);
}
extern "C" __global__ void decode_f16_128(const __half* q, const __half* k, const __half* v, float* o, int positions,
                                          int kv_heads, float scale) {
    decode<__half, __half2, 128>(q, k, v, o, positions, kv_heads, scale);
}
extern "C" __global__ void decode_bf16_64(const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, float* o,
                                          int positions, int kv_heads, float scale) {
    decode<__nv_bfloat16, __nv_bfloat162, 64>(q, k, v, o, positions, kv_heads, scale);
}
