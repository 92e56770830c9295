// Products of small matrices by a warp, on tensor cores: f16 factors, f32 sums.
//
// With g = lane / 4 and t = lane % 4, a lane holds of a 16 x 16 matrix A the pairs (row g, columns 2t and 2t + 1), (row
// g + 8, the same), (row g, columns 2t + 8 and 2t + 9), (row g + 8, the same); of a 16 x 8 matrix B the pairs (rows 2t
// and 2t + 1, column g), (rows 2t + 8 and 2t + 9, column g); of the 16 x 8 sums (row g, columns 2t and 2t + 1), (row
// g + 8, the same).
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

// `sums += A B`, where `b_low` and `b_high` are the two pairs of B.
__device__ inline void mma(float (&sums)[4], const uint32_t (&a)[4], uint32_t b_low, uint32_t b_high) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_low), "r"(b_high));
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(b_low));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[2]), "r"(a[3]), "r"(b_high));
#endif
}

// Where something is in shared memory.
__device__ inline uint32_t shared_address(const void* pointer) {
    return uint32_t(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices from shared memory; lane 8m + r gives the address of row r of matrix m, 16 bytes. A lane gets the
// pair (row g, columns 2t and 2t + 1) of each.
__device__ inline void load_matrices(uint32_t (&pairs)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
                 : "r"(row)
                 : "memory");
}

// As `load_matrices`, transposed: a lane gets the pair (rows 2t and 2t + 1, column g) of each.
__device__ inline void load_matrices_transposed(uint32_t (&pairs)[4], uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
                 : "r"(row)
                 : "memory");
}

// Two numbers as f16, and what that leaves of them as f16 again: together they have about as many bits as f32, so two
// products with f16 are one with f32.
__device__ inline void split(float a, float b, uint32_t& high, uint32_t& low) {
    const __half2 rounded = __floats2half2_rn(a, b);
    const float2 back = __half22float2(rounded);
    const __half2 left = __floats2half2_rn(a - back.x, b - back.y);
    high = *reinterpret_cast<const uint32_t*>(&rounded);
    low = *reinterpret_cast<const uint32_t*>(&left);
}
