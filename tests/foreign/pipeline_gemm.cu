// In the style of libcu++'s users: products of matrices that bring their tiles by cuda::pipeline, of a thread and of a block,
// with producers apart from consumers too, and by cuda::barrier; and barriers that threads drop out of. Atomic operations
// for sm_75, mbarrier for sm_80 and newer.
#include <cooperative_groups.h>
#include <cuda/barrier>
#include <cuda/pipeline>

#include <cstdint>

// Barriers in shared memory are initialised before anybody arrives.
#pragma nv_diag_suppress 20054

namespace cg = cooperative_groups;

constexpr int TILE = 16;

// C[m, n] = A[m, k] B[k, n], where k is a multiple of 16 and n of 4. One tile of either, by rows of 16 floats.
struct Tiles {
    alignas(16) float a[TILE][TILE], b[TILE][TILE];
};

__device__ float multiply(const Tiles& tiles, float sum) {
    for (int i = 0; i < TILE; i++) sum = fmaf(tiles.a[threadIdx.y][i], tiles.b[i][threadIdx.x], sum);
    return sum;
}

// What is outside of the matrices is zero; rows of A that are whole, and of B as far as they go, come in fours.
template <typename Copy>
__device__ void bring(Tiles& tiles, const float* a, const float* b, int m, int n, int k, int step, int thread, int threads,
                      Copy copy) {
    for (int i = thread; i < TILE * 4; i += threads) {
        const int row = i / 4, at = i % 4 * 4;
        const int a_row = blockIdx.y * TILE + row, b_column = blockIdx.x * TILE + at;
        if (a_row < m) copy(&tiles.a[row][at], a + a_row * k + step * TILE + at);
        else *reinterpret_cast<float4*>(&tiles.a[row][at]) = float4{};
        if (b_column < n) copy(&tiles.b[row][at], b + (step * TILE + row) * n + b_column);
        else *reinterpret_cast<float4*>(&tiles.b[row][at]) = float4{};
    }
}

__device__ void store(float* c, int m, int n, float sum) {
    const int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    if (row < m && column < n) c[row * n + column] = sum;
}

// A pipeline of each thread, with a barrier of the block around what all read.
extern "C" __global__ void of_threads(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ Tiles tiles[2];
    const int thread = threadIdx.y * TILE + threadIdx.x, steps = k / TILE;
    auto pipeline = cuda::make_pipeline();
    const auto issue = [&](int step) {
        pipeline.producer_acquire();
        bring(tiles[step % 2], a, b, m, n, k, step, thread, TILE * TILE, [&](float* to, const float* from) {
            cuda::memcpy_async(to, from, cuda::aligned_size_t<16>(16), pipeline);
        });
        pipeline.producer_commit();
    };
    float sum = 0.0f;
    issue(0);
    for (int step = 0; step < steps; step++) {
        if (step + 1 < steps) issue(step + 1);
        if (step + 1 < steps) cuda::pipeline_consumer_wait_prior<1>(pipeline);
        else cuda::pipeline_consumer_wait_prior<0>(pipeline);
        __syncthreads();
        sum = multiply(tiles[step % 2], sum);
        pipeline.consumer_release();
        __syncthreads();
    }
    store(c, m, n, sum);
}

// A pipeline of the block with STAGES stages, in which all produce and consume.
template <int STAGES>
__device__ void of_block(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ Tiles tiles[STAGES];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, STAGES> state;
    const auto block = cg::this_thread_block();
    auto pipeline = cuda::make_pipeline(block, &state);
    const int steps = k / TILE;
    float sum = 0.0f;
    for (int step = 0, issued = 0; step < steps; step++) {
        for (; issued < steps && issued < step + STAGES; issued++) {
            pipeline.producer_acquire();
            bring(tiles[issued % STAGES], a, b, m, n, k, issued, block.thread_rank(), TILE * TILE,
                  [&](float* to, const float* from) {
                      cuda::memcpy_async(to, from, cuda::aligned_size_t<16>(16), pipeline);
                  });
            pipeline.producer_commit();
        }
        pipeline.consumer_wait();
        sum = multiply(tiles[step % STAGES], sum);
        pipeline.consumer_release();
    }
    store(c, m, n, sum);
}
extern "C" __global__ void of_block_2(const float* a, const float* b, float* c, int m, int n, int k) {
    of_block<2>(a, b, c, m, n, k);
}
extern "C" __global__ void of_block_3(const float* a, const float* b, float* c, int m, int n, int k) {
    of_block<3>(a, b, c, m, n, k);
}

// The threads of the last warps, z = 1, bring tiles; the others use them.
extern "C" __global__ void producers_apart(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ Tiles tiles[2];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    const auto block = cg::this_thread_block();
    const bool produces = threadIdx.z == 1;
    const auto role = produces ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer;
    auto pipeline = cuda::make_pipeline(block, &state, role);
    const int steps = k / TILE;
    float sum = 0.0f;
    for (int step = 0; step < steps; step++) {
        if (produces) {
            pipeline.producer_acquire();
            bring(tiles[step % 2], a, b, m, n, k, step, threadIdx.y * TILE + threadIdx.x, TILE * TILE,
                  [&](float* to, const float* from) {
                      cuda::memcpy_async(to, from, cuda::aligned_size_t<16>(16), pipeline);
                  });
            pipeline.producer_commit();
        } else {
            pipeline.consumer_wait();
            sum = multiply(tiles[step % 2], sum);
            pipeline.consumer_release();
        }
    }
    if (!produces) store(c, m, n, sum);
}

// A barrier that copies arrive at.
extern "C" __global__ void by_barrier(const float* a, const float* b, float* c, int m, int n, int k) {
    using Barrier = cuda::barrier<cuda::thread_scope_block>;
    __shared__ Tiles tiles;
    __shared__ Barrier barrier;
    const auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&barrier, block.size());
    block.sync();
    float sum = 0.0f;
    for (int step = 0; step < k / TILE; step++) {
        bring(tiles, a, b, m, n, k, step, block.thread_rank(), TILE * TILE, [&](float* to, const float* from) {
            cuda::memcpy_async(to, from, cuda::aligned_size_t<16>(16), barrier);
        });
        barrier.arrive_and_wait();
        sum = multiply(tiles, sum);
        auto token = barrier.arrive();
        barrier.wait(cuda::std::move(token));
    }
    store(c, m, n, sum);
}

// Rounds in which fewer and fewer threads take part: thread i leaves after round i. Each adds what its neighbour had.
extern "C" __global__ void dropping(uint32_t* out, int rounds) {
    using Barrier = cuda::barrier<cuda::thread_scope_block>;
    __shared__ Barrier barrier;
    __shared__ uint32_t values[2][64];
    const uint32_t thread = threadIdx.x;
    if (thread == 0) init(&barrier, blockDim.x);
    values[0][thread] = thread + 1;
    values[1][thread] = 0;
    __syncthreads();
    for (int round = 0; round < rounds; round++) {
        if (int(thread) == round) {
            out[thread] = values[round % 2][thread];
            barrier.arrive_and_drop();
            return;
        }
        values[(round + 1) % 2][thread] = values[round % 2][thread] * 3 + values[round % 2][(thread + 1) % blockDim.x];
        barrier.arrive_and_wait();
    }
    out[thread] = values[rounds % 2][thread];
}
