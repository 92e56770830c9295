// A dense switch, which becomes brx.idx; and what a warp does together inside functions.

__device__ __noinline__ unsigned choose(unsigned n, unsigned x) {
    switch (n) {
        case 0: return x + 11;
        case 1: return x * 3;
        case 2: return x ^ 0x55;
        case 3: return __popc(x);
        case 4: return x << 4;
        case 5: return ~x;
        case 6: return x / 7;
        case 7: return x % 7;
        case 8: return __brev(x);
        default: return 999;
    }
}

// Called from both sides of a branch: the shuffle in it is one all the same.
__device__ __noinline__ unsigned exchange(unsigned x) { return __shfl_xor_sync(0xffffffff, x, 1) + 1000; }

__device__ __noinline__ unsigned block_sum(unsigned x, unsigned* shared) {
    shared[threadIdx.x] = x;
    __syncthreads();
    unsigned sum = 0;
    for (unsigned n = 0; n < blockDim.x; n++) sum += shared[n];
    __syncthreads();
    return sum;
}

__device__ __noinline__ void leave_if(bool yes) {
    if (yes) asm volatile("exit;");
}

extern "C" __global__ void jumps(unsigned* out) {
    __shared__ unsigned shared[64];
    unsigned lane = threadIdx.x;
    unsigned chosen = choose(lane % 11, lane * 77);
    unsigned exchanged;
    if (lane & 1)
        exchanged = exchange(lane * 2) + 5;
    else
        exchanged = exchange(lane * 3) + 7;
    unsigned sum = block_sum(lane, shared);
    out[lane * 3] = chosen;
    out[lane * 3 + 1] = exchanged;
    leave_if(lane % 3 == 0);
    out[lane * 3 + 2] = sum;
}
