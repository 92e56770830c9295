// Matrix times one vector, for decoding: what comes before it (RMS norm) and after it (residual, SwiGLU) is in the same
// launch.
//
// A block has rows in tiles of 16, as many as `blocks` leaves to each, so that it makes the vector ready once for all of
// them: in slabs in shared memory, so that the number of columns has no limit. Its eight warps share all groups of 512
// weights of all its tiles evenly. Where two warps share a tile, each leaves its part in shared memory, and the parts are
// added in the order of the warps, so that results do not depend on who is first.
//
// Weights that are bits (`bit_weights.cuh`) meet activations as planes of bits on tensor cores (`bit_planes.cuh`). Those that
// are numbers (`weights.cuh`) are multiplied as f32. What a weight costs is in docs/performance.md.
//
// Nothing here but the vector and the output depends on what runs before. So from compute capability 9.0 on a block is
// there early: it brings its first weights to the L2 cache, then waits.
#include <type_traits>

#include "bit_planes.cuh"
#include "bit_weights.cuh"
#include "dependent_launch.cuh"
#include "warp.cuh"
#include "weights.cuh"

constexpr uint32_t WARPS = 8;
constexpr uint32_t THREADS = WARPS * WARP;
// Tiles of a block.
constexpr uint32_t MAX_TILES = 96;
// Groups that a warp asks for before it needs them.
constexpr uint32_t AHEAD = 8;

struct Matrix {
    const uint32_t* words;
    const __half* scales;
    uint32_t chunks, tiles, groups;

    __device__ Matrix(const uint32_t* words, const __half* scales, uint32_t rows, uint32_t chunks)
        : words(words), scales(scales), chunks(chunks), tiles(rows / TILE_ROWS + (rows % TILE_ROWS != 0)),
          groups(groups_of(chunks)) {}
};

// The share of one of `sharers` of `count` things: each has as many as another, or the first ones have one more.
struct Share {
    uint32_t each, rest;

    __device__ Share(uint32_t count, uint32_t sharers) : each(count / sharers), rest(count % sharers) {}
    __device__ uint32_t begin_of(uint32_t sharer) const { return sharer * each + min(sharer, rest); }
    __device__ uint32_t count_of(uint32_t sharer) const { return each + (sharer < rest); }
};

// A pair of f16, as f32. (As instructions: the compiler takes the pair apart twice.)
__device__ inline float2 floats_of(uint32_t pair) {
    float2 floats;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high; }"
        : "=f"(floats.x), "=f"(floats.y)
        : "r"(pair));
    return floats;
}

// Weights that are bits: sums of a lane for rows g and g + 8, of planes 2t, 2t + 1, 2t + 8 and 2t + 9.
template <class W>
struct BitAccumulator {
    // Groups of the vector that are in shared memory at once.
    static constexpr uint32_t SLAB = 24, BLOCKS = 3;
    // Whether there is room in registers for a group that comes next.
    static constexpr bool EARLY = W::PLANES == 1;
    using Vector = Planes;
    float sums[2] = {};
    // What bit 15 of an activation counts for, or another plane in its place.
    const int top = threadIdx.x % 4 == 3 ? -512 : 512;
    const int zero = unknown_zero();

    // Puts a group of the vector into shared memory, of which each lane has 16 elements.
    static __device__ inline void store(const float (&x)[16], Planes& group) { store_planes<W::SCALES == 2>(x, group); }

    // What a lane has of a group, as loaded.
    struct Loaded {
        typename W::Raw raw;
        uint4 scales[W::SCALES];
    };

    // A place in a matrix. Groups follow one another in memory, whatever their tile.
    struct Cursor {
        const uint4* words;
        const uint4* scales;
        // A line of 128 bytes of the words or scales of the group AHEAD of this one, and how far it is to the next group's.
        const char* line;
        uint32_t stride;

