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
#include "silu.cuh"
#include "warp.cuh"
#include "weights.cuh"

constexpr uint32_t WARPS = 8;
constexpr uint32_t THREADS = WARPS * WARP;
// Tiles of a block.
constexpr uint32_t MAX_TILES = 96;
// Groups that a warp asks for before it needs them.
constexpr uint32_t AHEAD = 10;

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
    static constexpr uint32_t SLAB = W::SCALES == 2 ? 12 : 24, BLOCKS = 3;
    // Whether there is room in registers for a group that comes next.
    static constexpr bool EARLY = W::PLANES == 1;
    static constexpr bool HALVES = W::SCALES == 2;
    using Vector = Planes<HALVES>;
    float sums[2];
    // What counts begin with; BASE is there once for those that become an f32. (The assembler would load a BASE that it knows
    // before each instruction.)
    int from_zero[4], from_base[4];
    // What an odd plane counts for, where the one before it counts once: bit 15 of an activation is negative.
    const int odd_of_high;

    __device__ explicit BitAccumulator(uint32_t lane) : odd_of_high(opaque(lane % 4 == 3 ? -2 : 2)) {
        const int zero = opaque(0), unknown = unknown_zero(lane);
#pragma unroll
        for (uint32_t n = 0; n < 4; ++n) {
            from_zero[n] = zero;
            from_base[n] = n % 2 == 0 ? __float_as_int(BASE) + unknown : unknown;
        }
    }
    __device__ void begin() { sums[0] = sums[1] = 0.0f; }

    // Puts a group of the vector into shared memory, of which each lane has 16 elements.
    static __device__ inline void store(const float (&x)[16], Vector* vector, uint32_t group, uint32_t lane) {
        char* const at = reinterpret_cast<char*>(vector) + opaque(int(group * sizeof(Vector)));
        store_planes(x, -float(W::OF_SUM) / W::OF_BITS, *reinterpret_cast<Vector*>(at), lane);
    }

    // What a lane has of a group, as loaded.
    struct Loaded {
        typename W::Raw raw;
        uint4 scales[W::SCALES];
    };

    // A place in a matrix, of a lane. Groups follow one another in memory, whatever their tile.
    struct Cursor {
        size_t words, scales;

        // (What is opaque here and below is what leaves the fewest registers to be spilled.)
        __device__ Cursor(const Matrix& m, uint32_t lane)
            : words(opaque(__cvta_generic_to_global(m.words) + lane * 16)),
              scales(__cvta_generic_to_global(m.scales) + lane / 4 * 16) {}
        __device__ Cursor at(size_t group) const {
            Cursor cursor = *this;
            cursor.words = opaque(words + group * GROUP_WORDS);
            cursor.scales = scales + group * GROUP_SCALES;
            return cursor;
        }
        // Asks for the first of `groups` groups that come from here on: 4 KB of words and 4 KB of scales at most.
        __device__ void begin(uint32_t groups, uint32_t lane) const {
            if (lane < groups * (GROUP_WORDS / 128)) prefetch_line<0>(words + lane * 112);
            if (lane < groups * (GROUP_SCALES / 128)) prefetch_line<0>(scales + lane * 128 - lane / 4 * 16);
        }
        // Asks for the group that is N further.
        template <uint32_t N>
        __device__ void prefetch() const {
            W::template prefetch<N * GROUP_WORDS>(words);
            prefetch_line<N * GROUP_SCALES>(scales);
            if constexpr (HALVES) prefetch_line<N * GROUP_SCALES + 128>(scales);
        }
        template <uint32_t N>
        __device__ Loaded load() const {
            Loaded loaded;
            loaded.raw = W::template load<N * GROUP_WORDS>(words);
            loaded.scales[0] = load_four<N * GROUP_SCALES>(scales);
            if constexpr (HALVES) loaded.scales[1] = load_four<N * GROUP_SCALES + 128>(scales);
            return loaded;
        }
        __device__ void next(uint32_t n) { words += n * GROUP_WORDS, scales += n * GROUP_SCALES; }

       private:
        // In bytes.
        static constexpr uint32_t GROUP_WORDS = 256 * W::WORDS, GROUP_SCALES = 128 * W::SCALES;
    };

    // A group of the vector, of a lane.
    struct Place {
        const char* words;
        const char* of_lane;

        __device__ Place(const Vector* vector, uint32_t group, uint32_t lane) {
            const char* of_group = reinterpret_cast<const char*>(vector);
            const uint32_t offset = group * sizeof(Vector);
            words = of_group + opaque(int(offset + lane * sizeof(uint4)));
            of_lane = of_group + opaque(int(offset + lane % 4 * sizeof(typename Vector::OfLane)));
        }
        __device__ void next(uint32_t n) { words += n * sizeof(Vector), of_lane += n * sizeof(Vector); }
        // Of the group that is N further.
        template <uint32_t N>
        __device__ uint4 planes(uint32_t scale, uint32_t pair) const {
            return reinterpret_cast<const Vector*>(words)[N].words[scale][pair][0];
        }
        template <uint32_t N>
        __device__ const typename Vector::OfLane& of_t() const {
            return reinterpret_cast<const Vector*>(of_lane)[N].of_lane[0];
        }
    };

    // Adds products with the group of the vector that is N further.
    template <uint32_t N>
    __device__ inline void add(const Loaded& loaded, const Place& place) {
        const Bits<W::PLANES> bits = W::unpack(loaded.raw);
        float4 less[W::SCALES];
#pragma unroll
        for (uint32_t s = 0; s < W::SCALES; ++s) less[s] = place.template of_t<N>().less[s];
        float of_group[2];
#pragma unroll
        for (uint32_t pair = 0; pair < GROUP_CHUNKS / 2; ++pair) {
#pragma unroll
            for (uint32_t s = 0; s < W::SCALES; ++s) {
                const uint4 planes = place.template planes<N>(s, pair);
                const uint4 all = loaded.scales[s];
                const float2 scales[2] = {floats_of(element(all, pair)), floats_of(element(all, 2 + pair))};
#pragma unroll
                for (uint32_t n = 0; n < 2; ++n) {
                    const uint32_t c = 2 * pair + n;
                    const uint32_t low = element(planes, 2 * n), high = element(planes, 2 * n + 1);
                    // Of each plane; where they count the same, the last has those of all.
                    int of_low[W::PLANES][4], of_high[W::PLANES][4];
#pragma unroll
                    for (uint32_t p = 0; p < W::PLANES; ++p) {
                        const uint32_t first = bits.words[p][0][c], second = bits.words[p][1][c];
                        const bool alone = p == 0 || W::OF_NEXT != 1;
                        count_common(of_low[p], p == 0 ? from_base : alone ? from_zero : of_low[p - 1], first, second, low);
                        count_common(of_high[p], alone ? from_zero : of_high[p - 1], first, second, high);
                    }
#pragma unroll
                    for (uint32_t half = 0; half < 2; ++half) {
                        int counts;
#pragma unroll
                        for (uint32_t p = W::PLANES; p-- > (W::OF_NEXT == 1 ? W::PLANES - 1 : 0);) {
                            const int low_counts = times_plus<2>(of_low[p][2 * half + 1], of_low[p][2 * half]);
                            const int high_counts = of_high[p][2 * half + 1] * odd_of_high + of_high[p][2 * half];
                            const int of_plane = times_plus<256>(high_counts, low_counts);
                            counts = p + 1 == W::PLANES ? of_plane : times_plus<W::OF_NEXT>(counts, of_plane);
                        }
                        const float product = float_less(counts, element(less[s], c));
                        const float scale = n == 0 ? scales[half].x : scales[half].y;
                        of_group[half] = s == 0 && c == 0 ? scale * product : fmaf(scale, product, of_group[half]);
                    }
                }
            }
        }
        const float step = place.template of_t<N>().step;
        sums[0] = fmaf(step, of_group[0], sums[0]);
        sums[1] = fmaf(step, of_group[1], sums[1]);
    }

    // The sum of a row, in the lanes that say so: t = 0 has that of row g, t = 1 that of row g + 8.
    static __device__ inline bool has_row(uint32_t lane) { return lane % 4 < 2; }
    static __device__ inline uint32_t row_of_lane(uint32_t lane) { return lane / 4 + lane % 2 * 8; }
    __device__ inline float row(uint32_t lane) const {
        const bool odd = lane % 2;
        // OF_BITS * 4^t
        const float factor = __int_as_float(__float_as_int(float(W::OF_BITS)) + int(lane % 4) * (1 << 24));
        const float sum = fmaf(odd ? sums[1] : sums[0], factor, of_lane<1>(factor * (odd ? sums[0] : sums[1])));
        return sum + of_lane<2>(sum);
    }
};

