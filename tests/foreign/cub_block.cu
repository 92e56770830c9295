// In the style of CUB's users: its collectives for a block and for a warp, each in a kernel of its own that handles one
// tile a block and guards the last one. Covers BlockReduce, BlockScan, BlockRadixSort, BlockRadixRank, BlockLoad and
// BlockStore, BlockExchange, BlockHistogram, BlockMergeSort, BlockDiscontinuity, BlockAdjacentDifference, BlockShuffle,
// BlockRunLengthDecode, WarpReduce, WarpScan, WarpMergeSort, WarpExchange, WarpLoad and WarpStore, in their algorithms.
#include <cub/block/block_shuffle.cuh>
#include <cub/cub.cuh>

#include <cstdint>

struct Max {
    template <typename T>
    __device__ T operator()(const T& a, const T& b) const {
        return a < b ? b : a;
    }
};

// Not commutative: the composition of x -> a * x + b, one after the other.
struct Affine {
    uint32_t a, b;
};

struct Compose {
    __device__ Affine operator()(const Affine& first, const Affine& second) const {
        return {first.a * second.a, first.b * second.a + second.b};
    }
};

struct Less {
    template <typename T>
    __device__ bool operator()(const T& a, const T& b) const {
        return a < b;
    }
};

// --- reductions ---

template <typename T, int THREADS, cub::BlockReduceAlgorithm ALGORITHM, typename Operation>
__device__ void block_reduce(const T* x, T* out, uint32_t n, Operation operation) {
    using Reduce = cub::BlockReduce<T, THREADS, ALGORITHM>;
    __shared__ typename Reduce::TempStorage storage;
    const uint32_t first = blockIdx.x * THREADS;
    const uint32_t valid = n - first < THREADS ? n - first : THREADS;
    T value{};
    if (threadIdx.x < valid) value = x[first + threadIdx.x];
    const T total = Reduce(storage).Reduce(value, operation, int(valid));
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}

#define BLOCK_REDUCE(NAME, T, THREADS, ALGORITHM, OPERATION)                            \
    extern "C" __global__ void NAME(const T* x, T* out, uint32_t n) {                   \
        block_reduce<T, THREADS, cub::ALGORITHM>(x, out, n, OPERATION{});               \
    }
BLOCK_REDUCE(reduce_raking, uint32_t, 128, BLOCK_REDUCE_RAKING, cuda::std::plus<>)
BLOCK_REDUCE(reduce_raking_commutative, uint32_t, 128, BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY, cuda::std::plus<>)
BLOCK_REDUCE(reduce_warps, uint32_t, 128, BLOCK_REDUCE_WARP_REDUCTIONS, cuda::std::plus<>)
BLOCK_REDUCE(reduce_max_raking, int64_t, 96, BLOCK_REDUCE_RAKING, Max)
BLOCK_REDUCE(reduce_max_raking_commutative, int64_t, 160, BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY, Max)
BLOCK_REDUCE(reduce_max_warps, int64_t, 100, BLOCK_REDUCE_WARP_REDUCTIONS, Max)
BLOCK_REDUCE(reduce_affine_raking, Affine, 128, BLOCK_REDUCE_RAKING, Compose)
BLOCK_REDUCE(reduce_affine_warps, Affine, 128, BLOCK_REDUCE_WARP_REDUCTIONS, Compose)

// Several items a thread, and a sum in floating point that has one order.
extern "C" __global__ void reduce_items(const float* x, float* out) {
    using Reduce = cub::BlockReduce<float, 64>;
    __shared__ typename Reduce::TempStorage storage;
    float items[5];
    cub::LoadDirectBlocked(threadIdx.x, x + blockIdx.x * 320, items);
    const float total = Reduce(storage).Sum(items);
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}

