#include <cstdint>
struct Good {
    static constexpr uint32_t WORDS = 4;
    enum { SCALES = 1 };
};
struct Bad {
    static constexpr float WORDS = 0.5f;
    static constexpr int SCALES = -1;
};
struct Worse {
    static int WORDS;
};
/// Fills.
/// @grid  div_ceil(n, TOKENS)
/// @block 32
/// @len   x == n * W::WORDS
/// @len   y == n * W::SCALES + W::WORDS
template <class W, int TOKENS>
__global__ void fill(float* x, float* y, uint32_t n) {
    x[0] = y[0] = n;
}
template __global__ void fill<Good, 8>(float*, float*, uint32_t);
template __global__ void fill<Bad, -3>(float*, float*, uint32_t);
template __global__ void fill<Worse, 1>(float*, float*, uint32_t);
