// assert, which calls __assertfail, and what the file, line and function are there.
#include <cassert>

__device__ __noinline__ unsigned checked(unsigned index, unsigned limit) {
    assert(index < limit && "the index is in range");
    return index * 2;
}

extern "C" __global__ void assertion(unsigned* out, unsigned limit) { out[threadIdx.x] = checked(threadIdx.x, limit); }

extern "C" __global__ void stop(unsigned* out, unsigned how) {
    if (how == 1) __trap();
    if (how == 2) __brkpt();
    if (how == 3) __builtin_unreachable();
    out[threadIdx.x] = how;
}