// Warps of 32 and of 8 lanes; the last ones are not full.
template <int LANES>
__device__ void warp_reduce(const uint32_t* x, uint32_t* sums, uint32_t* largest, uint32_t n) {
    using Reduce = cub::WarpReduce<uint32_t, LANES>;
    __shared__ typename Reduce::TempStorage storage[128 / LANES];
    const uint32_t warp = threadIdx.x / LANES, at = blockIdx.x * 128 + threadIdx.x;
    const uint32_t first = at - threadIdx.x % LANES;
    if (first >= n) return;
    const int valid = n - first < LANES ? n - first : LANES;
    const uint32_t value = at < n ? x[at] : 0;
    const uint32_t sum = Reduce(storage[warp]).Sum(value, valid);
    // A warp's own storage is used again once its lanes have met.
    __syncwarp(__activemask());
    const uint32_t most = Reduce(storage[warp]).Reduce(value, Max{}, valid);
    if (threadIdx.x % LANES == 0) {
        sums[at / LANES] = sum;
        largest[at / LANES] = most;
    }
}
extern "C" __global__ void warp_reduce_32(const uint32_t* x, uint32_t* sums, uint32_t* largest, uint32_t n) {
    warp_reduce<32>(x, sums, largest, n);
}
extern "C" __global__ void warp_reduce_8(const uint32_t* x, uint32_t* sums, uint32_t* largest, uint32_t n) {
    warp_reduce<8>(x, sums, largest, n);
}

// Runs that begin where a flag is set; each head has the sum of its run.
extern "C" __global__ void warp_head_segments(const uint32_t* x, const uint8_t* heads, uint32_t* sums) {
    using Reduce = cub::WarpReduce<uint32_t>;
    __shared__ typename Reduce::TempStorage storage[2];
    const uint32_t sum = Reduce(storage[threadIdx.x / 32]).HeadSegmentedSum(x[threadIdx.x], int(heads[threadIdx.x]));
    if (heads[threadIdx.x] || threadIdx.x % 32 == 0) sums[threadIdx.x] = sum;
}
// A number of lanes that is no power of two: the first ones of each warp.
extern "C" __global__ void warp_reduce_6(const uint32_t* x, uint32_t* sums) {
    using Reduce = cub::WarpReduce<uint32_t, 6>;
    __shared__ typename Reduce::TempStorage storage[2];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane >= 6) return;
    const uint32_t sum = Reduce(storage[warp]).Sum(x[warp * 6 + lane]);
    if (lane == 0) sums[warp] = sum;
}

// --- scans ---

// Exclusive and inclusive sums and maxima, three items a thread, with the total of each block.
template <cub::BlockScanAlgorithm ALGORITHM>
__device__ void block_scan(const uint32_t* x, uint32_t* exclusive, uint32_t* inclusive, uint32_t* largest,
                           uint32_t* totals, uint32_t n) {
    constexpr int THREADS = 96, ITEMS = 3;
    using Scan = cub::BlockScan<uint32_t, THREADS, ALGORITHM>;
    __shared__ typename Scan::TempStorage storage;
    const int first = blockIdx.x * THREADS * ITEMS;
    const int valid = min(int(n) - first, THREADS * ITEMS);
    uint32_t items[ITEMS], sums[ITEMS], total;
    cub::LoadDirectBlocked(threadIdx.x, x + first, items, valid, 0u);
    Scan(storage).ExclusiveSum(items, sums, total);
    cub::StoreDirectBlocked(threadIdx.x, exclusive + first, sums, valid);
    if (threadIdx.x == 0) totals[blockIdx.x] = total;
    __syncthreads();
    Scan(storage).InclusiveSum(items, sums);
    cub::StoreDirectBlocked(threadIdx.x, inclusive + first, sums, valid);
    __syncthreads();
    Scan(storage).ExclusiveScan(items, sums, 7u, Max{});
    cub::StoreDirectBlocked(threadIdx.x, largest + first, sums, valid);
}
#define BLOCK_SCAN(NAME, ALGORITHM)                                                                               \
    extern "C" __global__ void NAME(const uint32_t* x, uint32_t* exclusive, uint32_t* inclusive, uint32_t* most,  \
                                    uint32_t* totals, uint32_t n) {                                               \
        block_scan<cub::ALGORITHM>(x, exclusive, inclusive, most, totals, n);                                     \
    }