// Numbers: sums of a lane for 16 rows, of four of the weights of each chunk.
template <class W>
struct NumberAccumulator {
    static constexpr uint32_t SLAB = 14, BLOCKS = 2;
    static constexpr bool EARLY = false;
    using Vector = float4[GROUP_CHUNKS][WARP];
    float sums[TILE_ROWS];

    __device__ explicit NumberAccumulator(uint32_t) {}
    __device__ void begin() {
#pragma unroll
        for (uint32_t r = 0; r < TILE_ROWS; ++r) sums[r] = 0.0f;
    }

    static __device__ inline void store(const float (&x)[16], Vector* vector, uint32_t at, uint32_t lane) {
        Vector& group = vector[at];
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
        Loaded of_group;

        __device__ Cursor(const Matrix& m, uint32_t lane)
            : of_group{m.words + W::first_word(lane), m.scales + W::first_scale(lane)} {}
        __device__ Cursor at(size_t group) const {
            Cursor cursor = *this;
            cursor.of_group.words += group * (GROUP_CHUNKS * TILE_ROWS * W::WORDS);
            cursor.of_group.scales += group * (GROUP_CHUNKS * TILE_ROWS * W::SCALES);
            return cursor;
        }
        __device__ void begin(uint32_t, uint32_t) const {}
        template <uint32_t N>
        __device__ void prefetch() const {}
        template <uint32_t N>
        __device__ Loaded load() const { return at(N).of_group; }
        __device__ void next(uint32_t n) { *this = at(n); }
    };
    struct Place {
        const Vector* chunks;

