// Attention of one token over the whole cache, with grouped-query heads, and all that comes before it: bias, norms of
// heads, rotary position embedding, the cache. (Of several tokens: qkv_rope_store.cu and attention_prefill.cu.)
//
// Flash-decoding (Dao, Haziza, Massa and Sizov, 2023): positions are split over blocks, and the last block of a KV head
// that is done puts the results together, in the order of the splits, so they do not depend on which one that was. The
// grid does not depend on the position, which is read from device memory; a split without positions ends at once, and
// as long as one split has all of them, nothing is put together.
//
// A block has up to eight query heads that share a KV head, so every key and value is read once. A warp takes tiles of
// 16 positions, each with a running softmax (Milakov and Gimelshein, 2018), on tensor cores. It holds the keys of the next
// tile and the values of this one in registers: up to 8 KB of a warp are on their way. They come in 16 bytes of a position
// that are where the product wants them, so nothing goes through shared memory:
//   - scores: the heads are rows of a product, the high part of each (f16) in rows 0 to 7, what that leaves (f16 too) in
//     rows 8 to 15, so that one product has the precision of f32. Its sum over the elements of a head may take them in any
//     order, so a lane's part of a matrix is 16 bytes of a position.
//   - values: elements are rows, and heads columns, so that weights are where the scores were. A row of the product may be
//     any element, so a lane's part is 16 bytes of four positions, whose elements change places in registers. Here the two
//     parts of the weights are two products, with sums in common: half as many registers as with heads in rows.
// Heads of 64 and 128 elements are compiled for themselves. All others (and rows at odd addresses, and rotation in part)
// are padded with zeros to 256; there two warps share a tile, so keys are loaded twice, and nothing is loaded ahead.
//
// It begins before the kernel before it has ended: with the angles, and with loads of the first tiles. Only the block
// that has the token's position sees its key and value, which it made, and not the cache; so there is no order to keep.
// What splits leave to the last of them is in `partials` (arrivals.cuh).
//
// A tile takes 313 PTX instructions of a warp in f16, that is 2.4 of threads an element, and about 450 in 8 bits; besides,
// a warp has about 480. With 128 registers two blocks are on a multiprocessor.
#include "arrivals.cuh"
#include "dependent_launch.cuh"
#include "kv_cache.cuh"
#include "mma.cuh"
#include "rope.cuh"
#include "softmax.cuh"
#include "warp.cuh"

constexpr uint32_t WARPS = 8;
constexpr uint32_t THREADS = WARPS * WARP;
// Query heads of a block, and positions of a tile.
constexpr uint32_t HEADS = 8;
constexpr uint32_t KEYS = 16;
constexpr uint32_t MOST_SPLITS = 128;
// Partial results that are loaded at once.
constexpr uint32_t AT_ONCE = 16;

// The lane, read anew: what is computed of it then takes no register for long.
__device__ inline uint32_t lane_anew() {
    uint32_t lane;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}

// 16 bytes, if `row < rows`; otherwise it stays as it is. They are loaded where it stands, and not later.
__device__ inline void load_if(uint32_t (&x)[4], const void* from, int row, int rows) {
    asm volatile("{.reg .pred p; setp.lt.s32 p, %5, %6; @p ld.global.v4.u32 {%0, %1, %2, %3}, [%4];}"
                 : "+r"(x[0]), "+r"(x[1]), "+r"(x[2]), "+r"(x[3])
                 : "l"(from), "r"(row), "r"(rows));
}

// A number, or `otherwise`. It is loaded where it stands, and not later.
__device__ inline float load_if(const float* from, bool there, float otherwise) {
    float x;
    asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.f32 %0, %3; @p ld.global.f32 %0, [%1];}"
                 : "=&f"(x)
                 : "l"(from), "r"(uint32_t(there)), "f"(otherwise));
    return x;
}