        __device__ Cursor(const Matrix& m, uint32_t tile, uint32_t group) {
            const uint32_t lane = threadIdx.x % WARP;
            const size_t at = size_t(tile) * m.groups + group;
            words = reinterpret_cast<const uint4*>(m.words) + at * (16 * W::WORDS) + lane;
            scales = reinterpret_cast<const uint4*>(m.scales) + at * (8 * W::SCALES) + lane / 4;
            const bool of_words = lane < LINES;
            stride = of_words ? 128 * LINES : 128 * W::SCALES;
            line = reinterpret_cast<const char*>(of_words ? static_cast<const void*>(m.words) : m.scales) +
                   (at + AHEAD) * stride + (of_words ? lane : lane - LINES) * 128;
        }
        // Asks for the first of `groups` groups that come from here on: 4 KB of words and 4 KB of scales at most.
        __device__ void begin(uint32_t groups) const {
            const uint32_t lane = threadIdx.x % WARP;
            if (lane < groups * LINES) prefetch(reinterpret_cast<const char*>(words - lane) + lane * 128);
            if (lane < groups * W::SCALES) prefetch(reinterpret_cast<const char*>(scales - lane / 4) + lane * 128);
        }
        // Asks for the group that is AHEAD.
        __device__ void prefetch() const {
            if (threadIdx.x % WARP < LINES + W::SCALES) prefetch(line);
        }
        __device__ Loaded load() {
            Loaded loaded;
            loaded.raw = W::load(words);
#pragma unroll
            for (uint32_t s = 0; s < W::SCALES; ++s) loaded.scales[s] = scales[s * 8];
            words += 16 * W::WORDS;
            scales += 8 * W::SCALES;
            line += stride;
            return loaded;
        }

       private:
        static constexpr uint32_t LINES = 2 * W::WORDS;
        static __device__ void prefetch(const char* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }
    };

    __device__ inline void add(const Loaded& loaded, const Planes& planes) {
        const uint32_t lane = threadIdx.x % WARP, t = lane % 4;
        const Bits<W::PLANES> bits = W::unpack(loaded.raw);
        float of_group[2];
#pragma unroll
        for (uint32_t s = 0; s < W::SCALES; ++s) {
            // Of two scales each is for the words of two t.
            const uint32_t mask = W::SCALES == 1 || t / 2 == s ? 0xffffffffu : 0;
            const int4 sums = planes.sums[s][t];
            float2 scales[2][GROUP_CHUNKS / 2];
#pragma unroll
            for (uint32_t n = 0; n < 4; ++n) scales[n / 2][n % 2] = floats_of(element(loaded.scales[s], n));
#pragma unroll
            for (uint32_t c = 0; c < GROUP_CHUNKS; ++c) {
                const uint4 two = planes.words[c / 2][lane];
                const uint32_t low = c % 2 == 0 ? two.x : two.z, high = c % 2 == 0 ? two.y : two.w;
                const int sum = W::OF_SUM * (c == 0 ? sums.x : c == 1 ? sums.y : c == 2 ? sums.z : sums.w);
                int found[2] = {sum, sum};
#pragma unroll
                for (uint32_t p = 0; p < W::PLANES; ++p) {
                    const int factor = W::OF_BITS * (1 << p);
                    int of_low[4], of_high[4];
                    count_common(of_low, bits.words[p][0][c], bits.words[p][1][c], low & mask, zero);
                    count_common(of_high, bits.words[p][0][c], bits.words[p][1][c], high & mask, zero);
#pragma unroll
                    for (uint32_t half = 0; half < 2; ++half) {
                        found[half] += factor * of_low[2 * half];
                        found[half] += 2 * factor * of_low[2 * half + 1];
                        found[half] += 256 * factor * of_high[2 * half];
                        found[half] += top * factor * of_high[2 * half + 1];
                    }
                }
#pragma unroll
                for (uint32_t half = 0; half < 2; ++half) {
                    const float2 pair = scales[half][c / 2];
                    const float scale = c % 2 == 0 ? pair.x : pair.y;
                    const float product = float(found[half]);
                    of_group[half] = s == 0 && c == 0 ? scale * product : fmaf(scale, product, of_group[half]);
                }
            }
        }
        sums[0] = fmaf(planes.step, of_group[0], sums[0]);
        sums[1] = fmaf(planes.step, of_group[1], sums[1]);
    }

    // The sum of a row, in the lanes that say so: t = 0 has that of row g, t = 1 that of row g + 8.
    static __device__ inline bool has_row() { return threadIdx.x % 4 < 2; }
    static __device__ inline uint32_t row_of_lane() { return threadIdx.x % WARP / 4 + threadIdx.x % 2 * 8; }
    __device__ inline float row() const {
        const bool odd = threadIdx.x % 2;
        const float factor = float(1 << threadIdx.x % 4 * 2);
        const float sum = fmaf(odd ? sums[1] : sums[0], factor, of_lane(factor * (odd ? sums[0] : sums[1]), 1));
        return sum + of_lane(sum, 2);
    }
};

