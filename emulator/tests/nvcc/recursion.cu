// Recursion, direct and mutual; each activation has registers and local variables of its own.

__device__ __noinline__ unsigned fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__device__ __noinline__ bool is_odd(unsigned n);
__device__ __noinline__ bool is_even(unsigned n) { return n == 0 || is_odd(n - 1); }
__device__ __noinline__ bool is_odd(unsigned n) { return n != 0 && is_even(n - 1); }

// Sums what its callers wrote into arrays of their own, by pointers to those: a list through the stack.
struct Link {
    const Link* before;
    unsigned value;
};
__device__ __noinline__ unsigned chain(unsigned n, const Link* before) {
    Link own = {before, n * n};
    if (n == 0) {
        unsigned sum = 0;
        for (const Link* link = &own; link; link = link->before) sum = sum * 3 + link->value;
        return sum;
    }
    return chain(n - 1, &own) + own.value;
}

// Swaps by pointers to the caller's variables.
__device__ __noinline__ void permute(unsigned char* items, unsigned first, unsigned count, unsigned* hash) {
    if (first == count) {
        unsigned code = 0;
        for (unsigned n = 0; n < count; n++) code = code * 10 + items[n];
        *hash = *hash * 31 + code;
        return;
    }
    for (unsigned n = first; n < count; n++) {
        unsigned char item = items[first];
        items[first] = items[n];
        items[n] = item;
        permute(items, first + 1, count, hash);
        items[n] = items[first];
        items[first] = item;
    }
}

__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0) return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

extern "C" __global__ void recursion(unsigned* out) {
    unsigned lane = threadIdx.x;
    unsigned char items[6] = {1, 2, 3, 4, 5, 6};
    unsigned hash = lane;
    permute(items, 0, lane % 7, &hash);
    out[lane * 5] = fibonacci(lane % 13);
    out[lane * 5 + 1] = is_even(lane * 3) ? 1 : 2;
    out[lane * 5 + 2] = chain(lane % 11, nullptr);
    out[lane * 5 + 3] = hash;
    out[lane * 5 + 4] = ackermann(lane % 3, lane % 5);
}

// Never returns: the stack ends.
__device__ __noinline__ unsigned endless(unsigned n, const unsigned* before) {
    unsigned own[8];
    for (unsigned k = 0; k < 8; k++) own[k] = before[k] + n;
    return endless(n + 1, own) + own[n % 8];
}
extern "C" __global__ void overflow(unsigned* out) { out[0] = endless(1, out); }
