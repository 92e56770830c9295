// Weights that are bits, as tensor cores take them.
//
// A matrix is in tiles of 16 rows and groups of 4 chunks (`weights.cuh`). Lane 4g + t has of every chunk word t, weights 32t
// to 32t + 31, of rows g and g + 8: half 0 and 1 of a tile. The words of a group are planes of bits, and each plane is
// `[chunk / 2, lane, chunk % 2, half]`, so that the pairs which an instruction takes are side by side in registers. Scales
// are `[SCALES, g, half, chunk]`.
//
//   layout      planes
//   Q1_0             1  set where the weight is negative
//   T2, T2Halves     2  the lower and the upper bit of a code
//   T1               7  trits of the four chunks of a group, packed together (below)
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

#include "weights.cuh"

template <class T>
__device__ inline auto element(const T& four, uint32_t n) {
    return n == 0 ? four.x : n == 1 ? four.y : n == 2 ? four.z : four.w;
}

// Loads and prefetches of global memory, OFFSET bytes from an address: what is known of it is then known of no pointer.
template <uint32_t OFFSET>
__device__ inline uint4 load_four(size_t address) {
    uint4 four;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4+%5];"
                 : "=r"(four.x), "=r"(four.y), "=r"(four.z), "=r"(four.w)
                 : "l"(address), "n"(OFFSET));
    return four;
}
template <uint32_t OFFSET>
__device__ inline uint2 load_two(size_t address) {
    uint2 two;
    asm volatile("ld.global.v2.u32 {%0, %1}, [%2+%3];" : "=r"(two.x), "=r"(two.y) : "l"(address), "n"(OFFSET));
    return two;
}
template <uint32_t OFFSET>
__device__ inline void prefetch_line(size_t address) {
    asm volatile("prefetch.global.L2 [%0+%1];" ::"l"(address), "n"(OFFSET));
}

// A function of three bits, for each bit: TABLE has its values.
template <uint32_t TABLE>
__device__ inline uint32_t of_three(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t result;
    asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(result) : "r"(a), "r"(b), "r"(c), "n"(TABLE));
    return result;
}

// What a lane has of a group: for each plane, half and chunk a word.
template <uint32_t PLANES>
struct Bits {
    uint32_t words[PLANES][2][GROUP_CHUNKS];
};

// Layouts whose planes are in memory as they are.
template <uint32_t PLANES_, uint32_t SCALES_>
struct PlainBits {
    static constexpr uint32_t BITS = 1, PLANES = PLANES_, WORDS = 4 * PLANES_, SCALES = SCALES_;

    // As loaded, from OFFSET bytes after where a lane's first 16 bytes of a group are.
    struct Raw {
        uint4 words[PLANES][GROUP_CHUNKS / 2];
    };
    template <uint32_t OFFSET>
    static __device__ inline Raw load(size_t group) {
        Raw raw;
        raw.words[0][0] = load_four<OFFSET>(group);
        raw.words[0][1] = load_four<OFFSET + 512>(group);
        if constexpr (PLANES == 2) {
            raw.words[1][0] = load_four<OFFSET + 1024>(group);
            raw.words[1][1] = load_four<OFFSET + 1536>(group);
        }
        return raw;
    }
    template <uint32_t OFFSET>
    static __device__ inline void prefetch(size_t group) {
        prefetch_line<OFFSET>(group);
        prefetch_line<OFFSET + 512>(group);
        if constexpr (PLANES == 2) {
            prefetch_line<OFFSET + 1024>(group);
            prefetch_line<OFFSET + 1536>(group);
        }
    }
    static __device__ inline Bits<PLANES> unpack(const Raw& raw) {
        Bits<PLANES> bits;
#pragma unroll
        for (uint32_t p = 0; p < PLANES; ++p)
#pragma unroll
            for (uint32_t half = 0; half < 2; ++half)
#pragma unroll
                for (uint32_t c = 0; c < GROUP_CHUNKS; ++c) bits.words[p][half][c] = element(raw.words[p][c / 2], c % 2 * 2 + half);
        return bits;
    }

    // The planes of one half and chunk.
    static __device__ inline void planes(const uint32_t* group, uint32_t lane, uint32_t half, uint32_t chunk,
                                         uint32_t (&words)[PLANES]) {
#pragma unroll
        for (uint32_t p = 0; p < PLANES; ++p) words[p] = group[((p * 2 + chunk / 2) * 32 + lane) * 4 + chunk % 2 * 2 + half];
    }
};

struct Q1_0 : PlainBits<1, 1> {
    // A weight is OF_SUM, and OF_BITS times what its bits are: a bit of a plane that `unpack` makes counts OF_NEXT times one of
    // the plane before.
    static constexpr int OF_SUM = 1, OF_BITS = -2, OF_NEXT = 2;
};

