// Q1_0 on the device: 128 weights share one scale, each weight is +scale or -scale.
//
// A matrix `[rows, blocks * 128]` is held in two arrays:
//   signs  [rows, blocks] of 16 bytes: bit j of the block's 128 bits is 1 where weight j is negative
//          (little-endian words, so bit j is bit j % 32 of word j / 32);
//   scales [rows, blocks] of f16.
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

constexpr uint32_t Q1_0_BLOCK = 128;
constexpr uint32_t Q1_0_WORDS = Q1_0_BLOCK / 32;

// `x`, negated if bit `bit` of `word` is set.
__device__ inline float flip_sign(float x, uint32_t word, unsigned bit) {
    return __uint_as_float(__float_as_uint(x) ^ ((word << (31 - bit)) & 0x80000000u));
}
