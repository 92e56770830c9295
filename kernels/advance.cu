// Moves a sequence on, on the device.
#include <cstdint>

/// Ends a step that took in `count` tokens: the position moves on by as many, and the token that comes then is what the
/// model chose, unless it is known already (a prompt).
///
/// `tokens` is `[context]`, of which the first `known` are given; `position`, `known` and `next` are `[1]`.
/// At the end of the context nothing is written but the position, which stops at `context`.
///
/// @grid    1
/// @block   32
/// @require count >= 1
/// @len     tokens   == context
/// @len     position == 1
/// @len     known    == 1
/// @len     next     == 1
/// @safe
__global__ void __launch_bounds__(32)
advance(uint32_t* __restrict__ tokens, uint32_t* __restrict__ position, uint32_t* __restrict__ known,
        const uint32_t* __restrict__ next, uint32_t count, uint32_t context) {
    if (threadIdx.x != 0) return;
    const uint32_t at = *position;
    if (at >= context) return;
    const uint32_t after = at + min(count, context - at);
    if (after >= *known && after < context) {
        tokens[after] = *next;
        *known = after + 1;
    }
    *position = after;
}