struct T2 : PlainBits<2, 1> {
    static constexpr int OF_SUM = -1, OF_BITS = 1, OF_NEXT = 2;
};

struct T2Halves : PlainBits<2, 2> {
    static constexpr int OF_SUM = -1, OF_BITS = 1, OF_NEXT = 2;
};

struct T1 {
    static constexpr uint32_t BITS = 1, PLANES = 2, WORDS = 7, SCALES = 1;
    static constexpr int OF_SUM = -1, OF_BITS = 1, OF_NEXT = 1;

    // Seven planes of fractions of 128 in base 3, `ceil(128 * 0.t0 t1 t2 t3)`: planes 0 to 3 are `[half, lane, 4]`, the others
    // `[3, lane, half]`.
    struct Raw {
        uint4 first[2];
        uint2 others[3];
    };
    template <uint32_t OFFSET>
    static __device__ inline Raw load(size_t group) {
        const size_t others = group - threadIdx.x % 32 * sizeof(uint2);
        return {{load_four<OFFSET>(group), load_four<OFFSET + 512>(group)},
                {load_two<OFFSET + 1024>(others), load_two<OFFSET + 1280>(others), load_two<OFFSET + 1536>(others)}};
    }
    template <uint32_t OFFSET>
    static __device__ inline void prefetch(size_t group) {
        prefetch_line<OFFSET>(group);
        prefetch_line<OFFSET + 512>(group);
        prefetch_line<OFFSET + 1024>(group);
        prefetch_line<OFFSET + 1280>(group);
    }

    // Times 3: the first trit comes out on top, as a sum of two bits, and the rest stays. Three times a number is that and
    // twice that.
    static __device__ inline void next_trit(uint32_t (&fraction)[7], uint32_t (&addends)[2]) {
        uint32_t carry = 0, below = 0;
#pragma unroll
        for (uint32_t n = 0; n < 7; ++n) {
            const uint32_t bit = fraction[n];
            fraction[n] = n == 0 ? bit : of_three<0x96>(bit, below, carry);        // their exclusive or
            carry = n == 0 ? 0 : n == 1 ? bit & below : of_three<0xe8>(bit, below, carry);  // whether two of them are set
            below = bit;
        }
        addends[0] = below;
        addends[1] = carry;
    }

    static __device__ inline Bits<PLANES> unpack(const Raw& raw) {
        Bits<PLANES> bits;
#pragma unroll
        for (uint32_t half = 0; half < 2; ++half) {
            const auto other = [&](uint32_t n) { return half == 0 ? raw.others[n].x : raw.others[n].y; };
            uint32_t fraction[7] = {raw.first[half].x, raw.first[half].y, raw.first[half].z, raw.first[half].w,
                                    other(0),          other(1),          other(2)};
#pragma unroll
            for (uint32_t c = 0; c < GROUP_CHUNKS; ++c) {
                uint32_t addends[2];
                next_trit(fraction, addends);
                bits.words[0][half][c] = addends[0];
                bits.words[1][half][c] = addends[1];
            }
        }
        return bits;
    }

    static __device__ inline void planes(const uint32_t* group, uint32_t lane, uint32_t half, uint32_t chunk,
                                         uint32_t (&words)[2]) {
        uint32_t fraction[7], addends[2];
#pragma unroll
        for (uint32_t n = 0; n < 7; ++n)
            fraction[n] = n < 4 ? group[(half * 32 + lane) * 4 + n] : group[256 + ((n - 4) * 32 + lane) * 2 + half];
        for (uint32_t c = 0; c <= chunk; ++c) next_trit(fraction, addends);
        // As codes of two bits.
        words[0] = addends[0] ^ addends[1];
        words[1] = addends[0] & addends[1];
    }
};

// The scale of one half, chunk, and 64 weights, for the lanes of g.
__device__ inline __half bit_scale(const __half* group, uint32_t of, uint32_t g, uint32_t half, uint32_t chunk) {
    return group[((of * 8 + g) * 2 + half) * 4 + chunk];
}

// The weights of bits `n` and `n + 16` of a word, without their scale: a pair of f16.
template <class W>
__device__ inline uint32_t bit_pair(const uint32_t (&words)[W::PLANES], uint32_t n) {
    if constexpr (W::PLANES == 1) {
        return (words[0] << (15 - n) & 0x80008000u) | 0x3c003c00u;
    } else {
        const uint32_t upper = n == 0 ? words[1] << 1 : words[1] >> (n - 1);
        return half_pair<1>((words[0] >> n & 0x00010001u) | (upper & 0x00020002u));
    }
}
