// Templates and their instances.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "gemv.cuh"

namespace ops {
/// `x[i] *= a`
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @safe
template <class T>
__global__ void scale(T* x, T a, uint32_t n) {
    const uint32_t i = blockIdx.x * 128 + threadIdx.x;
    if (i < n) x[i] = T(float(x[i]) * float(a));
}
template __global__ void scale<float>(float*, float, uint32_t);
template __global__ void scale<__half>(__half*, __half, uint32_t);
template __global__ void scale<int>(int*, int, uint32_t);
}  // namespace ops
template __global__ void ops::scale<__nv_bfloat16>(__nv_bfloat16*, __nv_bfloat16, uint32_t);

/// `y[i] = x[i]`
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @len   y == n
/// @out   y
/// @safe
template <class From, class To>
__global__ void convert(const From* x, To* y, uint32_t n) {
    const uint32_t i = blockIdx.x * 128 + threadIdx.x;
    if (i < n) y[i] = To(float(x[i]));
}
template __global__ void convert<float, __half>(const float*, __half*, uint32_t);
template __global__ void convert<int, float>(const int*, float*, uint32_t);

/// Writes `first` and the numbers after it.
///
/// @grid  div_ceil(n, 128)
/// @block 128
/// @len   x == n
/// @out   x
/// @safe
template <class Index>
__global__ void count(Index* x, Index n, Index first) {
    const size_t i = size_t(blockIdx.x) * 128 + threadIdx.x;
    if (i < n) x[i] = first + Index(i);
}
template __global__ void count<uint32_t>(uint32_t*, uint32_t, uint32_t);
template __global__ void count<uint64_t>(uint64_t*, uint64_t, uint64_t);

struct Bytes {
    using element = uint8_t;
    using sum = uint32_t;
};
struct Words {
    using element = int32_t;
    using sum = long long;
};
template __global__ void gemv<Bytes, 4>(const uint8_t*, uint32_t*, uint32_t);
template __global__ void gemv<Words, 1>(const int32_t*, long long*, uint32_t);
