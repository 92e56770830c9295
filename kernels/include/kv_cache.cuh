// Elements of a cache of keys and values: f16, or 8-bit codes with a scale for each position and KV head.
//
// Both caches are `[kv_heads, context, head_dim]`. A code stands for `code * scale`, with `scale = max |x| / 127` over
// the head; scales are f32, `[kv_heads, context]`. f16 has none, and kernels do not look at what is given for it.
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

constexpr uint32_t MAX_HEAD_DIM = 256;

template <class T>
struct KvElement;

template <>
struct KvElement<__half> {
    static constexpr bool SCALED = false;
    static __device__ inline float to_float(__half x) { return __half2float(x); }
    static __device__ inline __half to_half(__half x) { return x; }
    // `x`, as the cache holds it.
    static __device__ inline __half from_float(float x, float) { return __float2half(x); }
    // Eight elements from an address that is a multiple of their size, as f16.
    static __device__ inline uint4 load_eight(const __half* x) { return *reinterpret_cast<const uint4*>(x); }
    // Of 16 bytes of a position: elements 4n to 4n + 3, as two pairs of f16.
    static __device__ inline void four(const uint32_t (&x)[4], uint32_t n, uint32_t& first, uint32_t& second) {
        first = x[2 * n], second = x[2 * n + 1];
    }
    // Of 16 bytes of each of two positions: elements 2n, and elements 2n + 1, each a pair of f16.
    static __device__ inline void across(const uint32_t (&x)[4], const uint32_t (&y)[4], uint32_t n, uint32_t& even,
                                         uint32_t& odd) {
        even = __byte_perm(x[n], y[n], 0x5410), odd = __byte_perm(x[n], y[n], 0x7632);
    }
};

template <>
struct KvElement<int8_t> {
    static constexpr bool SCALED = true;
    static __device__ inline float to_float(int8_t x) { return float(x); }
    static __device__ inline __half to_half(int8_t x) { return __int2half_rn(x); }
    static __device__ inline int8_t from_float(float x, float inverse_scale) {
        return int8_t(max(-127, min(127, __float2int_rn(x * inverse_scale))));
    }

    static __device__ inline uint4 load_eight(const int8_t* x) {
        const uint2 codes = *reinterpret_cast<const uint2*>(x);
        return {two_to_half(codes.x, 0x4140), two_to_half(codes.x, 0x4342), two_to_half(codes.y, 0x4140),
                two_to_half(codes.y, 0x4342)};
    }
    static __device__ inline void four(const uint32_t (&x)[4], uint32_t n, uint32_t& first, uint32_t& second) {
        first = two_to_half(x[n], 0x4140), second = two_to_half(x[n], 0x4342);
    }
    static __device__ inline void across(const uint32_t (&x)[4], const uint32_t (&y)[4], uint32_t n, uint32_t& even,
                                         uint32_t& odd) {
        const uint32_t codes = __byte_perm(x[n / 2], y[n / 2], n % 2 == 0 ? 0x5140 : 0x7362);
        even = two_to_half(codes, 0x4140), odd = two_to_half(codes, 0x4342);
    }

   private:
    // Two codes as f16: 0x6400 is 1024, whose last bit stands for 1, so 0x64xx is 1024 + xx.
    static __device__ inline uint32_t two_to_half(uint32_t codes, uint32_t bytes) {
        const uint32_t raised = __byte_perm(codes ^ 0x80808080u, 0x64646464u, bytes);
        const __half2 offset = __half2half2(__ushort_as_half(0x6480));  // 1024 + 128
        const __half2 halves = __hsub2(*reinterpret_cast<const __half2*>(&raised), offset);
        return *reinterpret_cast<const uint32_t*>(&halves);
    }
};

// The scale of one position of a KV head. Without scales, all are 1.
template <class T>
__device__ inline float kv_scale(const float* scales, size_t at) {
    if constexpr (!KvElement<T>::SCALED) return 1.0f;
    return scales == nullptr ? 1.0f : scales[at];
}