BLOCK_SCAN(scan_raking, BLOCK_SCAN_RAKING)
BLOCK_SCAN(scan_raking_memoize, BLOCK_SCAN_RAKING_MEMOIZE)
BLOCK_SCAN(scan_warps, BLOCK_SCAN_WARP_SCANS)

// An operation that is not commutative, with a prefix that a block carries from tile to tile.
struct Carry {
    Affine value;
    __device__ Affine operator()(Affine total) {
        const Affine before = value;
        value = Compose{}(value, total);
        return before;
    }
};
extern "C" __global__ void scan_carried(const Affine* x, Affine* out, uint32_t n) {
    using Scan = cub::BlockScan<Affine, 64>;
    __shared__ typename Scan::TempStorage storage;
    Carry carry{{1, 0}};
    for (uint32_t first = 0; first < n; first += 64) {
        const uint32_t at = first + threadIdx.x;
        Affine item = at < n ? x[at] : Affine{1, 0};
        Scan(storage).InclusiveScan(item, item, Compose{}, carry);
        if (at < n) out[at] = item;
        __syncthreads();
    }
}

extern "C" __global__ void warp_scan(const uint32_t* x, uint32_t* inclusive, uint32_t* exclusive, int64_t* most) {
    using Scan = cub::WarpScan<uint32_t>;
    using Wide = cub::WarpScan<int64_t, 16>;
    __shared__ typename Scan::TempStorage storage[4];
    __shared__ typename Wide::TempStorage wide[8];
    const uint32_t at = blockIdx.x * 128 + threadIdx.x, value = x[at];
    uint32_t before, upto;
    Scan(storage[threadIdx.x / 32]).Scan(value, upto, before, 0u, cuda::std::plus<>{});
    int64_t largest;
    Wide(wide[threadIdx.x / 16]).InclusiveScan(int64_t(int32_t(value)) << 20, largest, Max{});
    inclusive[at] = upto;
    exclusive[at] = before;
    most[at] = largest;
}

// --- sorts ---

template <typename Key, int THREADS, int ITEMS, bool DESCENDING>
__device__ void sort_keys(const Key* in, Key* out, uint32_t n, Key last, int begin, int end) {
    using Sort = cub::BlockRadixSort<Key, THREADS, ITEMS>;
    __shared__ typename Sort::TempStorage storage;
    const int first = blockIdx.x * THREADS * ITEMS;
    const int valid = min(int(n) - first, THREADS * ITEMS);
    Key keys[ITEMS];
    cub::LoadDirectBlocked(threadIdx.x, in + first, keys, valid, last);
    if (DESCENDING) Sort(storage).SortDescending(keys, begin, end);
    else Sort(storage).Sort(keys, begin, end);
    cub::StoreDirectBlocked(threadIdx.x, out + first, keys, valid);
}
#define SORT_KEYS(NAME, KEY, THREADS, ITEMS, DESCENDING)                                                    \
    extern "C" __global__ void NAME(const KEY* in, KEY* out, uint32_t n, KEY last, int begin, int end) {    \
        sort_keys<KEY, THREADS, ITEMS, DESCENDING>(in, out, n, last, begin, end);                           \
    }
SORT_KEYS(sort_u32, uint32_t, 64, 3, false)
SORT_KEYS(sort_u32_down, uint32_t, 128, 1, true)
SORT_KEYS(sort_i16, int16_t, 32, 5, false)
SORT_KEYS(sort_f32, float, 64, 4, false)
SORT_KEYS(sort_f64_down, double, 64, 2, true)
SORT_KEYS(sort_u64, uint64_t, 96, 2, false)