// What a block has in shared memory.
template <class T>
struct Shared {
    float2 angles[MAX_HEAD_DIM / 2];
    float norms[2][MAX_HEAD_DIM];
    // The queries, as the lanes hold them for each product: high, low, high, low part of a pair.
    uint4 queries[MAX_HEAD_DIM / 16][WARP];
    // The key and the value of the token, as the cache has them.
    alignas(16) T token[2][MAX_HEAD_DIM];
    float token_scales[2];
    float largest_of[WARPS][HEADS], sum_of[WARPS][HEADS];
    union {
        float4 mixed[WARPS][WARPS][WARP];
        float2 weights[WARPS][MOST_SPLITS];
    } parts;
    // The first head of the block, how many it has, how many splits have positions, and whether this is the last of them.
    struct {
        uint32_t first_head, heads, active, last;
    } plan;
};

// What the kernel is given (see there), and its work.
template <class T>
struct Decode {
    const float *qkv, *bias, *q_norm, *k_norm;
    const double* turns;
    uint32_t position;
    T *k_cache, *v_cache;
    float *k_scales, *v_scales, *partials;
    uint32_t* arrivals;
    float* out;
    uint32_t heads, kv_heads, head_dim, rotary_dim, context, splits;
    bool interleaved;
    float eps, magnitude, scale;
    // Whether all rows of the caches begin at multiples of 16 bytes, and have a whole number of these.
    bool whole;

    // Elements in 16 bytes.
    static constexpr uint32_t LOAD = 16 / sizeof(T);

    // The part of this block, for heads of DIM elements, all of them rotated, in whole rows; with ANY, for heads of up to
    // DIM elements. Returns whether it has any.
    template <uint32_t DIM, bool ANY>
    __device__ inline bool run(Shared<T>& shared) const;
    __device__ inline void merge(Shared<T>& shared) const;

    // The partial result of a split and head: its elements, to a multiple of four; then the largest score, the sum of
    // weights, and two that are nothing.
    __device__ inline uint32_t stride() const { return (head_dim + 3) / 4 * 4 + 4; }
    __device__ inline float* partial(uint32_t split, uint32_t head) const {
        return partials + (size_t(split) * heads + head) * stride();
    }
    __device__ static inline void add(float4& sum, float weight, const float4& x) {
        sum.x += weight * x.x, sum.y += weight * x.y, sum.z += weight * x.z, sum.w += weight * x.w;
    }
    // Four elements of a head, from d on, times `factor`.
    __device__ inline void store(uint32_t head, uint32_t d, const float4& x, float factor) const {
        const float elements[4] = {x.x, x.y, x.z, x.w};
        float* to = out + size_t(head) * head_dim + d;
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i)
            if (d + i < head_dim) to[i] = elements[i] * factor;
    }
};

