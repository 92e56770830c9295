#include <cstdint>
struct Q {
#if __CUDA_ARCH__ >= 800
    static constexpr uint32_t WORDS = 8;
#else
    static constexpr uint32_t WORDS = 4;
#endif
};
/// Fills.
/// @targets 75 80
/// @grid    n
/// @block   32
/// @len     x == n * W::WORDS
template <class W>
__global__ void fill(float* x, uint32_t n) {
    x[0] = n;
}
template __global__ void fill<Q>(float*, uint32_t);