// Numbers: sums of a lane for 16 rows, of four of the weights of each chunk.
template <class W>
struct NumberAccumulator {
    static constexpr uint32_t SLAB = 14, BLOCKS = 2;
    static constexpr bool EARLY = false;
    using Vector = float4[GROUP_CHUNKS][WARP];
    float sums[TILE_ROWS] = {};

    static __device__ inline void store(const float (&x)[16], Vector& group) {
        const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
        for (uint32_t n = 0; n < 4; ++n)
            group[lane / 8][lane % 8 * 4 + n] = {x[4 * n], x[4 * n + 1], x[4 * n + 2], x[4 * n + 3]};
    }

    // A group, of which a lane's weights are loaded when they are needed: those of 16 rows are enough at once.
    struct Loaded {
        const uint32_t* words;
        const __half* scales;
    };
    struct Cursor {
        Loaded at;

        __device__ Cursor(const Matrix& m, uint32_t tile, uint32_t group) {
            const uint32_t lane = threadIdx.x % WARP;
            const size_t place = (size_t(tile) * m.groups + group) * (GROUP_CHUNKS * TILE_ROWS);
            at = {m.words + place * W::WORDS + W::first_word(lane), m.scales + place * W::SCALES + W::first_scale(lane)};
        }
        __device__ void begin(uint32_t) const {}
        __device__ void prefetch() const {}
        __device__ Loaded load() {
            const Loaded loaded = at;
            at.words += GROUP_CHUNKS * TILE_ROWS * W::WORDS;
            at.scales += GROUP_CHUNKS * TILE_ROWS * W::SCALES;
            return loaded;
        }
    };

    __device__ inline void add(const Loaded& group, const Vector& chunks) {
        const uint32_t lane = threadIdx.x % WARP;
        const W weights(lane);
#pragma unroll 1
        for (uint32_t c = 0; c < GROUP_CHUNKS; ++c) {
            const float4 v = chunks[c][lane];
#pragma unroll
            for (uint32_t r = 0; r < TILE_ROWS; ++r) {
                const uint32_t place = c * TILE_ROWS + r;
                sums[r] = weights.dot(group.words + place * W::WORDS, group.scales + place * W::SCALES, v, sums[r]);
            }
        }
    }

    static __device__ inline bool has_row() { return threadIdx.x % WARP < TILE_ROWS; }
    static __device__ inline uint32_t row_of_lane() { return threadIdx.x % TILE_ROWS; }
    __device__ inline float row() const {
        const float sum = warp_sums(sums);
        return sum + __shfl_xor_sync(FULL_WARP, sum, 16);
    }
};