template <class T>
template <uint32_t DIM, bool ANY>
__device__ inline bool Decode<T>::run(Shared<T>& shared) const {
    using Element = KvElement<T>;
    const uint32_t head_dim = ANY ? this->head_dim : DIM;
    // Warps that share their tiles: each makes the scores, and mixes OWN of the elements.
    constexpr uint32_t TEAM = (DIM + 127) / 128, TEAMS = WARPS / TEAM, OWN = DIM / TEAM;
    // Rows are loaded in batches, of so many loads of a lane for a row of keys, and for a row of values.
    constexpr uint32_t K_LOADS = (ANY ? 8 * LOAD : DIM) / (4 * LOAD), K_BATCHES = DIM / (4 * LOAD * K_LOADS);
    constexpr uint32_t V_LOADS = (ANY || OWN < 8 * LOAD ? 8 * LOAD : OWN) / (8 * LOAD);
    constexpr uint32_t V_BATCHES = (OWN - 1) / (8 * LOAD * V_LOADS) + 1;
    // Products of a load of keys, and of one of values.
    constexpr uint32_t K_PRODUCTS = LOAD / 4, V_PRODUCTS = LOAD / 2;
    constexpr uint32_t ROW_PRODUCTS = V_BATCHES * V_LOADS * V_PRODUCTS;

    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t group = heads / kv_heads, passes = (group - 1) / HEADS + 1;
    const uint32_t kv_head = blockIdx.x / passes, pass = blockIdx.x % passes;
    const uint32_t first_head = kv_head * group + pass * HEADS, count = min(group - pass * HEADS, HEADS);

    // Positions in the cache, and with the token's; the tiles of this split.
    const bool fits = position < context;
    const uint32_t cached = min(position, context), length = fits ? position + 1 : context;
    const uint32_t tiles = (length - 1) / KEYS + 1, tiles_of_split = max((tiles - 1) / splits + 1, WARPS);
    const uint32_t begin = blockIdx.y * tiles_of_split, end = min(begin + tiles_of_split, tiles);
    if (begin >= tiles) {
        // What ends here is after what came before, too.
        wait_for_predecessors();
        return false;
    }
    const bool has_token = fits && end == tiles;

    // The rows of a tile that are in the cache.
    const auto stored = [&](uint32_t tile) {
        const uint32_t at = tile * KEYS;
        return tile < end && at < cached ? min(cached - at, KEYS) : 0;
    };
    const size_t first_row = size_t(kv_head) * context;
    // The keys that a lane has of a tile are those of row 8n + g, and the values those of row v_row(n) + 2t, for each n;
    // and of a row it has 16 bytes from these elements on.
    const auto v_row = [](uint32_t n) { return n / 2 * 8 + n % 2; };
    const auto k_element = [](uint32_t load, uint32_t t) { return (4 * load + t) * LOAD; };
    const auto v_element = [&](uint32_t load, uint32_t g) { return warp % TEAM * OWN + (8 * load + g) * LOAD; };
    // What is not loaded is zero, or of an earlier tile: scores of it are not taken, and weights are zero.
    uint32_t keys[2][K_LOADS][4] = {}, values[4][V_LOADS][4] = {};
    // Loads 16 bytes of `row`, where `from` points to `element`, if `row < rows`.
    const auto load = [&](uint32_t(&x)[4], const T* from, uint32_t element, int row, int rows) {
        if (!ANY || whole) {
            load_if(x, from, row, element < head_dim ? rows : 0);
        } else {
            T elements[LOAD];
#pragma unroll
            for (uint32_t i = 0; i < LOAD; ++i) {
                const bool there = row < rows && element + i < head_dim;
                elements[i] = there ? from[i] : T();
            }
            memcpy(x, elements, 16);
        }
    };
    const auto load_keys = [&](uint32_t tile, uint32_t batch) {
        const uint32_t lane = lane_anew(), g = lane / 4, t = lane % 4;
        const int rows = stored(tile);
        const T* from = k_cache + (first_row + tile * KEYS) * head_dim + (g * head_dim + k_element(0, t));
#pragma unroll
        for (uint32_t i = 0; i < 2 * K_LOADS; ++i) {
            const uint32_t n = i / K_LOADS, at = batch * K_LOADS + i % K_LOADS;
            const size_t offset = 8 * n * head_dim + k_element(at, 0);
            load(keys[n][i % K_LOADS], from + offset, k_element(at, t), g, rows - int(8 * n));
        }
    };
    const auto load_values = [&](uint32_t tile, uint32_t batch) {
        const uint32_t lane = lane_anew(), g = lane / 4, t = lane % 4;
        const int rows = stored(tile);
        const T* from = v_cache + (first_row + tile * KEYS) * head_dim + (2 * t * head_dim + v_element(0, g));
#pragma unroll
        for (uint32_t i = 0; i < 4 * V_LOADS; ++i) {
            const uint32_t n = i / V_LOADS, at = batch * V_LOADS + i % V_LOADS;
            const size_t offset = v_row(n) * head_dim + 8 * LOAD * at;
            load(values[n][i % V_LOADS], from + offset, v_element(at, g), 2 * t, rows - int(v_row(n)));
        }
    };
    // Of keys in the first 16 lanes, of values in the others: a lane for each row.
    float tile_scales = 1.0f;
    const auto load_scales = [&](uint32_t tile) {
        if constexpr (Element::SCALED) {
            const float* scales = lane < KEYS ? k_scales : v_scales;
            const uint32_t row = lane % KEYS;
            const bool there = scales != nullptr && row < stored(tile);
            tile_scales = load_if(scales + first_row + tile * KEYS + row, there, 1.0f);
        }
    };

    const uint32_t first_tile = begin + warp / TEAM;
    load_scales(first_tile);
    if constexpr (!ANY) load_keys(first_tile, 0), load_values(first_tile, 0);
    const uint32_t pairs = rotary_dim / 2;
    for (uint32_t i = threadIdx.x; i < DIM; i += THREADS) {
        if (i < pairs) shared.angles[i] = rotation(position, turns[i], magnitude);
        if (q_norm != nullptr && i < head_dim) shared.norms[0][i] = q_norm[i];
        if (k_norm != nullptr && has_token && i < head_dim) shared.norms[1][i] = k_norm[i];
    }
    if (threadIdx.x == 0) shared.plan = {first_head, count, (tiles - 1) / tiles_of_split + 1, false};
    if (warp >= count) {
        for (uint32_t n = lane; n < DIM / 16 * 4; n += WARP) shared.queries[n / 4][warp * 4 + n % 4] = {};
    }
    __syncthreads();

    wait_for_predecessors();
    // A warp finishes a query head. Then the last two, which have none as a rule, make the key and the value.
#pragma unroll 1
    for (uint32_t turn = 0; turn < 2; ++turn) {
        const bool is_query = turn == 0, is_value = turn == 1 && warp == WARPS - 1;
        if (is_query ? warp >= count : !has_token || warp < WARPS - 2) continue;
        const size_t row = is_query ? first_head + warp : size_t(heads) + kv_head + (is_value ? kv_heads : 0);
        const float* of_qkv = qkv + row * head_dim;
        const float* of_bias = bias == nullptr ? nullptr : bias + row * head_dim;
        const float* norm = (is_query ? q_norm : is_value ? nullptr : k_norm) == nullptr ? nullptr : shared.norms[turn];

        // The elements of a lane: PAIRS pairs that turn together, or, from rotary_dim on, that stand together.
        constexpr uint32_t PAIRS = DIM / 64;
        constexpr bool TWO = !ANY && PAIRS == 2;
        const auto element = [&](uint32_t n) {
            if constexpr (ANY) {
                const uint32_t pair = n / 2 * WARP + lane;
                return pair >= pairs || interleaved ? 2 * pair + n % 2 : pair + n % 2 * pairs;
            } else {
                return interleaved ? 2 * PAIRS * lane + n : PAIRS * lane + n % PAIRS + n / PAIRS * (DIM / 2);
            }
        };
        float x[2 * PAIRS];
        const auto for_all = [&](const auto& change) {
#pragma unroll
            for (uint32_t n = 0; n < 2 * PAIRS; ++n) change(x[n], element(n));
        };
        if constexpr (TWO) {
            // Two elements at a time.
            for (uint32_t n = 0; n < 4; n += 2) {
                const float2 two = *reinterpret_cast<const float2*>(of_qkv + element(n));
                x[n] = two.x, x[n + 1] = two.y;
            }
        } else {
            for_all([&](float& x, uint32_t i) { x = i < head_dim ? of_qkv[i] : 0.0f; });
        }
        if (of_bias != nullptr) for_all([&](float& x, uint32_t i) { x += i < head_dim ? of_bias[i] : 0.0f; });
        if (norm != nullptr) {
            float squares = 0.0f;
            for_all([&](float& x, uint32_t) { squares += x * x; });
            const float factor = rsqrtf(warp_sum(squares) / float(head_dim) + eps);
            for_all([&](float& x, uint32_t i) { x = i < head_dim ? x * factor * norm[i] : 0.0f; });
        }
        if (!is_value) {
            const auto exchange = [&] {
                // Elements that stand together, or pairs.
                const float second = x[1];
                if (TWO && !interleaved) x[1] = x[2], x[2] = second;
            };
            exchange();
#pragma unroll
            for (uint32_t n = 0; n < PAIRS; ++n) {
                const uint32_t pair = ANY ? n * WARP + lane : PAIRS * lane + n;
                if (ANY && pair >= pairs) continue;
                const float2 by = shared.angles[pair];
                const float a = x[2 * n], b = x[2 * n + 1];
                x[2 * n] = a * by.x - b * by.y;
                x[2 * n + 1] = b * by.x + a * by.y;
            }
            exchange();
        }

        if (is_query) {
            // What a lane holds for a product is two pairs of elements, each pair as its high and its low part.
            const auto pair_of = [&](uint32_t d) {
                const uint32_t product = d / (4 * LOAD) * K_PRODUCTS + d % LOAD / 4;
                uint4* of_lane = &shared.queries[product][warp * 4 + d % (4 * LOAD) / LOAD];
                return reinterpret_cast<uint2*>(of_lane) + d % 4 / 2;
            };
            const float factor = scale * LOG2_E;
            if constexpr (TWO) {
                for (uint32_t n = 0; n < 4; n += 2) {
                    uint2 both;
                    split(x[n] * factor, x[n + 1] * factor, both.x, both.y);
                    *pair_of(element(n)) = both;
                }
            } else {
                for_all([&](float& x, uint32_t i) {
                    __half* pair = reinterpret_cast<__half*>(pair_of(i));
                    const __half high = __float2half_rn(x * factor);
                    pair[i % 2] = high;
                    pair[2 + i % 2] = __float2half_rn(x * factor - __half2float(high));
                });
            }
        } else {
            const size_t slot = first_row + position;
            T* cache = (is_value ? v_cache : k_cache) + slot * head_dim;
            float inverse = 1.0f;
            if constexpr (Element::SCALED) {
                float *scales = is_value ? v_scales : k_scales, largest = 0.0f;
                if (scales != nullptr) {
                    for_all([&](float& x, uint32_t) { largest = fmaxf(largest, fabsf(x)); });
                    largest = warp_max(largest);
                    inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
                    if (lane == 0 && pass == 0) scales[slot] = largest / 127.0f;
                }
                if (lane == 0) shared.token_scales[is_value] = scales == nullptr ? 1.0f : largest / 127.0f;
            }
            for_all([&](float& x, uint32_t i) {
                const T element = Element::from_float(x, inverse);
                shared.token[is_value][i] = element;
                if (pass == 0 && i < head_dim) cache[i] = element;
            });
        }
    }
    __syncthreads();

    float mixed[ROW_PRODUCTS][4] = {};
    float largest = -INFINITY, sum = 0.0f;
    for (uint32_t tile = first_tile; tile < end; tile += TEAMS) {
        const uint32_t lane = lane_anew(), g = lane / 4, t = lane % 4;
        const int rows = stored(tile), valid = min(length - tile * KEYS, KEYS);
        // Queries are loaded again for each tile: registers are needed for other things.
        asm volatile("" ::: "memory");
        // The row after those in the cache is that of the token.
        const bool patches = rows < valid;
        float products[2][4] = {};
#pragma unroll
        for (uint32_t batch = 0; batch < K_BATCHES; ++batch) {
            if constexpr (ANY) load_keys(tile, batch);
            if (patches) {
#pragma unroll
                for (uint32_t n = 0; n < 2; ++n) {
#pragma unroll
                    for (uint32_t i = 0; i < K_LOADS; ++i)
                        if (int(g) == rows - int(8 * n))
                            memcpy(keys[n][i], &shared.token[0][k_element(batch * K_LOADS + i, t)], 16);
                }
            }
#pragma unroll
            for (uint32_t i = 0; i < K_LOADS * K_PRODUCTS; ++i) {
                const uint4 q = shared.queries[batch * K_LOADS * K_PRODUCTS + i][lane];
                const uint32_t pairs_of_q[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
                for (uint32_t n = 0; n < 2; ++n) {
                    uint32_t low, high;
                    Element::four(keys[n][i / K_PRODUCTS], i % K_PRODUCTS, low, high);
                    mma(products[n], pairs_of_q, low, high);
                }
            }
        }
        if constexpr (!ANY) load_keys(tile + TEAMS, 0);

        // Scores of head g at the positions 2t and 2t + 1 of each half of the tile.
        float scores[2][2], scale_of_value[2][2];
        if constexpr (Element::SCALED) {
            if (patches && int(lane % KEYS) == rows) tile_scales = shared.token_scales[lane / KEYS];
        }
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t row = v_row(i) + 2 * t;
            float score = products[i / 2][i % 2] + products[i / 2][i % 2 + 2];
            if constexpr (Element::SCALED) {
                score *= __shfl_sync(FULL_WARP, tile_scales, row);
                scale_of_value[i / 2][i % 2] = __shfl_sync(FULL_WARP, tile_scales, KEYS + row);
            }
            scores[i / 2][i % 2] = int(2 * t) < valid - int(v_row(i)) ? score : -INFINITY;
        }
        load_scales(tile + TEAMS);
        float most = fmaxf(fmaxf(scores[0][0], scores[0][1]), fmaxf(scores[1][0], scores[1][1]));
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, 1));
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, 2));
        most = fmaxf(most, largest);
        const float keep = exp2_fast(largest - most), offset = most - HEADROOM;
        largest = most;
        sum *= keep;
        uint32_t weights[2][2];
