// Embedding lookup: the rows of some tokens, as numbers.
//
// A warp makes a chunk of 128 weights, four a lane, as the matrix product does. Moves the row's words in, and four bytes a
// weight out.
#include "warp.cuh"
#include "weights.cuh"

/// The embeddings of the tokens from `position` on, `out[t, i] = W[tokens[position + t], i]`.
///
/// `tokens` is `[context]` and `position` says where in it to begin, both in device memory, so that a recorded graph
/// serves every token. `words` is `[vocab, chunks, W::WORDS]`, `scales` is `[vocab, chunks, W::SCALES]`, and `out` is
/// `[rows, chunks * 128]`. A position outside `context` or a token outside `vocab` gives NaN.
///
/// @grid    rows, div_ceil(chunks, 4)
/// @block   128
/// @len     tokens   == context
/// @len     position == 1
/// @len     words    == vocab * chunks * W::WORDS
/// @len     scales   == vocab * chunks * W::SCALES
/// @len     out      == rows * chunks * 128
/// @align   words 16
/// @align   out 16
/// @out     out
/// @safe
template <class W>
__global__ void __launch_bounds__(128)
embedding_rows(const uint32_t* __restrict__ tokens, const uint32_t* __restrict__ position,
               const uint32_t* __restrict__ words, const __half* __restrict__ scales, float* __restrict__ out,
               uint32_t context, uint32_t vocab, uint32_t chunks, uint32_t rows) {
    const uint32_t lane = threadIdx.x % WARP;
    const size_t chunk = size_t(blockIdx.y) * 4 + threadIdx.x / WARP;
    if (chunk >= chunks) return;

    float4& to = reinterpret_cast<float4*>(out)[(size_t(blockIdx.x) * chunks + chunk) * WARP + lane];
    const size_t at = size_t(*position) + blockIdx.x;
    const uint32_t token = at < context ? tokens[at] : vocab;
    if (token >= vocab) {
        const float nan = __int_as_float(0x7fffffff);
        to = {nan, nan, nan, nan};
        return;
    }
    const size_t from = size_t(token) * chunks + chunk;
    to = W(lane)(words + from * W::WORDS + W::first_word(lane), scales + from * W::SCALES + W::first_scale(lane));
}

#define INSTANCE(W)                                                                                                    \
    template __global__ void embedding_rows<W>(const uint32_t*, const uint32_t*, const uint32_t*, const __half*, float*, \
                                               uint32_t, uint32_t, uint32_t, uint32_t);
INSTANCE(Q1_0)
INSTANCE(T1)
INSTANCE(T2)
INSTANCE(T2Halves)
INSTANCE(Q8_0)
INSTANCE(F16)
INSTANCE(BF16)
INSTANCE(F32)