        __device__ Place(const Vector* vector, uint32_t group, uint32_t) : chunks(vector + group) {}
        __device__ void next(uint32_t n) { chunks += n; }
    };

    template <uint32_t N>
    __device__ inline void add(const Loaded& group, const Place& place) {
        const uint32_t lane = threadIdx.x % WARP;
        const W weights(lane);
#pragma unroll 1
        for (uint32_t c = 0; c < GROUP_CHUNKS; ++c) {
            const float4 v = place.chunks[N][c][lane];
#pragma unroll
            for (uint32_t r = 0; r < TILE_ROWS; ++r) {
                const uint32_t place = c * TILE_ROWS + r;
                sums[r] = weights.dot(group.words + place * W::WORDS, group.scales + place * W::SCALES, v, sums[r]);
            }
        }
    }

    static __device__ inline bool has_row(uint32_t lane) { return lane < TILE_ROWS; }
    static __device__ inline uint32_t row_of_lane(uint32_t lane) { return lane; }
    __device__ inline float row(uint32_t) const {
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

    const uint32_t thread = threadIdx.x, lane = opaque(int(thread % WARP)), warp = thread / WARP;
    const typename A::Cursor of_lane(matrix, lane);
    const char* x_of_lane = reinterpret_cast<const char*>(x + lane % 8 * 16);
    A sums(lane);
    float squares = 0.0f;
    for (uint32_t first = 0; first < matrix.groups; first += A::SLAB) {
        const uint32_t groups = opaque(int(min(matrix.groups - first, A::SLAB)));
        const Share share(tiles * groups, WARPS);
        const uint32_t begin = share.begin_of(warp);
        uint32_t left = share.count_of(warp), tile = begin / groups, group = begin % groups;
        const auto cursor_at = [&] { return of_lane.at(size_t(tile_of(tile)) * matrix.groups + first + group); };
        typename A::Cursor cursor = cursor_at();
        if (first == 0) {
            cursor.begin(left, lane);
            wait_for_predecessors();
        } else {
            __syncthreads();
        }

        for (uint32_t at = warp; at < groups; at += WARPS) {
            // Chunks beyond the matrix have weights of 0, and meet the last one.
            const uint32_t chunk = (first + at) * GROUP_CHUNKS + lane / 8;
            const size_t offset = size_t(min(chunk, matrix.chunks - 1)) * (CHUNK * sizeof(float));
            float v[16];
#pragma unroll
            for (uint32_t n = 0; n < 4; ++n) {
                const float4 four = reinterpret_cast<const float4*>(x_of_lane + offset)[n];
                v[4 * n] = four.x, v[4 * n + 1] = four.y, v[4 * n + 2] = four.z, v[4 * n + 3] = four.w;
            }
            if (norm != nullptr) {
                const char* norm_of_lane = reinterpret_cast<const char*>(norm + lane % 8 * 16);
#pragma unroll
                for (uint32_t n = 0; n < 4; ++n) {
                    const float4 by = reinterpret_cast<const float4*>(norm_of_lane + offset)[n];
                    const float weights[4] = {by.x, by.y, by.z, by.w};
#pragma unroll
                    for (uint32_t m = 0; m < 4; ++m) {
                        float& value = v[4 * n + m];
                        if (chunk < matrix.chunks) squares = fmaf(value, value, squares);
                        value *= weights[m];
                    }
                }
            }
            A::store(v, vector, at, lane);
        }
        __syncthreads();

        while (left > 0) {
            const uint32_t count = min(left, groups - group);
            left -= count;
            // With this many of them left and fewer, what is AHEAD is not this warp's.
            const int last_prefetch = int(AHEAD) - int(left);
            typename A::Place place(vector, group, lane);
            sums.begin();
            if constexpr (A::EARLY) {
                // Two sets of registers take turns.
                typename A::Loaded one = cursor.template load<0>(), other;
                int n = count;
                do {
                    if (n > 1) other = cursor.template load<1>();
                    if (n > last_prefetch) cursor.template prefetch<AHEAD>();
                    sums.template add<0>(one, place);
                    if (n == 1) break;
                    if (n > 2) one = cursor.template load<2>();
                    if (n - 1 > last_prefetch) cursor.template prefetch<AHEAD + 1>();
                    sums.template add<1>(other, place);
                    cursor.next(2), place.next(2);
                } while (n -= 2);
            } else {
                int n = count;
                do {
                    if (n > last_prefetch) cursor.template prefetch<AHEAD>();
                    sums.template add<0>(cursor.template load<0>(), place);
                    cursor.next(1), place.next(1);
                } while (--n);
            }
            const float row = sums.row(lane);
            if (A::has_row(lane)) {
                float& whole = results[tile * TILE_ROWS + A::row_of_lane(lane)];
                if (count < groups)
                    parts[warp][group == 0][A::row_of_lane(lane)] = row;
                else
                    whole = first == 0 ? row : whole + row;
            }
            ++tile, group = 0;
            if (left > 0) cursor = cursor_at();
        }
        __syncthreads();

        // Who began a tile that others end adds what these have.
        const uint32_t of = thread / TILE_ROWS, r = thread % TILE_ROWS;
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
        y[size_t(first) * TILE_ROWS + i] = silu(results[i]) * results[own * TILE_ROWS + i];
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
