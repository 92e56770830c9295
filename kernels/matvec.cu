// Matrix times one vector, for decoding: what comes before it (RMS norm) and after it (residual, SwiGLU) is in the same
// launch.
//
// A block has rows in tiles of 16, as many as `blocks` leaves to each, so that it makes the vector ready once for all of
// them: in slabs in shared memory, so that the number of columns has no limit. Its eight warps share all groups of 512
// weights of all its tiles evenly. Where two warps share a tile, each leaves its part in shared memory, and the parts are
// added in the order of the warps, so that results do not depend on who is first.
//
// Weights that are bits (`bit_weights.cuh`) meet activations as planes of bits on tensor cores (`bit_planes.cuh`): in PTX
// instructions of the inner loop a weight costs 0.41 (Q1_0), … Weights that are numbers (`weights.cuh`) are multiplied as f32.
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
// Rows of a block.
constexpr uint32_t MAX_TILES = 96;
// Groups that a warp asks for before it needs them.
constexpr uint32_t AHEAD = 8;

struct Matrix {
    const uint32_t* words;
    const __half* scales;
    uint32_t rows, chunks, tiles, groups;
    size_t end;  // groups of all tiles

    __device__ Matrix(const uint32_t* words, const __half* scales, uint32_t rows, uint32_t chunks)
        : words(words), scales(scales), rows(rows), chunks(chunks), tiles(ceil(rows, TILE_ROWS)),
          groups(ceil(chunks, GROUP_CHUNKS)), end(size_t(tiles) * groups) {}

   private:
    static __device__ uint32_t ceil(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }
};

// Tensor cores: sums of a lane for rows g and g + 8, of planes 2t, 2t + 1, 2t + 8 and 2t + 9.
template <class W>
struct BitAccumulator {
    // Chunks of a slab.
    static constexpr uint32_t SLAB = 96, BLOCKS = 3;
    // Whether there is room in registers for a group that comes next.
    static constexpr bool EARLY = W::PLANES == 1;
    using Vector = Planes;
    float sums[2] = {};

    // Puts elements `first` to `first + 15` of a chunk into shared memory.
    static __device__ inline void store(const float (&x)[16], uint32_t part, Planes& chunk) { store_planes(x, part, chunk); }

    // What a lane has of a group, as loaded.
    struct Loaded {
        typename W::Raw raw;
        uint4 scales[W::SCALES];
    };

    // A place in a matrix. Groups follow one another in memory, whatever their tile.
    struct Cursor {
        const uint4* words;
        const uint4* scales;
        // A line of 128 bytes of the words or scales of a group to come, from one group to the next, and how many there are.
        const char* line;
        uint32_t stride, left;

        __device__ Cursor(const Matrix& m, uint32_t tile, uint32_t group) {
            const uint32_t lane = threadIdx.x % WARP;
            const size_t at = size_t(tile) * m.groups + group;
            words = reinterpret_cast<const uint4*>(m.words) + at * (16 * W::WORDS);
            scales = reinterpret_cast<const uint4*>(m.scales) + at * (8 * W::SCALES);
            const bool of_words = lane < LINES_OF_WORDS;
            stride = of_words ? 256 * W::WORDS : 128 * W::SCALES;
            line = of_words ? reinterpret_cast<const char*>(words) + lane * 128
                            : reinterpret_cast<const char*>(scales) + (lane - LINES_OF_WORDS) * 128;
            const size_t to_end = size_t(m.tiles) * m.groups - at;
            left = lane < LINES_OF_WORDS + W::SCALES ? uint32_t(min(to_end, size_t(0xffffffffu))) : 0;
        }
        // Lets `prefetch` begin so many groups later.
        __device__ void skip(uint32_t groups) {
            line += groups * stride;
            left -= min(left, groups);
        }
        // Asks for the next group, one line a lane.
        __device__ void prefetch() {
            if (left > 0) {
                asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
                --left;
            }
            line += stride;
        }
        __device__ Loaded load() {
            const uint32_t lane = threadIdx.x % WARP;
            Loaded loaded;
            loaded.raw = W::load(words, lane);
#pragma unroll
            for (uint32_t s = 0; s < W::SCALES; ++s) loaded.scales[s] = scales[s * 8 + lane / 4];
            words += 16 * W::WORDS;
            scales += 8 * W::SCALES;
            return loaded;
        }

       private:
        static constexpr uint32_t LINES_OF_WORDS = 2 * W::WORDS;
    };

