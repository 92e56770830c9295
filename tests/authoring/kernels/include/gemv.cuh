// A template that several files instantiate.
#pragma once
#include <cstdint>

/// Sums `x` into `y[0]`, `N` times.
///
/// @grid  1
/// @block 1
/// @len   x == n
/// @len   y == 1
/// @safe
template <class Format, int N>
__global__ void gemv(const typename Format::element* x, typename Format::sum* y, uint32_t n) {
    typename Format::sum sum = 0;
    for (uint32_t i = 0; i < n; ++i) sum += x[i];
    y[0] = sum * N;
}