// What a block computes of `matrix * vector`, its tiles being those that `tile_of` names: `results[16 * n + r]` is row r of its
// n-th tile. Threads may read them when this returns.
template <class A, class TileOf>
__device__ inline void multiply(const Matrix& matrix, uint32_t tiles, const TileOf& tile_of, const float* x, const float* norm,
                                float eps, float (&results)[MAX_TILES * TILE_ROWS]) {
    __shared__ __align__(16) typename A::Vector vector[A::SLAB];
    // Of a tile that a warp began in the middle, and of one that it did not end.
    __shared__ float parts[WARPS][2][TILE_ROWS];

    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    float squares = 0.0f;
    for (uint32_t first = 0; first < matrix.groups; first += A::SLAB) {
        const uint32_t groups = min(matrix.groups - first, A::SLAB);
        const Share share(tiles * groups, WARPS);
        const uint32_t begin = share.begin_of(warp);
        uint32_t left = share.count_of(warp), tile = begin / groups, group = begin % groups;
        typename A::Cursor cursor(matrix, tile_of(tile), first + group);
        if (first == 0) {
            cursor.begin(left);
            wait_for_predecessors();
        }

        __syncthreads();
        for (uint32_t at = warp; at < groups; at += WARPS) {
            // Chunks beyond the matrix have weights of 0, and meet the last one.
            const uint32_t chunk = (first + at) * GROUP_CHUNKS + lane / 8;
            const size_t element = size_t(min(chunk, matrix.chunks - 1)) * CHUNK + lane % 8 * 16;
            float v[16];
#pragma unroll
            for (uint32_t n = 0; n < 4; ++n) {
                const float4 four = reinterpret_cast<const float4*>(x + element)[n];
                v[4 * n] = four.x, v[4 * n + 1] = four.y, v[4 * n + 2] = four.z, v[4 * n + 3] = four.w;
            }
            if (norm != nullptr) {
#pragma unroll
                for (uint32_t n = 0; n < 4; ++n) {
                    const float4 by = reinterpret_cast<const float4*>(norm + element)[n];
                    const float weights[4] = {by.x, by.y, by.z, by.w};
#pragma unroll
                    for (uint32_t m = 0; m < 4; ++m) {
                        float& value = v[4 * n + m];
                        if (chunk < matrix.chunks) squares = fmaf(value, value, squares);
                        value *= weights[m];
                    }
                }
            }
            A::store(v, vector[at]);
        }
        __syncthreads();

        while (left > 0) {
            const uint32_t stop = min(left, groups - group);
            const typename A::Vector* part = vector + group;
            A sums;
            const auto add = [&](const typename A::Loaded& loaded) {
                // (Up to two groups were loaded before they are needed.)
                if (left > AHEAD + 2) cursor.prefetch();
                sums.add(loaded, *part++);
                --left;
            };
            if constexpr (A::EARLY) {
                // Two sets of registers take turns.
                typename A::Loaded one = cursor.load(), other;
                for (uint32_t n = stop; n > 0; n -= 2) {
                    if (n > 1) other = cursor.load();
                    add(one);
                    if (n == 1) break;
                    if (n > 2) one = cursor.load();
                    add(other);
                }
            } else {
                for (uint32_t n = stop; n > 0; --n) add(cursor.load());
            }
            const float row = sums.row();
            if (A::has_row()) {
                float& whole = results[tile * TILE_ROWS + A::row_of_lane()];
                if (stop < groups)
                    parts[warp][group == 0][A::row_of_lane()] = row;
                else
                    whole = first == 0 ? row : whole + row;
            }
            ++tile, group = 0;
            if (left > 0) cursor = typename A::Cursor(matrix, tile_of(tile), first);
        }
        __syncthreads();

        // Who began a tile that others end adds what these have.
        const uint32_t of = threadIdx.x / TILE_ROWS, r = threadIdx.x % TILE_ROWS;
        if (of < WARPS && share.count_of(of) > 0) {
            const uint32_t end = share.begin_of(of + 1), last = (end - 1) / groups, end_of_last = (last + 1) * groups;
            if (end < end_of_last && share.begin_of(of) <= last * groups) {
                float sum = parts[of][1][r];
                for (uint32_t w = of + 1; w < WARPS && share.begin_of(w) < end_of_last; ++w) sum += parts[w][0][r];
                float& result = results[last * TILE_ROWS + r];
                result = first == 0 ? sum : result + sum;
            }
        }
    }
    if (matrix.groups == 0) {
        wait_for_predecessors();
        for (uint32_t i = threadIdx.x; i < tiles * TILE_ROWS; i += THREADS) results[i] = 0.0f;
    }

    if (norm != nullptr) {
        const float mean = block_sum<THREADS>(squares) / (float(matrix.chunks) * CHUNK);
        const float scale = rsqrtf(mean + eps);
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < tiles * TILE_ROWS; i += THREADS) results[i] *= scale;
    }
    __syncthreads();
}

template <class W>
using AccumulatorOf = std::conditional_t<W::BITS, BitAccumulator<W>, NumberAccumulator<W>>;

