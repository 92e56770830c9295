// In the style of the CUDA samples and of engines that use tensor cores through nvcuda::wmma: tiles in shared memory, zeros
// where a matrix ends, warps with a fragment each. Covers f16 into f32 and f16, bf16, tf32, s8 and u8; both layouts of B;
// fragments changed element by element; stores by way of shared memory where a tile is not whole.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include <cstdint>
#include <cuda/std/type_traits>

using namespace nvcuda;

// C[m, n] = alpha * A[m, k] B[k, n] + beta * C, row by row, B also column by column. A block of 128 threads makes 32 x 32,
// each of its four warps 16 x 16.
template <typename T, typename Fragment, typename Sum, int K, bool B_COLUMNS>
__device__ void gemm(const T* a, const T* b, Sum* c, int m, int n, int k, Sum alpha, Sum beta) {
    constexpr int TILE = 32;
    // Rows are padded, so that those of a fragment are in different banks.
    constexpr int LDA = K + 16 / sizeof(T), LDB = (B_COLUMNS ? K : TILE) + 16 / sizeof(T), LDC = TILE + 8;
    __shared__ __align__(32) T a_tile[TILE * LDA];
    __shared__ __align__(32) T b_tile[(B_COLUMNS ? TILE : K) * LDB];
    __shared__ __align__(32) Sum c_tile[TILE * LDC];
    const int warp = threadIdx.x / 32, row = warp / 2 * 16, column = warp % 2 * 16;
    const int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    using Layout = cuda::std::conditional_t<B_COLUMNS, wmma::col_major, wmma::row_major>;
    wmma::fragment<wmma::accumulator, 16, 16, K, Sum> sum;
    wmma::fill_fragment(sum, Sum(0));
    for (int step = 0; step < k; step += K) {
        for (int i = threadIdx.x; i < TILE * K; i += blockDim.x) {
            const int r = i / K, x = i % K;
            a_tile[r * LDA + x] = first_row + r < m && step + x < k ? a[(first_row + r) * k + step + x] : T(0.0f);
        }
        for (int i = threadIdx.x; i < TILE * K; i += blockDim.x) {
            const int x = B_COLUMNS ? i % K : i / TILE, j = B_COLUMNS ? i / K : i % TILE;
            const bool inside = first_column + j < n && step + x < k;
            const int at = B_COLUMNS ? (first_column + j) * k + step + x : (step + x) * n + first_column + j;
            b_tile[B_COLUMNS ? j * LDB + x : x * LDB + j] = inside ? b[at] : T(0.0f);
        }
        __syncthreads();
        wmma::fragment<wmma::matrix_a, 16, 16, K, Fragment, wmma::row_major> a_part;
        wmma::fragment<wmma::matrix_b, 16, 16, K, Fragment, Layout> b_part;
        wmma::load_matrix_sync(a_part, a_tile + row * LDA, LDA);
        wmma::load_matrix_sync(b_part, b_tile + (B_COLUMNS ? column * LDB : column), LDB);
#if __CUDA_ARCH__ >= 800
        if constexpr (cuda::std::is_same_v<Fragment, wmma::precision::tf32>) {
            for (int i = 0; i < a_part.num_elements; i++) a_part.x[i] = wmma::__float_to_tf32(a_part.x[i]);
            for (int i = 0; i < b_part.num_elements; i++) b_part.x[i] = wmma::__float_to_tf32(b_part.x[i]);
        }
#endif
        wmma::mma_sync(sum, a_part, b_part, sum);
        __syncthreads();
    }
    const bool whole = first_row + TILE <= m && first_column + TILE <= n && n % 8 == 0;
    Sum* const to = c + (first_row + row) * n + first_column + column;
    if (whole) {
        wmma::fragment<wmma::accumulator, 16, 16, K, Sum> before;
        wmma::load_matrix_sync(before, to, n, wmma::mem_row_major);
        for (int i = 0; i < sum.num_elements; i++) sum.x[i] = alpha * sum.x[i] + beta * before.x[i];
        wmma::store_matrix_sync(to, sum, n, wmma::mem_row_major);
    } else {
        wmma::store_matrix_sync(c_tile + row * LDC + column, sum, LDC, wmma::mem_row_major);
        __syncthreads();
        for (int i = threadIdx.x; i < TILE * TILE; i += blockDim.x) {
            const int r = i / TILE, j = i % TILE;
            if (first_row + r >= m || first_column + j >= n) continue;
            Sum& at = c[(first_row + r) * n + first_column + j];
            at = alpha * c_tile[r * LDC + j] + beta * at;
        }
    }
}

#define GEMM(NAME, T, FRAGMENT, SUM, K, COLUMNS)                                                                     \
    extern "C" __global__ void NAME(const T* a, const T* b, SUM* c, int m, int n, int k, SUM alpha, SUM beta) {       \
        gemm<T, FRAGMENT, SUM, K, COLUMNS>(a, b, c, m, n, k, alpha, beta);                                            \
    }
GEMM(gemm_f16_f32, half, half, float, 16, false)
GEMM(gemm_f16_f32_columns, half, half, float, 16, true)
GEMM(gemm_f16_f16, half, half, half, 16, false)
GEMM(gemm_s8, int8_t, signed char, int, 16, true)
GEMM(gemm_u8, uint8_t, unsigned char, int, 16, false)
#if __CUDA_ARCH__ >= 800
GEMM(gemm_bf16, __nv_bfloat16, __nv_bfloat16, float, 16, true)
GEMM(gemm_tf32, float, wmma::precision::tf32, float, 8, false)
#endif

// The other shapes, straight from global memory: 32 x 8 and 8 x 32, one warp.
template <int M, int N>
__device__ void product(const half* a, const half* b, float* c, int k) {
    wmma::fragment<wmma::accumulator, M, N, 16, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    for (int step = 0; step < k; step += 16) {
        wmma::fragment<wmma::matrix_a, M, N, 16, half, wmma::col_major> a_part;
        wmma::fragment<wmma::matrix_b, M, N, 16, half, wmma::row_major> b_part;
        wmma::load_matrix_sync(a_part, a + step * M, M);
        wmma::load_matrix_sync(b_part, b + step * N, N);
        wmma::mma_sync(sum, a_part, b_part, sum);
    }
    wmma::store_matrix_sync(c, sum, M, wmma::mem_col_major);
}
extern "C" __global__ void product_32_8(const half* a, const half* b, float* c, int k) { product<32, 8>(a, b, c, k); }
extern "C" __global__ void product_8_32(const half* a, const half* b, float* c, int k) { product<8, 32>(a, b, c, k); }