    __device__ inline void add(const Loaded& loaded, const Planes* chunks) {
        const uint32_t lane = threadIdx.x % WARP, t = lane % 4;
        const int top = t == 3 ? -512 : 512;
        const Bits<W::PLANES> bits = W::unpack(loaded.raw);
#pragma unroll
        for (uint32_t c = 0; c < GROUP_CHUNKS; ++c) {
            const uint2 planes = chunks[c].words[lane];
            uint4 about;
            if constexpr (W::SCALES == 1) {
                const uint2 two = *reinterpret_cast<const uint2*>(&chunks[c].about[t]);
                about.x = two.x, about.y = two.y;
            } else {
                about = chunks[c].about[t];
            }
#pragma unroll
            for (uint32_t s = 0; s < W::SCALES; ++s) {
                // Of two scales each is for the words of two t.
                const uint32_t mask = W::SCALES == 1 || t / 2 == s ? 0xffffffffu : 0;
                const int sum = W::OF_SUM * int(W::SCALES == 1 ? about.x : s == 0 ? about.z : about.w);
                int found[2] = {sum, sum};
#pragma unroll
                for (uint32_t p = 0; p < W::PLANES; ++p) {
                    const int factor = W::OF_BITS * (1 << p);
                    int low[4] = {}, high[4] = {};
                    count_common(low, bits.words[p][0][c], bits.words[p][1][c], planes.x & mask);
                    count_common(high, bits.words[p][0][c], bits.words[p][1][c], planes.y & mask);
#pragma unroll
                    for (uint32_t half = 0; half < 2; ++half) {
                        found[half] += factor * low[2 * half];
                        found[half] += 2 * factor * low[2 * half + 1];
                        found[half] += 256 * factor * high[2 * half];
                        found[half] += top * factor * high[2 * half + 1];
                    }
                }
#pragma unroll
                for (uint32_t half = 0; half < 2; ++half) {
                    const uint32_t pair = element(loaded.scales[s], 2 * half + c / 2);
                    const float scale = __half2float(__ushort_as_half(uint16_t(c % 2 == 0 ? pair & 0xffff : pair >> 16)));
                    sums[half] = fmaf(scale, __uint_as_float(about.y) * float(found[half]), sums[half]);
                }
            }
        }
    }

    // The sum of row `lane`, in lanes 0 to 15.
    __device__ inline float row() const {
        const uint32_t lane = threadIdx.x % WARP;
        const float factor = float(1 << lane % 4 * 2);
        float rows[2];
#pragma unroll
        for (uint32_t half = 0; half < 2; ++half) {
            rows[half] = sums[half] * factor;
            rows[half] += __shfl_xor_sync(FULL_WARP, rows[half], 1);
            rows[half] += __shfl_xor_sync(FULL_WARP, rows[half], 2);
        }
        const float first = __shfl_sync(FULL_WARP, rows[0], lane % 8 * 4), second = __shfl_sync(FULL_WARP, rows[1], lane % 8 * 4);
        return lane < 8 ? first : second;
    }
};

// Numbers: sums of a lane for 16 rows, of four of the weights of each chunk.
template <class W>
struct NumberAccumulator {
    static constexpr uint32_t SLAB = 60, BLOCKS = 2;
    static constexpr bool EARLY = false;
    using Vector = float4[WARP];
    float sums[TILE_ROWS] = {};

    static __device__ inline void store(const float (&x)[16], uint32_t part, Vector& chunk) {
#pragma unroll
        for (uint32_t n = 0; n < 4; ++n) chunk[part * 4 + n] = {x[4 * n], x[4 * n + 1], x[4 * n + 2], x[4 * n + 3]};
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
        __device__ void skip(uint32_t) {}
        __device__ void prefetch() {}
        __device__ Loaded load() {
            const Loaded loaded = at;
            at.words += GROUP_CHUNKS * TILE_ROWS * W::WORDS;
            at.scales += GROUP_CHUNKS * TILE_ROWS * W::SCALES;
            return loaded;
        }
    };