/// Matrix times vector, `y[offset + r] = W[r] · x`, or `+=` that if `add`.
///
/// With `norm`, `[chunks * 128]`, the vector is normalised first: `x / sqrt(mean(x²) + eps) * norm`. `words` and `scales` are
/// in the layout W, for a matrix `[rows, chunks * 128]`; `x` is `[chunks * 128]`, and `y` is `[stride]`: what is beside the
/// `rows` elements from `offset` on stays as it is, so that matrices in different layouts have their parts of one output.
/// Rows are divided evenly among `blocks` blocks; the result does not depend on how many these are.
///
/// @targets 75 80 90
/// @grid    blocks
/// @block   256
/// @len     words  == div_ceil(rows, 16) * div_ceil(chunks, 4) * 64 * W::WORDS
/// @len     scales == div_ceil(rows, 16) * div_ceil(chunks, 4) * 64 * W::SCALES
/// @len     norm   == chunks * 128
/// @len     x      == chunks * 128
/// @len     y      == stride
/// @align   words 16
/// @align   scales 16
/// @align   x 16
/// @align   norm 16
/// @optional norm
/// @require offset + rows <= stride
/// @require div_ceil(rows, 16) <= blocks * 96
/// @pdl     words scales norm
/// @safe
template <class W>
__global__ void __launch_bounds__(THREADS, AccumulatorOf<W>::BLOCKS)
matvec(const uint32_t* __restrict__ words, const __half* __restrict__ scales, const float* __restrict__ norm,
       const float* __restrict__ x, float* __restrict__ y, uint32_t rows, uint32_t chunks, uint32_t stride, uint32_t offset,
       bool add, float eps, uint32_t blocks) {
    __shared__ float results[MAX_TILES * TILE_ROWS];
    let_dependents_start();
    const Matrix matrix(words, scales, rows, chunks);
    const Share share(matrix.tiles, blocks);
    const uint32_t first = share.begin_of(blockIdx.x), tiles = share.count_of(blockIdx.x);
    multiply<AccumulatorOf<W>>(matrix, tiles, [&](uint32_t n) { return first + n; }, x, norm, eps, results);
    for (uint32_t i = threadIdx.x; i < tiles * TILE_ROWS; i += THREADS) {
        const size_t row = size_t(first) * TILE_ROWS + i;
        if (row >= rows) break;
        float& out = y[offset + row];
        out = add ? out + results[i] : results[i];
    }
}

/// The gated half of a SwiGLU feed-forward network, `y[i] = silu(W[i] · x) * (W[rows / 2 + i] · x)` with
/// `silu(g) = g / (1 + e^-g)`: the upper half of the matrix is the gate, the lower what it gates.
///
/// Everything else is as in `matvec`; `y` is `[rows / 2]`.
///
/// @targets 75 80 90
/// @grid    blocks
/// @block   256
/// @len     words  == div_ceil(rows, 16) * div_ceil(chunks, 4) * 64 * W::WORDS
/// @len     scales == div_ceil(rows, 16) * div_ceil(chunks, 4) * 64 * W::SCALES
/// @len     norm   == chunks * 128
/// @len     x      == chunks * 128
/// @len     y      == rows / 2
/// @align   words 16
/// @align   scales 16
/// @align   x 16
/// @align   norm 16
/// @optional norm
/// @require rows % 32 == 0
/// @require rows / 32 <= blocks * 48
/// @pdl     words scales norm
/// @out     y
/// @safe
template <class W>
__global__ void __launch_bounds__(THREADS, AccumulatorOf<W>::BLOCKS)
matvec_gated(const uint32_t* __restrict__ words, const __half* __restrict__ scales, const float* __restrict__ norm,
             const float* __restrict__ x, float* __restrict__ y, uint32_t rows, uint32_t chunks, float eps, uint32_t blocks) {
    __shared__ float results[MAX_TILES * TILE_ROWS];
    let_dependents_start();
    const Matrix matrix(words, scales, rows, chunks);
    const uint32_t pairs = matrix.tiles / 2;
    const Share share(pairs, blocks);
    const uint32_t first = share.begin_of(blockIdx.x), own = share.count_of(blockIdx.x);
    // First the tiles of the gate, then those that it gates.
    const auto tile_of = [&](uint32_t n) { return n < own ? first + n : pairs + first + n - own; };
    multiply<AccumulatorOf<W>>(matrix, 2 * own, tile_of, x, norm, eps, results);
    for (uint32_t i = threadIdx.x; i < own * TILE_ROWS; i += THREADS) {
        const float gate = results[i];
        y[size_t(first) * TILE_ROWS + i] = gate / (1.0f + expf(-gate)) * results[own * TILE_ROWS + i];
    }
}

#define INSTANCE(W)                                                                                                    \
    template __global__ void matvec<W>(const uint32_t*, const __half*, const float*, const float*, float*, uint32_t,    \
                                       uint32_t, uint32_t, uint32_t, bool, float, uint32_t);                           \
    template __global__ void matvec_gated<W>(const uint32_t*, const __half*, const float*, const float*, float*,        \
                                             uint32_t, uint32_t, float, uint32_t);
INSTANCE(Q1_0)
INSTANCE(T1)
INSTANCE(T2)
INSTANCE(T2Halves)
INSTANCE(Q8_0)
INSTANCE(F16)
INSTANCE(BF16)
INSTANCE(F32)
