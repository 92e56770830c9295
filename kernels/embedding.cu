// Embedding lookup: dequantizes the row of one token.
//
// One thread a weight. Moves blocks * 18 bytes of weights in and blocks * 512 bytes out.
#include "q1_0.cuh"

/// Dequantizes the Q1_0 embedding row of the current token, `out[i] = embedding[tokens[position], i]`.
///
/// `tokens` is `[context]` and `position` selects one of it, both in device memory, so that a recorded graph
/// serves every token. `signs` and `scales` are `[vocab, blocks]`, `out` is `[blocks * 128]`.
/// A position outside `context` or a token outside `vocab` gives NaN.
///
/// @grid    blocks
/// @block   128
/// @len     tokens   == context
/// @len     position == 1
/// @len     signs    == vocab * blocks
/// @len     scales   == vocab * blocks
/// @len     out      == blocks * 128
/// @out     out
/// @safe
__global__ void __launch_bounds__(128)
q1_0_embedding_row(const uint32_t* __restrict__ tokens, const uint32_t* __restrict__ position,
                   const uint4* __restrict__ signs, const __half* __restrict__ scales, float* __restrict__ out,
                   uint32_t context, uint32_t vocab, uint32_t blocks) {
    const size_t i = size_t(blockIdx.x) * Q1_0_BLOCK + threadIdx.x;
    const uint32_t at = *position;
    const uint32_t token = at < context ? tokens[at] : vocab;
    if (token >= vocab) {
        out[i] = __int_as_float(0x7fffffff);
        return;
    }
    const size_t block = size_t(token) * blocks + blockIdx.x;
    const uint32_t word = reinterpret_cast<const uint32_t*>(signs)[block * Q1_0_WORDS + threadIdx.x / 32];
    out[i] = flip_sign(__half2float(scales[block]), word, threadIdx.x % 32);
}
