// Moves a sequence on by one token, on the device.
#include <cstdint>

/// Ends a decode step: the token after the current one is what the model chose, unless it is known already
/// (a prompt), and the position moves on by one.
///
/// `tokens` is `[context]`, of which the first `known` are given; `position`, `known` and `next` are `[1]`.
/// At the end of the context nothing is written but the position, which stops at `context`.
///
/// @grid    1
/// @block   32
/// @len     tokens   == context
/// @len     position == 1
/// @len     known    == 1
/// @len     next     == 1
/// @safe
__global__ void __launch_bounds__(32)
advance(uint32_t* __restrict__ tokens, uint32_t* __restrict__ position, uint32_t* __restrict__ known,
        const uint32_t* __restrict__ next, uint32_t context) {
    if (threadIdx.x != 0 || *position >= context) return;
    const uint32_t after = *position + 1;
    if (after >= *known && after < context) {
        tokens[after] = *next;
        *known = after + 1;
    }
    *position = after;
}