#pragma unroll
        for (uint32_t n = 0; n < 2; ++n) {
            float a = exp2_fast(scores[n][0] - offset), b = exp2_fast(scores[n][1] - offset);
            sum += a + b;
            if constexpr (Element::SCALED) a *= scale_of_value[n][0], b *= scale_of_value[n][1];
            split(a, b, weights[0][n], weights[1][n]);
        }

        // A lane mixes for the heads 2t and 2t + 1.
        const float keeps[2] = {__shfl_sync(FULL_WARP, keep, 8 * t), __shfl_sync(FULL_WARP, keep, 8 * t + 4)};
#pragma unroll
        for (uint32_t batch = 0; batch < V_BATCHES; ++batch) {
            if constexpr (ANY) load_values(tile, batch);
            if (patches) {
#pragma unroll
                for (uint32_t n = 0; n < 4; ++n) {
#pragma unroll
                    for (uint32_t i = 0; i < V_LOADS; ++i)
                        if (int(2 * t) == rows - int(v_row(n)) && v_element(batch * V_LOADS + i, g) < DIM)
                            memcpy(values[n][i], &shared.token[1][v_element(batch * V_LOADS + i, g)], 16);
                }
            }
#pragma unroll
            for (uint32_t i = 0; i < V_LOADS * V_PRODUCTS; ++i) {
                float(&sums)[4] = mixed[batch * V_LOADS * V_PRODUCTS + i];
                const uint32_t of = i / V_PRODUCTS, n = i % V_PRODUCTS;
                uint32_t elements[4];
                Element::across(values[0][of], values[1][of], n, elements[0], elements[1]);
                Element::across(values[2][of], values[3][of], n, elements[2], elements[3]);
#pragma unroll
                for (uint32_t r = 0; r < 4; ++r) sums[r] *= keeps[r % 2];
                mma(sums, elements, weights[0][0], weights[0][1]);
                mma(sums, elements, weights[1][0], weights[1][1]);
            }
        }
        if constexpr (!ANY) load_values(tile + TEAMS, 0);
    }

    // The results of all warps; those that had no tile have weights of zero.
    asm volatile("" ::: "memory");
    const auto plan = shared.plan;
    const uint32_t g = lane / 4, t = lane % 4;
    sum += __shfl_xor_sync(FULL_WARP, sum, 1);
    sum += __shfl_xor_sync(FULL_WARP, sum, 2);
    if (t == 0) shared.largest_of[warp][g] = largest, shared.sum_of[warp][g] = sum;
