// What the benchmark of the emulator runs of sorts and reductions. The PTX beside it is made by
//   nvcc -std=c++17 -ptx -arch=compute_75 -o sort_reduce.75.ptx sort_reduce.cu
#include <cstdint>

// Sorts 1024 keys of each block of 512 threads: a bitonic network in shared memory.
extern "C" __global__ void __launch_bounds__(512) sort(uint32_t* keys, uint32_t n) {
    __shared__ uint32_t tile[1024];
    const uint32_t first = blockIdx.x * 1024;
    for (uint32_t i = threadIdx.x; i < 1024; i += 512) tile[i] = first + i < n ? keys[first + i] : ~0u;
    __syncthreads();
    for (uint32_t size = 2; size <= 1024; size *= 2) {
        for (uint32_t step = size / 2; step > 0; step /= 2) {
            const uint32_t low = 2 * step * (threadIdx.x / step) + threadIdx.x % step, high = low + step;
            const uint32_t a = tile[low], b = tile[high];
            if ((a > b) == ((low & size) == 0)) {
                tile[low] = b;
                tile[high] = a;
            }
            __syncthreads();
        }
    }
    for (uint32_t i = threadIdx.x; i < 1024; i += 512) {
        if (first + i < n) keys[first + i] = tile[i];
    }
}

// Sums all floats: a grid of blocks of 256 threads that stride, shuffles, and one atomic addition a block.
extern "C" __global__ void __launch_bounds__(256) reduce(const float4* x, float* sum, uint32_t n) {
    __shared__ float parts[8];
    float total = 0.0f;
    for (uint32_t i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) {
        const float4 four = x[i];
        total += four.x + four.y + (four.z + four.w);
    }
    for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffff, total, step);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    total = threadIdx.x < 8 ? parts[threadIdx.x] : 0.0f;
    for (int step = 4; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffff, total, step);
    if (threadIdx.x == 0) atomicAdd(sum, total);
}
