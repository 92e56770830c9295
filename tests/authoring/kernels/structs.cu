// Structs by value and by pointer.
#include "params.h"

/// Scales rows.
///
/// @grid  rows
/// @block THREADS
/// @len   x == rows * TILE
/// @len   also >= 1
/// @align x TILE
/// @safe
__global__ void __launch_bounds__(THREADS)
scale_rows(float* x, const Params* also, __grid_constant__ const Params params, uint32_t rows) {
    const uint32_t dim = min(params.dim, uint32_t(TILE));
    if (params.mode != MODE_SCALE || threadIdx.x >= dim) return;
    if (threadIdx.x < params.windows[0].first || threadIdx.x > params.windows[1].last) return;
    x[size_t(blockIdx.x) * TILE + threadIdx.x] *= params.scale * also->scale;
}

/// Never safe.
__global__ void follow(Link* link, shape::Window window, Mode mode) { link->length = window.first + mode; }

/// Adds the fields.
///
/// @grid  1
/// @block 1
/// @len   sum == 1
/// @safe
__global__ void add_fields(uint32_t sum[1], Named named) { sum[0] = named.type + named.in; }