#pragma unroll
    for (uint32_t i = 0; i < ROW_PRODUCTS; ++i) {
        // Of a head, four elements in a row.
        const uint32_t from = i / 2 * 2, r = i % 2;
        shared.parts.mixed[warp][i][lane] = {mixed[from][r], mixed[from][r + 2], mixed[from + 1][r],
                                             mixed[from + 1][r + 2]};
    }
    __syncthreads();
    for (uint32_t i = warp; i < TEAM * ROW_PRODUCTS; i += WARPS) {
        const uint32_t member = i / ROW_PRODUCTS, place = i % ROW_PRODUCTS, four = place / 2, head = 2 * t + place % 2;
        const uint32_t d = member * OWN + four / (LOAD / 4) * 8 * LOAD + g * LOAD + four % (LOAD / 4) * 4;
        if (head >= plan.heads || d >= head_dim) continue;
        float most = -INFINITY, total = 0.0f;
        float4 result = {};
#pragma unroll
        for (uint32_t n = 0; n < TEAMS; ++n) most = fmaxf(most, shared.largest_of[n * TEAM + member][head]);
#pragma unroll
        for (uint32_t n = 0; n < TEAMS; ++n) {
            const uint32_t of = n * TEAM + member;
            const float weight = exp2_fast(shared.largest_of[of][head] - most);
            total += weight * shared.sum_of[of][head];
            add(result, weight, shared.parts.mixed[of][place][lane]);
        }
        if (plan.active == 1) {
            store(plan.first_head + head, d, result, 1.0f / total);
        } else {
            float* to = partial(blockIdx.y, plan.first_head + head);
            store_shared_result(to + d, result);
            if (d == 0) store_shared_result(to + stride() - 4, {most, total, 0.0f, 0.0f});
        }
    }
    return true;
}

