// A product of matrices on tensor cores: tiles come by cp.async in two stages, ldmatrix and mma do the rest.
#include <cuda_fp16.h>
#include <cuda_pipeline.h>

// c[m, n] = a[m, k] * b[k, n], row-major; a block computes 32 by 32 with 4 warps, m and n are multiples of 32, k of 16.
extern "C" __global__ void gemm(const __half *a, const __half *b, float *c, int n, int k)
{
    __shared__ __align__(16) __half tile_a[2][32][24], tile_b[2][16][40];
    int thread = threadIdx.x, lane = thread % 32, warp = thread / 32, row = blockIdx.y * 32, column = blockIdx.x * 32;
    auto fetch = [&](int stage, int at) {
        if (thread < 64) {
            int r = thread / 2, part = thread % 2 * 8;
            __pipeline_memcpy_async(&tile_a[stage][r][part], &a[(row + r) * k + at + part], 16);
        } else {
            int r = (thread - 64) / 4, part = thread % 4 * 8;
            __pipeline_memcpy_async(&tile_b[stage][r][part], &b[(at + r) * n + column + part], 16);
        }
        __pipeline_commit();
    };
    float sum[2][4] = {};
    fetch(0, 0);
    for (int at = 0, stage = 0; at < k; at += 16, stage ^= 1) {
        if (at + 16 < k) {
            fetch(stage ^ 1, at + 16);
            __pipeline_wait_prior(1);
        } else {
            __pipeline_wait_prior(0);
        }
        __syncthreads();
        unsigned fa[4], fb[4];
        unsigned from_a = __cvta_generic_to_shared(&tile_a[stage][warp / 2 * 16 + lane % 16][lane / 16 * 8]);
        unsigned from_b = __cvta_generic_to_shared(&tile_b[stage][lane % 16][warp % 2 * 16 + lane / 16 * 8]);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(from_a));
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fb[0]), "=r"(fb[1]), "=r"(fb[2]), "=r"(fb[3]) : "r"(from_b));
        for (int half = 0; half < 2; half++)
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(sum[half][0]), "+f"(sum[half][1]), "+f"(sum[half][2]), "+f"(sum[half][3])
                         : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[2 * half]), "r"(fb[2 * half + 1]));
        __syncthreads();
    }
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 4; i++)
            c[(row + warp / 2 * 16 + lane / 4 + i / 2 * 8) * n + column + warp % 2 * 16 + half * 8 + lane % 4 * 2 + i % 2] = sum[half][i];
}
