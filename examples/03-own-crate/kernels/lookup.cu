// Values of a table, by their index.
#include <cuda_fp16.h>

#include "limits.h"

/// `out[i] = table[index[i]]`, kept within limits; the lower one where the table has no such entry.
///
/// @grid  div_ceil(n, BLOCK)
/// @block BLOCK
/// @len   table == entries
/// @len   index == n
/// @len   out   == n
/// @out   out
/// @safe
template <class T>
__global__ void lookup(const T* __restrict__ table, const uint32_t* __restrict__ index, T* __restrict__ out,
                       Limits limits, uint32_t entries, uint32_t n) {
    const size_t i = size_t(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    // Whatever `index` holds, nothing but the table is read: that is what `@safe` promises.
    const float value = index[i] < entries ? float(table[index[i]]) : limits.low;
    out[i] = T(fminf(fmaxf(value, limits.low), limits.high));
}
template __global__ void lookup<float>(const float*, const uint32_t*, float*, Limits, uint32_t, uint32_t);
template __global__ void lookup<__half>(const __half*, const uint32_t*, __half*, Limits, uint32_t, uint32_t);