// Puts together what the splits left, if this block is the last of those with its heads.
template <class T>
__device__ inline void Decode<T>::merge(Shared<T>& shared) const {
    const uint32_t first_head = shared.plan.first_head, count = shared.plan.heads, active = shared.plan.active;
    if (active == 1) return;
    __syncthreads();
    if (threadIdx.x == 0) shared.plan.last = arrives_last(arrivals + blockIdx.x, active);
    __syncthreads();
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    if (!shared.plan.last || warp >= count) return;

    // A warp has a head, a lane four of its elements; first of all, a lane has some splits.
    const float* of_first = partial(0, first_head + warp);
    const size_t step = size_t(heads) * stride();
    float4 loaded[AT_ONCE];
    const auto load = [&](uint32_t first, uint32_t d) {
        const float* from = of_first + first * step + d;
#pragma unroll
        for (uint32_t n = 0; n < AT_ONCE; ++n) {
            if (first + n < active && d < head_dim) loaded[n] = load_shared_result(from);
            from += step;
        }
    };
    load(0, 4 * lane);
    float most = -INFINITY, total = 0.0f;
#pragma unroll 1
    for (uint32_t n = lane; n < active; n += WARP) {
        const float4 x = load_shared_result(of_first + n * step + stride() - 4);
        shared.parts.weights[warp][n] = {x.x, x.y};
        most = fmaxf(most, x.x);
    }
    most = warp_max(most);
#pragma unroll 1
    for (uint32_t n = lane; n < active; n += WARP) {
        const float2 x = shared.parts.weights[warp][n];
        const float weight = exp2_fast(x.x - most);
        shared.parts.weights[warp][n].x = weight;
        total += weight * x.y;
    }
    const float inverse = 1.0f / warp_sum(total);
    __syncwarp();
#pragma unroll 1
    for (uint32_t d = 4 * lane; d < head_dim; d += 4 * WARP) {
        float4 result = {};
#pragma unroll 1
        for (uint32_t first = 0; first < active; first += AT_ONCE) {
            if (first > 0 || d >= 4 * WARP) load(first, d);
#pragma unroll
            for (uint32_t n = 0; n < AT_ONCE; ++n)
                if (first + n < active) add(result, shared.parts.weights[warp][first + n].x, loaded[n]);
        }
        store(first_head + warp, d, result, inverse);
    }
}