    __device__ inline void add(const Loaded& group, const Vector* chunks) {
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
    for (uint32_t i = threadIdx.x; i < tiles * TILE_ROWS; i += THREADS) results[i] = 0.0f;

    if (matrix.groups == 0) wait_for_predecessors();
    float squares = 0.0f;
    constexpr uint32_t SLAB_GROUPS = A::SLAB / GROUP_CHUNKS;
    for (uint32_t first = 0; first < matrix.groups; first += SLAB_GROUPS) {
        const uint32_t groups = min(matrix.groups - first, SLAB_GROUPS);
        // The share of a warp, in groups of tiles.
        const uint32_t count = tiles * groups;
        const auto begin_of = [&](uint32_t w) { return uint32_t(uint64_t(count) * w / WARPS); };
        uint32_t at = begin_of(warp);
        const uint32_t end = begin_of(warp + 1);
        uint32_t tile = at / groups, group = at % groups;
        if (first == 0) {
            if (at < end) {
                typename A::Cursor cursor(matrix, tile_of(tile), group);
                for (uint32_t n = 0; n < AHEAD; ++n) cursor.prefetch();
            }
            wait_for_predecessors();
        }

        __syncthreads();
        for (uint32_t i = threadIdx.x; i < (groups * GROUP_CHUNKS * 8 + WARP - 1) / WARP * WARP; i += THREADS) {
            const uint32_t chunk = i / 8, part = i % 8;
            const size_t element = (size_t(first) * GROUP_CHUNKS + chunk) * CHUNK + part * 16;
            float v[16] = {};
            if (first * GROUP_CHUNKS + chunk < matrix.chunks) {
#pragma unroll
                for (uint32_t n = 0; n < 4; ++n) {
                    float4 four = reinterpret_cast<const float4*>(x + element)[n];
                    if (norm != nullptr) {
                        squares += four.x * four.x + four.y * four.y + four.z * four.z + four.w * four.w;
                        const float4 by = reinterpret_cast<const float4*>(norm + element)[n];
                        four = {four.x * by.x, four.y * by.y, four.z * by.z, four.w * by.w};
                    }
                    v[4 * n] = four.x, v[4 * n + 1] = four.y, v[4 * n + 2] = four.z, v[4 * n + 3] = four.w;
                }
            }
            A::store(v, part, vector[chunk]);
        }
        __syncthreads();

        while (at < end) {
            const uint32_t stop = min(end - at, groups - group);
            A sums;
            typename A::Cursor cursor(matrix, tile_of(tile), first + group);
            cursor.skip(AHEAD);
            const typename A::Vector* part = vector + group * GROUP_CHUNKS;
            typename A::Loaded next;
            if constexpr (A::EARLY) next = cursor.load();
            for (uint32_t n = stop; n > 0; --n) {
                cursor.prefetch();
                if constexpr (A::EARLY) {
                    const typename A::Loaded now = next;
                    if (n > 1) next = cursor.load();
                    sums.add(now, part);
                } else {
                    sums.add(cursor.load(), part);
                }
                part += GROUP_CHUNKS;
            }
            const float row = sums.row();
            if (lane < TILE_ROWS) {
                if (stop == groups)
                    results[tile * TILE_ROWS + lane] += row;
                else
                    parts[warp][group == 0][lane] = row;
            }
            at += stop, ++tile, group = 0;
        }
        __syncthreads();

        // Who began a tile that others ended adds what these have.
        const uint32_t of = threadIdx.x / TILE_ROWS, r = threadIdx.x % TILE_ROWS;
        if (of < WARPS && begin_of(of) < begin_of(of + 1) && begin_of(of + 1) % groups != 0) {
            const uint32_t last = (begin_of(of + 1) - 1) / groups;
            if (begin_of(of) <= last * groups) {
                float sum = parts[of][1][r];
                for (uint32_t w = of + 1; w < WARPS && begin_of(w) < (last + 1) * groups; ++w)
                    if (begin_of(w) < begin_of(w + 1)) sum += parts[w][0][r];
                results[last * TILE_ROWS + r] += sum;
            }
        }
    }

    if (norm != nullptr) {
        const float mean = block_sum<THREADS>(squares) / (float(matrix.chunks) * CHUNK);
        const float scale = rsqrtf(mean + eps);
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < tiles * TILE_ROWS; i += THREADS) results[i] *= scale;
    }
    __syncthreads();
}

// Where the share of a block begins: of `count`, each of `blocks` has as many as another, or one more.
__device__ inline uint32_t begin_of_block(uint32_t count, uint32_t block, uint32_t blocks) {
    return uint32_t(uint64_t(count) * block / blocks);
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
    const uint32_t first = begin_of_block(matrix.tiles, blockIdx.x, blocks);
    const uint32_t tiles = begin_of_block(matrix.tiles, blockIdx.x + 1, blocks) - first;
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
    const uint32_t first = begin_of_block(pairs, blockIdx.x, blocks);
    const uint32_t own = begin_of_block(pairs, blockIdx.x + 1, blocks) - first;
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