// Pairs, to a striped arrangement, in which neighbouring threads store neighbouring items.
extern "C" __global__ void sort_pairs(const uint32_t* keys_in, const uint64_t* values_in, uint32_t* keys_out,
                                      uint64_t* values_out) {
    using Sort = cub::BlockRadixSort<uint32_t, 64, 4, uint64_t>;
    __shared__ typename Sort::TempStorage storage;
    const uint32_t first = blockIdx.x * 256;
    uint32_t keys[4];
    uint64_t values[4];
    cub::LoadDirectBlocked(threadIdx.x, keys_in + first, keys);
    cub::LoadDirectBlocked(threadIdx.x, values_in + first, values);
    Sort(storage).SortBlockedToStriped(keys, values);
    cub::StoreDirectStriped<64>(threadIdx.x, keys_out + first, keys);
    cub::StoreDirectStriped<64>(threadIdx.x, values_out + first, values);
}

// Ranks of 4 bits of the keys, by counters in shared memory and by matching lanes.
template <typename Rank>
__device__ void radix_rank(const uint32_t* keys_in, int* ranks_out, int bit) {
    __shared__ typename Rank::TempStorage storage;
    uint32_t keys[3];
    int ranks[3];
    const uint32_t thread = threadIdx.x;
    // By matching lanes keys come in a warp's own stripes.
    constexpr bool STRIPED = cuda::std::is_same_v<Rank, cub::BlockRadixRankMatch<64, 4, false>>;
    if (STRIPED) cub::LoadDirectWarpStriped(thread, keys_in, keys);
    else cub::LoadDirectBlocked(thread, keys_in, keys);
    Rank(storage).RankKeys(keys, ranks, cub::BFEDigitExtractor<uint32_t>(bit, 4));
    if (STRIPED) cub::StoreDirectWarpStriped(thread, ranks_out, ranks);
    else cub::StoreDirectBlocked(thread, ranks_out, ranks);
}
extern "C" __global__ void rank_counters(const uint32_t* keys, int* ranks, int bit) {
    radix_rank<cub::BlockRadixRank<64, 4, false>>(keys, ranks, bit);
}
extern "C" __global__ void rank_match(const uint32_t* keys, int* ranks, int bit) {
    radix_rank<cub::BlockRadixRankMatch<64, 4, false>>(keys, ranks, bit);
}

// Stable, with a comparison and a number of valid items.
extern "C" __global__ void block_merge_sort(const uint32_t* keys_in, uint32_t* keys_out, uint32_t* values_out,
                                            uint32_t n) {
    using Sort = cub::BlockMergeSort<uint32_t, 64, 3, uint32_t>;
    __shared__ typename Sort::TempStorage storage;
    const int first = blockIdx.x * 192, valid = min(int(n) - first, 192);
    uint32_t keys[3], values[3];
    cub::LoadDirectBlocked(threadIdx.x, keys_in + first, keys, valid, ~0u);
    for (int i = 0; i < 3; i++) values[i] = threadIdx.x * 3 + i;
    Sort(storage).StableSort(keys, values, Less{}, valid, ~0u);
    cub::StoreDirectBlocked(threadIdx.x, keys_out + first, keys, valid);
    cub::StoreDirectBlocked(threadIdx.x, values_out + first, values, valid);
}
extern "C" __global__ void warp_merge_sort(const int64_t* in, int64_t* out, uint32_t n) {
    using Sort = cub::WarpMergeSort<int64_t, 4, 16>;
    __shared__ typename Sort::TempStorage storage[4];
    const int part = threadIdx.x / 16, lane = threadIdx.x % 16;
    const int first = part * 64, valid = max(min(int(n) - first, 64), 0);
    int64_t keys[4];
    cub::LoadDirectBlocked(lane, in + first, keys, valid, INT64_MAX);
    Sort(storage[part]).Sort(keys, Less{}, valid, INT64_MAX);
    cub::StoreDirectBlocked(lane, out + first, keys, valid);
}

// --- arrangements ---

