// Intrinsics of integers, halves and warps, as inference kernels use them. Each kernel stores one result a thread.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void integers(const unsigned *a, const unsigned *b, const unsigned *c, unsigned *out)
{
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x, x = a[n], y = b[n], z = c[n], *o = out + 24 * n;
    o[0] = __dp4a((int)x, (int)y, (int)z);
    o[1] = __dp4a(x, y, z);
    o[2] = __dp2a_lo((int)x, (int)y, (int)z);
    o[3] = __dp2a_hi(x, y, z);
    o[4] = __byte_perm(x, y, z);
    o[5] = __funnelshift_l(x, y, z);
    o[6] = __funnelshift_rc(x, y, z);
    o[7] = __brev(x) + __clz(y) + __popc(z) + __ffs(x);
    o[8] = __sad((int)x, (int)y, z);
    o[9] = __umulhi(x, y) ^ __mulhi((int)y, (int)z);
    o[10] = __hadd((int)x, (int)y) + __rhadd((int)x, (int)z);
    o[11] = __vabsdiffu4(x, y) + __vadd4(y, z) + __vsubss4(x, z) + __vmaxs4(x, y) + __vcmpgtu4(x, z);
    o[12] = __vsadu4(x, y) ^ __vavgu2(x, z);
    unsigned long long wide = (unsigned long long)x << 32 | y;
    o[13] = __clzll(wide) + __popcll(wide) + __ffsll(wide) + (unsigned)__umul64hi(wide, wide ^ z);
    o[14] = (unsigned)(__brevll(wide) >> 7);
    o[15] = __mul24((int)x, (int)y) + __umul24(y, z);
    o[16] = max(min((int)x, (int)y), (int)z);
    o[17] = max(max(x, y), z) - min(min(x, y), z);
    o[18] = (x & y) | (~x & z);
    o[19] = (x ^ y) & ~z;
    o[20] = __vaddss2(x, y);
    o[21] = __vminu2(x, y) ^ __vsetgeu4(y, z);
    o[22] = x % (y | 1) + x / (z | 1);
    o[23] = (unsigned)((long long)(int)x * (int)y >> 13);
}

extern "C" __global__ void halves(const __half2 *a, const __half2 *b, const __half2 *c, __half2 *out)
{
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
    __half2 x = a[n], y = b[n], z = c[n], *o = out + 16 * n;
    o[0] = __hadd2(x, y);
    o[1] = __hsub2(x, y);
    o[2] = __hmul2(x, y);
    o[3] = __hfma2(x, y, z);
    o[4] = __hfma2_relu(x, y, z);
    o[5] = __hmax2(x, y);
    o[6] = __hmin2_nan(x, y);
    o[7] = __hfma2_sat(x, y, z);
    o[8] = __habs2(x);
    o[9] = __hneg2(x);
    o[10] = __hgt2(x, y);
    o[11] = __floats2half2_rn(__low2float(x) * 3.0f, __high2float(y) * 0.1f);
    o[12] = __lowhigh2highlow(x);
    o[13] = __halves2half2(__hadd_sat(__low2half(x), __low2half(y)), __int2half_rn(__half2int_rz(__high2half(x))));
    o[14] = __halves2half2(htrunc(__low2half(x)), hrint(__high2half(y)));
    o[15] = __halves2half2(__float2half_rz(__low2float(x) * 1.7f), __heq(__low2half(x), __low2half(y)) ? __high2half(x) : __high2half(y));
}

extern "C" __global__ void brain(const __nv_bfloat162 *a, const __nv_bfloat162 *b, const __nv_bfloat162 *c, __nv_bfloat162 *out)
{
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
    __nv_bfloat162 x = a[n], y = b[n], z = c[n], *o = out + 10 * n;
    o[0] = __hadd2(x, y);
    o[1] = __hsub2(x, y);
    o[2] = __hmul2(x, y);
#if __CUDA_ARCH__ >= 800
    o[3] = __hfma2(x, y, z);
#else
    o[3] = z;
#endif
    o[4] = __hmax2(x, y);
    o[5] = __hmin2(x, y);
    o[6] = __habs2(x);
    o[7] = __hneg2(x);
    o[8] = __floats2bfloat162_rn(__low2float(x) * 3.0f, __high2float(y) * 0.1f);
    o[9] = __halves2bfloat162(__float2bfloat16_rz(__low2float(x) * 1.7f), __float2bfloat16_ru(__high2float(x) * 1.3f));
}

extern "C" __global__ void warps(const unsigned *a, unsigned *out)
{
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x, x = __ldg(a + n), *o = out + 10 * n;
    o[0] = __shfl_xor_sync(~0u, x, 5);
    o[1] = __shfl_up_sync(~0u, x, 3, 8);
    o[2] = __ballot_sync(~0u, x & 1);
    o[3] = __match_any_sync(~0u, x & 3);
    int all;
    unsigned same = __match_all_sync(~0u, x >> 31, &all);
    o[4] = same ^ all * 5;
#if __CUDA_ARCH__ >= 800
    o[5] = __reduce_add_sync(~0u, x);
    o[6] = __reduce_max_sync(~0u, (int)x);
    o[7] = __reduce_xor_sync(~0u, x);
#else
    o[5] = o[6] = o[7] = 0;
#endif
    o[8] = __syncthreads_count(x & 1) + __syncthreads_or(x == 7) * 1000 + __any_sync(~0u, x == 9) * 4096;
    long long before = clock64();
    __nanosleep(10);
    __threadfence();
    o[9] = clock64() >= before && __activemask() == ~0u && (int)clock() != 0;
}

extern "C" __global__ void caches(const float4 *a, const float *b, float4 *out, float *sum)
{
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
    float4 x = __ldcs(a + n), y = __ldcg(a + n);
    float z = __ldca(b + n) + __ldcv(b + n) + __ldlu(b + n);
    x.x += y.y + z;
    __stcs(out + 2 * n, x);
    __stwt(out + 2 * n + 1, make_float4(z, z, y.z, y.w));
    atomicAdd(sum, 1.0f);
    atomicAdd((__half2 *)(sum + 1), __floats2half2_rn(1.0f, 2.0f));
#if __CUDA_ARCH__ >= 900
    atomicAdd((float4 *)(sum + 4), make_float4(1.0f, 2.0f, 3.0f, 4.0f));
#endif
}
