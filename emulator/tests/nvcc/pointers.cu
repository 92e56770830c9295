// Functions called by address: from a table in global memory, from one in constant memory, from an argument.

typedef unsigned (*Operation)(unsigned, unsigned);

__device__ __noinline__ unsigned add(unsigned a, unsigned b) { return a + b; }
__device__ __noinline__ unsigned multiply(unsigned a, unsigned b) { return a * b; }
// A shuffle in a function: the lanes that called it through any pointer exchange.
__device__ __noinline__ unsigned minus_shift(unsigned a, unsigned b) { return (a - b) << 1; }
__device__ __noinline__ unsigned power(unsigned a, unsigned b) {
    unsigned result = 1;
    for (unsigned n = 0; n < b % 9; n++) result *= a;
    return result;
}

__device__ Operation table[4] = {add, multiply, minus_shift, power};
__constant__ Operation reversed[4] = {power, minus_shift, multiply, add};

__device__ __noinline__ unsigned fold(Operation operation, unsigned a, unsigned count) {
    for (unsigned n = 0; n < count; n++) a = operation(a, n + 1);
    return a;
}

__device__ __noinline__ void twice(void (*f)(unsigned*), unsigned* value) {
    f(value);
    f(value);
}
__device__ __noinline__ void triple(unsigned* value) { *value *= 3; }
__device__ __noinline__ void next(unsigned* value) { *value += 1; }

extern "C" __global__ void pointers(unsigned* out, unsigned rotation) {
    unsigned lane = threadIdx.x;
    out[lane * 3] = fold(table[(lane + rotation) % 4], lane, lane % 5);
    out[lane * 3 + 1] = reversed[(lane + rotation) % 4](lane, 3);
    unsigned value = lane;
    twice((lane + rotation) & 1 ? triple : next, &value);
    out[lane * 3 + 2] = value;
}

extern "C" __global__ void wild(unsigned* out, unsigned long long address) {
    out[threadIdx.x] = ((Operation)address)(1, 2);
}