template <cub::BlockLoadAlgorithm LOAD, cub::BlockStoreAlgorithm STORE, typename T>
__device__ void load_store(const T* in, T* out, uint32_t n) {
    using Load = cub::BlockLoad<T, 64, 4, LOAD>;
    using Store = cub::BlockStore<T, 64, 4, STORE>;
    __shared__ union {
        typename Load::TempStorage load;
        typename Store::TempStorage store;
    } storage;
    const int first = blockIdx.x * 256, valid = int(n) - first;
    T items[4];
    if (valid >= 256) Load(storage.load).Load(in + first, items);
    else Load(storage.load).Load(in + first, items, valid, T(0));
    // What a thread has is told apart from the order in which it came.
    for (int i = 0; i < 4; i++) items[i] = T(items[i] * 3 + threadIdx.x * 4 + i);
    __syncthreads();
    if (valid >= 256) Store(storage.store).Store(out + first, items);
    else Store(storage.store).Store(out + first, items, valid);
}
#define LOAD_STORE(NAME, KIND, T)                                                               \
    extern "C" __global__ void NAME(const T* in, T* out, uint32_t n) {                          \
        load_store<cub::BLOCK_LOAD_##KIND, cub::BLOCK_STORE_##KIND>(in, out, n);                \
    }
LOAD_STORE(load_direct, DIRECT, uint32_t)
LOAD_STORE(load_striped, STRIPED, uint32_t)
LOAD_STORE(load_vectorize, VECTORIZE, uint32_t)
LOAD_STORE(load_transpose, TRANSPOSE, uint32_t)
LOAD_STORE(load_warp_transpose, WARP_TRANSPOSE, uint32_t)
LOAD_STORE(load_warp_transpose_timesliced, WARP_TRANSPOSE_TIMESLICED, uint32_t)
LOAD_STORE(load_vectorize_u8, VECTORIZE, uint8_t)
LOAD_STORE(load_transpose_u64, TRANSPOSE, uint64_t)

extern "C" __global__ void block_exchange(const uint32_t* in, const int* ranks_in, uint32_t* striped,
                                          uint32_t* scattered) {
    using Exchange = cub::BlockExchange<uint32_t, 64, 3>;
    __shared__ typename Exchange::TempStorage storage;
    uint32_t items[3], moved[3];
    int ranks[3];
    cub::LoadDirectBlocked(threadIdx.x, in, items);
    cub::LoadDirectBlocked(threadIdx.x, ranks_in, ranks);
    Exchange(storage).BlockedToStriped(items, moved);
    cub::StoreDirectBlocked(threadIdx.x, striped, moved);
    __syncthreads();
    Exchange(storage).ScatterToBlocked(items, moved, ranks);
    cub::StoreDirectBlocked(threadIdx.x, scattered, moved);
}

// Four items a lane; by shuffles there have to be as many lanes.
template <cub::WarpExchangeAlgorithm ALGORITHM, int LANES>
__device__ void warp_exchange(const uint32_t* in, uint32_t* out) {
    using Exchange = cub::WarpExchange<uint32_t, 4, LANES, ALGORITHM>;
    using Load = cub::WarpLoad<uint32_t, 4, cub::WARP_LOAD_STRIPED, LANES>;
    using Store = cub::WarpStore<uint32_t, 4, cub::WARP_STORE_DIRECT, LANES>;
    __shared__ typename Exchange::TempStorage storage[64 / LANES];
    const int warp = threadIdx.x / LANES;
    uint32_t items[4];
    Load().Load(in + warp * LANES * 4, items);
    Exchange(storage[warp]).StripedToBlocked(items, items);
    // Each thread now has four neighbours.
    Store().Store(out + warp * LANES * 4, items);
}
extern "C" __global__ void warp_exchange_shared(const uint32_t* in, uint32_t* out) {
    warp_exchange<cub::WARP_EXCHANGE_SMEM, 32>(in, out);
}
extern "C" __global__ void warp_exchange_shuffle(const uint32_t* in, uint32_t* out) {
    warp_exchange<cub::WARP_EXCHANGE_SHUFFLE, 4>(in, out);
}