/// Attention of one token, at `position[0]`, over all positions up to its own: finishes its queries, keys and values,
/// stores the last two in the caches, and gives `out[h] = softmax(scale * q[h] · K[g]) V[g]` over positions
/// `0..=position`, where `g = h / (heads / kv_heads)` is the key and value head that query head `h` shares.
///
/// `qkv` is `[heads + 2 * kv_heads, head_dim]`: the query heads, the key heads, the value heads. They get `bias`, of the
/// same shape; query and key heads are RMS-normalised with `q_norm` and `k_norm`, `[head_dim]`, and rotated by their
/// position. Without one of these that is left out. `qkv` itself stays as it is. Pairs are `(i, i + rotary_dim / 2)`, or
/// `(2i, 2i + 1)` if `interleaved`; pair `i` turns by `position * turns[i]` whole turns (that is
/// `theta^(-2i/rotary_dim) / 2π`; in f64, so that far positions keep their angle), and is scaled by `magnitude` (YaRN's
/// attention factor; 1 without). Elements from `rotary_dim` on are not rotated.
///
/// The caches are `[kv_heads, context, head_dim]`, and hold the positions before. f16 elements are rounded; 8-bit ones
/// are `round(x / scale)` with `scale = max |x| / 127` over the head, which is in `k_scales` and `v_scales`,
/// `[kv_heads, context]`. f16 has no scales and leaves these alone; 8-bit elements without them have a scale of 1. The
/// token sees itself as the cache has it. A position outside `context` stores nothing and attends to the whole cache.
/// Where an element of a query times `scale` is over 45,000 the result is no number.
///
/// `out` is `[heads, head_dim]`. Positions are shared out to `splits` blocks for each KV head, in parts of 128 at least.
/// `arrivals` has zeros before and after; where it has others, `out` may be left as it is. `partials` is room.
///
/// @targets 75 80 90
/// @grid    kv_heads * div_ceil(heads / kv_heads, 8), splits
/// @block   256
/// @pdl     bias q_norm k_norm turns position k_cache v_cache k_scales v_scales
/// @require heads % kv_heads == 0
/// @require heads >= 1
/// @require head_dim <= 256
/// @require head_dim >= 1
/// @require rotary_dim <= head_dim
/// @require rotary_dim % 2 == 0
/// @require context >= 1
/// @require splits >= 1
/// @require splits <= 128
/// @len     qkv      == (heads + 2 * kv_heads) * head_dim
/// @len     bias     == (heads + 2 * kv_heads) * head_dim
/// @len     q_norm   == head_dim
/// @len     k_norm   == head_dim
/// @len     turns    == rotary_dim / 2
/// @len     position == 1
/// @len     k_cache  == kv_heads * context * head_dim
/// @len     v_cache  == kv_heads * context * head_dim
/// @len     k_scales == kv_heads * context
/// @len     v_scales == kv_heads * context
/// @len     partials >= splits * heads * (div_ceil(head_dim, 4) * 4 + 4)
/// @len     arrivals >= kv_heads * div_ceil(heads / kv_heads, 8)
/// @len     out      == heads * head_dim
/// @align   qkv      8
/// @align   partials 16
/// @optional bias
/// @optional q_norm
/// @optional k_norm
/// @optional k_scales
/// @optional v_scales
/// @safe
template <class T>
__global__ void __launch_bounds__(THREADS, 2)
attention_decode(const float* __restrict__ qkv, const float* __restrict__ bias, const float* __restrict__ q_norm,
                 const float* __restrict__ k_norm, const double* __restrict__ turns,
                 const uint32_t* __restrict__ position, T* __restrict__ k_cache, T* __restrict__ v_cache,
                 float* __restrict__ k_scales, float* __restrict__ v_scales, float* __restrict__ partials,
                 uint32_t* __restrict__ arrivals, float* __restrict__ out, uint32_t heads, uint32_t kv_heads,
                 uint32_t head_dim, uint32_t rotary_dim, uint32_t context, uint32_t splits, bool interleaved, float eps,
                 float magnitude, float scale) {
    __shared__ Shared<T> shared;
    let_dependents_start();
    const size_t edges = reinterpret_cast<size_t>(k_cache) | reinterpret_cast<size_t>(v_cache) | head_dim * sizeof(T);
    const bool whole = edges % 16 == 0;
    const Decode<T> decode = {qkv,        bias,    q_norm,   k_norm,      turns, *position, k_cache,  v_cache,
                              k_scales,   v_scales, partials, arrivals,   out,   heads,     kv_heads, head_dim,
                              rotary_dim, context, splits,   interleaved, eps,   magnitude, scale,    whole};
    const bool all_rotate = rotary_dim == head_dim;
    bool has_part;
    if (whole && all_rotate && head_dim == 128) {
        has_part = decode.template run<128, false>(shared);
    } else if (whole && all_rotate && head_dim == 64) {
        has_part = decode.template run<64, false>(shared);
    } else {
        has_part = decode.template run<MAX_HEAD_DIM, true>(shared);
    }
    if (has_part) decode.merge(shared);
}

template __global__ void attention_decode<__half>(const float*, const float*, const float*, const float*, const double*,
                                                  const uint32_t*, __half*, __half*, float*, float*, float*, uint32_t*,
                                                  float*, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,
                                                  bool, float, float, float);
template __global__ void attention_decode<int8_t>(const float*, const float*, const float*, const float*, const double*,
                                                  const uint32_t*, int8_t*, int8_t*, float*, float*, float*, uint32_t*,
                                                  float*, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,
                                                  bool, float, float, float);
