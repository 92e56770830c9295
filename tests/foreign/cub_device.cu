// In the style of programs that sum, scan and sort whole arrays with CUB: the kernels that DeviceReduce, DeviceScan
// (decoupled look-back) and DeviceRadixSort (onesweep) launch, made by CUB's own dispatch with its own tuning. The test
// launches them as that dispatch does, with the sizes that `sizes` tells.
#include <cub/cub.cuh>

#include <cstdint>

// x -> a * x + b, one after the other: not commutative, and too large for one word with its status.
struct Affine {
    uint32_t a, b;
};

struct Compose {
    __host__ __device__ Affine operator()(const Affine& first, const Affine& second) const {
        return {first.a * second.a, first.b * second.a + second.b};
    }
};

// Never called: what is here has the compiler make the kernels.
void made(void* storage, size_t bytes, uint32_t* words, uint64_t* wide, double* reals, float* floats, Affine* maps) {
    cub::DeviceReduce::Sum(storage, bytes, words, words, 1);
    cub::DeviceReduce::Max(storage, bytes, reals, reals, 1);
    cub::DeviceScan::ExclusiveSum(storage, bytes, words, words, 1);
    cub::DeviceScan::InclusiveSum(storage, bytes, wide, wide, 1);
    cub::DeviceScan::InclusiveScan(storage, bytes, maps, maps, Compose{}, 1);
    cub::DeviceRadixSort::SortPairs(storage, bytes, words, words, words, words, 1);
    cub::DeviceRadixSort::SortKeysDescending(storage, bytes, floats, floats, 1);
}

// What the dispatch takes from the tuning of the target: threads of a block, and items of a tile.
template <typename Policy>
__device__ void tell(int* out, int which) {
    out[2 * which] = Policy::BLOCK_THREADS;
    out[2 * which + 1] = Policy::BLOCK_THREADS * Policy::ITEMS_PER_THREAD;
}

template <typename Hub>
using Active = typename Hub::MaxPolicy::ActivePolicy;

extern "C" __global__ void sizes(int* out) {
    namespace detail = cub::detail;
    using Sum = cuda::std::plus<>;
    using Words = Active<detail::reduce::policy_hub<uint32_t, uint32_t, Sum>>;
    using Reals = Active<detail::reduce::policy_hub<double, uint32_t, cuda::maximum<>>>;
    tell<Words::ReducePolicy>(out, 0);
    tell<Words::SingleTilePolicy>(out, 1);
    tell<Reals::ReducePolicy>(out, 2);
    tell<Reals::SingleTilePolicy>(out, 3);
    tell<Active<detail::scan::policy_hub<uint32_t, uint32_t, uint32_t, uint32_t, Sum>>::ScanPolicyT>(out, 4);
    tell<Active<detail::scan::policy_hub<uint64_t, uint64_t, uint64_t, uint32_t, Sum>>::ScanPolicyT>(out, 5);
    tell<Active<detail::scan::policy_hub<Affine, Affine, Affine, uint32_t, Compose>>::ScanPolicyT>(out, 6);
    using Pairs = Active<detail::radix::policy_hub<uint32_t, uint32_t, uint32_t>>;
    using Keys = Active<detail::radix::policy_hub<float, cub::NullType, uint32_t>>;
    tell<Pairs::SingleTilePolicy>(out, 7);
    tell<Pairs::HistogramPolicy>(out, 8);
    tell<Pairs::OnesweepPolicy>(out, 9);
    tell<Keys::SingleTilePolicy>(out, 10);
    tell<Keys::HistogramPolicy>(out, 11);
    tell<Keys::OnesweepPolicy>(out, 12);
    static_assert(Pairs::ONESWEEP && Keys::ONESWEEP && Pairs::ONESWEEP_RADIX_BITS == 8 && Keys::ONESWEEP_RADIX_BITS == 8,
                  "the test launches another sort");
    out[26] = Pairs::ExclusiveSumPolicy::BLOCK_THREADS;
    out[27] = Keys::ExclusiveSumPolicy::BLOCK_THREADS;
}