// --- counting and runs ---

template <cub::BlockHistogramAlgorithm ALGORITHM>
__device__ void block_histogram(const uint8_t* in, uint32_t* out) {
    using Histogram = cub::BlockHistogram<uint8_t, 128, 4, 256, ALGORITHM>;
    __shared__ typename Histogram::TempStorage storage;
    __shared__ uint32_t counts[256];
    uint8_t items[4];
    Histogram(storage).InitHistogram(counts);
    __syncthreads();
    for (int tile = 0; tile < 2; tile++) {
        cub::LoadDirectStriped<128>(threadIdx.x, in + blockIdx.x * 1024 + tile * 512, items);
        Histogram(storage).Composite(items, counts);
        __syncthreads();
    }
    for (int bin = threadIdx.x; bin < 256; bin += 128) out[blockIdx.x * 256 + bin] = counts[bin];
}
extern "C" __global__ void histogram_sort(const uint8_t* in, uint32_t* out) {
    block_histogram<cub::BLOCK_HISTO_SORT>(in, out);
}
extern "C" __global__ void histogram_atomic(const uint8_t* in, uint32_t* out) {
    block_histogram<cub::BLOCK_HISTO_ATOMIC>(in, out);
}

extern "C" __global__ void heads_and_tails(const uint32_t* in, uint8_t* heads_out, uint8_t* tails_out,
                                           int32_t* differences_out, uint32_t* rotated_out) {
    using Discontinuity = cub::BlockDiscontinuity<uint32_t, 64>;
    using Difference = cub::BlockAdjacentDifference<uint32_t, 64>;
    using Shuffle = cub::BlockShuffle<uint32_t, 64>;
    __shared__ union {
        typename Discontinuity::TempStorage discontinuity;
        typename Difference::TempStorage difference;
        typename Shuffle::TempStorage shuffle;
    } storage;
    uint32_t items[2], differences[2];
    bool heads[2], tails[2];
    cub::LoadDirectBlocked(threadIdx.x, in, items);
    Discontinuity(storage.discontinuity).FlagHeadsAndTails(heads, tails, items, cuda::std::not_equal_to<>{});
    __syncthreads();
    Difference(storage.difference).SubtractLeft(items, differences, cuda::std::minus<>{});
    __syncthreads();
    uint32_t rotated;
    Shuffle(storage.shuffle).Rotate(items[0], rotated, 5);
    for (int i = 0; i < 2; i++) {
        heads_out[threadIdx.x * 2 + i] = heads[i];
        tails_out[threadIdx.x * 2 + i] = tails[i];
    }
    cub::StoreDirectBlocked(threadIdx.x, differences_out, reinterpret_cast<int32_t(&)[2]>(differences));
    rotated_out[threadIdx.x] = rotated;
}

// Runs of a value, written out one window after another.
extern "C" __global__ void run_length_decode(const uint64_t* values_in, const uint32_t* lengths_in, uint64_t* out,
                                             uint32_t* offsets_out, uint32_t* total_out) {
    using Decode = cub::BlockRunLengthDecode<uint64_t, 32, 2, 3>;
    __shared__ typename Decode::TempStorage storage;
    uint64_t values[2];
    uint32_t lengths[2], total;
    cub::LoadDirectBlocked(threadIdx.x, values_in, values);
    cub::LoadDirectBlocked(threadIdx.x, lengths_in, lengths);
    Decode decode(storage, values, lengths, total);
    for (uint32_t window = 0; window < total; window += 32 * 3) {
        uint64_t decoded[3];
        uint32_t offsets[3];
        decode.RunLengthDecode(decoded, offsets, window);
        cub::StoreDirectBlocked(threadIdx.x, out + window, decoded, int(total - window));
        cub::StoreDirectBlocked(threadIdx.x, offsets_out + window, offsets, int(total - window));
    }
    if (threadIdx.x == 0) *total_out = total;
}
