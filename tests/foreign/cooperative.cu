// In the style of kernels written with cooperative groups: tiles of a warp, groups of the lanes that are there or that share
// a label, reductions and scans over groups, copies by a whole group, and a barrier of the grid.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

#include <cstdint>

namespace cg = cooperative_groups;

// For each thread: the sum and the largest of its tile, the sums before and up to it, its neighbour's value, and who is odd.
template <unsigned SIZE>
__device__ void tile(const uint32_t* x, uint32_t* out) {
    const auto block = cg::this_thread_block();
    const auto tile = cg::tiled_partition<SIZE>(block);
    const uint32_t at = cg::this_grid().thread_rank(), value = x[at];
    uint32_t* to = out + at * 6;
    to[0] = cg::reduce(tile, value, cg::plus<uint32_t>());
    to[1] = cg::reduce(tile, value, cg::greater<uint32_t>());
    to[2] = cg::exclusive_scan(tile, value);
    to[3] = cg::inclusive_scan(tile, value, cg::bit_xor<uint32_t>());
    to[4] = tile.shfl(value, (tile.thread_rank() + 1) % SIZE) + tile.meta_group_rank();
    to[5] = tile.ballot(value & 1);
    tile.sync();
}
extern "C" __global__ void tile_4(const uint32_t* x, uint32_t* out) { tile<4>(x, out); }
extern "C" __global__ void tile_8(const uint32_t* x, uint32_t* out) { tile<8>(x, out); }
extern "C" __global__ void tile_16(const uint32_t* x, uint32_t* out) { tile<16>(x, out); }
extern "C" __global__ void tile_32(const uint32_t* x, uint32_t* out) { tile<32>(x, out); }

// Lanes that come together: those with an even value count themselves with one atomic operation for all of them.
extern "C" __global__ void coalesced(const uint32_t* x, uint32_t* places, uint32_t* count) {
    const uint32_t at = cg::this_grid().thread_rank();
    if (x[at] % 2 != 0) {
        places[at] = ~0u;
        return;
    }
    const auto group = cg::coalesced_threads();
    uint32_t first = 0;
    if (group.thread_rank() == 0) first = atomicAdd(count, group.size());
    places[at] = group.shfl(first, 0) + group.thread_rank();
}

// Groups by a label, and by a condition, within each tile of 32.
extern "C" __global__ void labeled(const uint32_t* x, uint32_t* sums, uint32_t* ranks, uint32_t* odd) {
    const auto tile = cg::tiled_partition<32>(cg::this_thread_block());
    const uint32_t at = cg::this_grid().thread_rank(), value = x[at];
    const auto same = cg::labeled_partition(tile, int(value % 5));
    sums[at] = cg::reduce(same, value, cg::plus<uint32_t>());
    ranks[at] = same.thread_rank();
    const auto half = cg::binary_partition(tile, bool(value & 1));
    odd[at] = half.size() * 64 + half.thread_rank();
}

// Sums over a block by way of its tiles, in floating point and as a struct's field.
extern "C" __global__ void block_sum(const float* x, float* out, int n) {
    const auto block = cg::this_thread_block();
    const auto warp = cg::tiled_partition<32>(block);
    __shared__ float parts[32];
    float sum = 0.0f;
    for (int i = block.thread_rank(); i < n; i += block.size()) sum += x[blockIdx.x * n + i];
    sum = cg::reduce(warp, sum, cg::plus<float>());
    if (warp.thread_rank() == 0) parts[warp.meta_group_rank()] = sum;
    block.sync();
    if (warp.meta_group_rank() == 0) {
        sum = warp.thread_rank() < warp.meta_group_size() ? parts[warp.thread_rank()] : 0.0f;
        sum = cg::reduce(warp, sum, cg::plus<float>());
        if (warp.thread_rank() == 0) out[blockIdx.x] = sum;
    }
}

// A tile of input comes to shared memory by the whole block, while the one before is used.
extern "C" __global__ void copied(const uint32_t* x, uint32_t* out, int n) {
    const auto block = cg::this_thread_block();
    __shared__ alignas(16) uint32_t tiles[2][128];
    const int count = (n + 127) / 128;
    const auto bytes = [&](int tile) { return sizeof(uint32_t) * min(128, n - tile * 128); };
    cg::memcpy_async(block, tiles[0], x, bytes(0));
    for (int tile = 0; tile < count; tile++) {
        if (tile + 1 < count) {
            cg::memcpy_async(block, tiles[(tile + 1) % 2], x + (tile + 1) * 128, bytes(tile + 1));
            cg::wait_prior<1>(block);
        } else {
            cg::wait(block);
        }
        const int valid = min(128, n - tile * 128);
        for (int i = block.thread_rank(); i < valid; i += block.size()) {
            out[tile * 128 + i] = tiles[tile % 2][valid - 1 - i] * 3;
        }
        block.sync();
    }
}

// Rounds of a computation in which every thread reads what another block wrote before the barrier of the grid.
extern "C" __global__ void grid_rounds(uint32_t* x, uint32_t* y, int rounds, uint32_t* valid) {
    const auto grid = cg::this_grid();
    if (!grid.is_valid()) return;
    const uint32_t size = grid.size(), at = grid.thread_rank();
    for (int round = 0; round < rounds; round++) {
        uint32_t* from = round % 2 ? y : x;
        uint32_t* to = round % 2 ? x : y;
        to[at] = from[size - 1 - at] * 3 + from[(at + blockDim.x) % size];
        if (round % 3 == 2) {
            auto token = grid.barrier_arrive();
            grid.barrier_wait(cuda::std::move(token));
        } else {
            grid.sync();
        }
    }
    if (at == 0) *valid = 1;
}
