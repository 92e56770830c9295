// What else engines do: half2 products, warp-aggregated atomics, atomics on halves and doubles, spin locks with __nanosleep,
// SIMD in a word and other bit tricks, cuda::atomic_ref in every order and scope, cuda::std, recursion, virtual functions,
// function pointers, math of double and float, 128-bit integers, printf, fp8, and intrinsics of f16 and bf16.
#include <cuda/atomic>
#include <cuda/std/array>
#include <cuda/std/bit>
#include <cuda/std/complex>
#include <cuda/std/tuple>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>
#include <cstdio>

// --- math: each function of one argument, and of two ---

#define OF_ONE(X) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) \
    X(exp) X(exp2) X(exp10) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sqrt) X(rsqrt) X(cbrt) X(erf) X(erfc)      \
    X(lgamma) X(tgamma) X(floor) X(ceil) X(rint) X(trunc) X(round)
#define OF_TWO(X) X(pow) X(fmod) X(atan2) X(hypot) X(remainder) X(fdim) X(copysign)

#define CALL(F) out[at++ * n + i] = F(x[i]);
#define CALL_F(F) out[at++ * n + i] = F##f(x[i]);
#define CALL_2(F) out[at++ * n + i] = F(x[i], y[i]);
#define CALL_2F(F) out[at++ * n + i] = F##f(x[i], y[i]);

extern "C" __global__ void double_of_one(const double* x, double* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int at = 0;
    if (i < n) { OF_ONE(CALL) }
}
extern "C" __global__ void float_of_one(const float* x, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int at = 0;
    if (i < n) { OF_ONE(CALL_F) }
}
extern "C" __global__ void double_of_two(const double* x, const double* y, double* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int at = 0;
    if (i < n) { OF_TWO(CALL_2) }
}
extern "C" __global__ void float_of_two(const float* x, const float* y, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int at = 0;
    if (i < n) { OF_TWO(CALL_2F) }
}

// --- integers ---

extern "C" __global__ void words(const uint32_t* x, const uint32_t* y, const uint32_t* z, uint32_t* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uint32_t a = x[i], b = y[i], c = z[i];
    int at = 0;
    const auto put = [&](uint32_t value) { out[at++ * n + i] = value; };
    put(__funnelshift_l(a, b, c));
    put(__funnelshift_r(a, b, c));
    put(__funnelshift_lc(a, b, c));
    put(__funnelshift_rc(a, b, c));
    put(__byte_perm(a, b, c));
    put(__dp4a(int(a), int(b), int(c)));
    put(__dp4a(a, b, c));
    put(__dp2a_lo(int(a), int(b), int(c)));
    put(__dp2a_hi(a, b, c));
    put(__brev(a));
    put(__clz(int(a)));
    put(__ffs(int(a)));
    put(__popc(a));
    put(__mulhi(int(a), int(b)));
    put(__umulhi(a, b));
    put(__sad(int(a), int(b), c));
    put(__usad(a, b, c));
    put(__hadd(int(a), int(b)));
    put(__urhadd(a, b));
    put(__mul24(int(a), int(b)));
    put(__viaddmax_s32(int(a), int(b), int(c)));
    put(__vimax3_u32(a, b, c));
    put(cuda::std::rotl(a, int(c % 32)));
    put(cuda::std::bit_width(a));
}

// SIMD in a word.
#define OF_WORDS(X) X(__vadd4) X(__vaddss4) X(__vaddus4) X(__vsub4) X(__vsubss4) X(__vsubus4) X(__vavgu4) X(__vhaddu4)      \
    X(__vabsdiffu4) X(__vabsdiffs4) X(__vmaxs4) X(__vmaxu4) X(__vmins4) X(__vminu4) X(__vcmpeq4) X(__vcmpne4)              \
    X(__vcmpges4) X(__vcmpgeu4) X(__vcmpgts4) X(__vcmpgtu4) X(__vcmples4) X(__vcmpleu4) X(__vcmplts4) X(__vcmpltu4)        \
    X(__vseteq4) X(__vsetgtu4) X(__vsetles4) X(__vsads4) X(__vsadu4)                                                       \
    X(__vadd2) X(__vaddss2) X(__vaddus2) X(__vsub2) X(__vsubss2) X(__vsubus2) X(__vavgu2) X(__vhaddu2)                     \
    X(__vabsdiffu2) X(__vabsdiffs2) X(__vmaxs2) X(__vmaxu2) X(__vmins2) X(__vminu2) X(__vcmpeq2) X(__vcmpne2)              \
    X(__vcmpges2) X(__vcmpgeu2) X(__vcmpgts2) X(__vcmpgtu2) X(__vcmples2) X(__vcmpleu2) X(__vcmplts2) X(__vcmpltu2)        \
    X(__vseteq2) X(__vsetgtu2) X(__vsetles2) X(__vsads2) X(__vsadu2)
extern "C" __global__ void packed(const uint32_t* x, const uint32_t* y, uint32_t* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    int at = 0;
    if (i >= n) return;
#define CALL_WORDS(F) out[at++ * n + i] = F(x[i], y[i]);
    OF_WORDS(CALL_WORDS)
    out[at++ * n + i] = __vabs4(x[i]);
    out[at++ * n + i] = __vneg4(x[i]);
    out[at++ * n + i] = __vabsss2(x[i]);
    out[at++ * n + i] = __vnegss2(x[i]);
}

extern "C" __global__ void wide_integers(const uint64_t* x, uint64_t* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned __int128 a = static_cast<unsigned __int128>(x[4 * i]) << 64 | x[4 * i + 1];
    const unsigned __int128 b = static_cast<unsigned __int128>(x[4 * i + 2]) << 64 | x[4 * i + 3];
    const auto put = [&](int at, unsigned __int128 value) {
        out[(6 * i + at) * 2] = uint64_t(value >> 64);
        out[(6 * i + at) * 2 + 1] = uint64_t(value);
    };
    put(0, a + b);
    put(1, a * b);
    put(2, a / (b | 1));
    put(3, a % (b | 1));
    put(4, a >> int(x[4 * i + 3] % 128));
    put(5, static_cast<__int128>(a) < static_cast<__int128>(b) ? a : b);
}

// --- atomics ---

// Every thread adds, in each of the ways; sums are of small integers, so no order of them changes anything.
extern "C" __global__ void sums(__half2* halves, __nv_bfloat162* brains, __half* half, __nv_bfloat16* brain, float* f,
                                double* d, unsigned long long* wide) {
    atomicAdd(halves, __floats2half2_rn(1.0f, 2.0f));
#if __CUDA_ARCH__ >= 800
    atomicAdd(brains, __floats2bfloat162_rn(1.0f, -1.0f));
    atomicAdd(brain, __float2bfloat16(1.0f));
#endif
    atomicAdd(half, __float2half(1.0f));
    atomicAdd(f, 0.5f);
    atomicAdd(d, 0.25);
    atomicAdd(wide, 1ull << 33);
}

// Elements that a condition takes, with one atomic operation for each warp.
extern "C" __global__ void compact(const uint32_t* x, uint32_t* out, uint32_t* count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const bool take = i < n && x[i] % 3 == 0;
    const unsigned takers = __ballot_sync(0xffffffff, take);
    const int lane = threadIdx.x % 32, leader = __ffs(int(takers)) - 1;
    uint32_t first = 0;
    if (takers != 0 && lane == leader) first = atomicAdd(count, __popc(takers));
    first = __shfl_sync(0xffffffff, first, takers ? leader : 0);
    if (take) out[first + __popc(takers & ((1u << lane) - 1))] = x[i];
}

// A lock that threads of a warp fight for as well, around memory that is neither atomic nor volatile.
extern "C" __global__ void locked(unsigned* lock, uint32_t* total, uint32_t* history) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0u, 1u) == 0u) {
            __threadfence();
            const uint32_t before = *total;
            history[before] = blockIdx.x * blockDim.x + threadIdx.x;
            *total = before + 1;
            __threadfence();
            atomicExch(lock, 0u);
            done = true;
        } else {
            __nanosleep(20);
        }
    }
}

// Each order and scope of cuda::atomic_ref, and what it can do.
template <cuda::thread_scope SCOPE>
__device__ void each_order(uint32_t* to, uint64_t* wide, float* real) {
    cuda::atomic_ref<uint32_t, SCOPE> word(*to);
    cuda::atomic_ref<uint64_t, SCOPE> pair(*wide);
    cuda::atomic_ref<float, SCOPE> number(*real);
    word.fetch_add(1, cuda::memory_order_relaxed);
    word.fetch_add(2, cuda::memory_order_acquire);
    word.fetch_add(3, cuda::memory_order_release);
    word.fetch_add(4, cuda::memory_order_acq_rel);
    word.fetch_sub(1, cuda::memory_order_seq_cst);
    pair.fetch_add(1ull << 40, cuda::memory_order_relaxed);
    pair.fetch_max(5, cuda::memory_order_acq_rel);
    number.fetch_add(0.5f, cuda::memory_order_relaxed);
    uint32_t before = word.load(cuda::memory_order_relaxed);
    while (!word.compare_exchange_weak(before, before + 1, cuda::memory_order_acq_rel, cuda::memory_order_acquire)) {
    }
}
extern "C" __global__ void orders(uint32_t* to, uint64_t* wide, float* real) {
    each_order<cuda::thread_scope_device>(to, wide, real);
    each_order<cuda::thread_scope_system>(to, wide, real);
    __shared__ uint32_t own;
    __shared__ uint64_t own_wide;
    __shared__ float own_real;
    if (threadIdx.x == 0) own = 0, own_wide = 0, own_real = 0;
    __syncthreads();
    each_order<cuda::thread_scope_block>(&own, &own_wide, &own_real);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(to, own), atomicAdd(real, own_real);
}

// A message from block to block, by a flag that is released and acquired.
extern "C" __global__ void messages(uint32_t* data, uint32_t* flags, uint32_t* out) {
    const uint32_t block = blockIdx.x;
    if (threadIdx.x != 0) return;
    if (block > 0) {
        cuda::atomic_ref<uint32_t, cuda::thread_scope_device> before(flags[block - 1]);
        while (before.load(cuda::memory_order_acquire) == 0) __nanosleep(8);
    }
    const uint32_t value = block == 0 ? 1 : data[block - 1] * 3 + 1;
    data[block] = value;
    out[block] = value;
    cuda::atomic_ref<uint32_t, cuda::thread_scope_device>(flags[block]).store(1, cuda::memory_order_release);
}

// --- language ---

struct Shape {
    __device__ virtual double area() const = 0;
    __device__ virtual ~Shape() {}
};
struct Square : Shape {
    double side;
    __device__ explicit Square(double side) : side(side) {}
    __device__ double area() const override { return side * side; }
};
struct Circle : Shape {
    double radius;
    __device__ explicit Circle(double radius) : radius(radius) {}
    __device__ double area() const override { return 3.0 * radius * radius; }
};
__device__ __noinline__ uint32_t collatz(uint32_t n, uint32_t steps) {
    return n == 1 ? steps : collatz(n % 2 ? 3 * n + 1 : n / 2, steps + 1);
}
__device__ uint32_t twice(uint32_t x) { return 2 * x; }
__device__ uint32_t square(uint32_t x) { return x * x; }
using Function = uint32_t (*)(uint32_t);
__device__ Function functions[] = {twice, square};

extern "C" __global__ void language(double* areas, uint32_t* steps, uint32_t* applied, float* complex) {
    const uint32_t i = threadIdx.x;
    const Square square_of(i + 0.5);
    const Circle circle_of(i + 0.25);
    const Shape* shapes[] = {&square_of, &circle_of};
    areas[i] = shapes[i % 2]->area();
    steps[i] = collatz(i + 1, 0);
    applied[i] = functions[i % 2](i);
    cuda::std::complex<float> z(0.5f, i * 0.125f);
    z = z * z + cuda::std::complex<float>(1.0f, -1.0f);
    const auto [re, im] = cuda::std::make_tuple(z.real(), z.imag());
    cuda::std::array<float, 2> both{re, im};
    complex[2 * i] = both[0];
    complex[2 * i + 1] = both[1];
}

extern "C" __global__ void prints(int i, double d, const char* text) {
    printf("%d %u %lld %5.2f %e %s %c %x %%\n", i, unsigned(i), (long long)i << 33, d, d, text, 'a' + i % 26, i);
}

// --- narrow numbers ---

extern "C" __global__ void hgemm(const __half2* a, const __half2* b, __half* c, int k) {
    // [16, k] times the transpose of [16, k], two products at a time.
    const int row = threadIdx.y, column = threadIdx.x;
    __half2 sum = __float2half2_rn(0.0f);
    for (int x = 0; x < k / 2; x++) sum = __hfma2(a[row * (k / 2) + x], b[column * (k / 2) + x], sum);
    c[row * 16 + column] = __hadd(__low2half(sum), __high2half(sum));
}

template <typename T>
__device__ void narrow_math(const T* x, const T* y, T* out, int i, int n) {
    const T a = x[i], b = y[i];
    int at = 0;
    const auto put = [&](T value) { out[at++ * n + i] = value; };
    put(__hadd(a, b));
    put(__hsub(a, b));
    put(__hmul(a, b));
    put(__hdiv(a, b));
    put(__hfma(a, b, a));
    put(__hneg(a));
    put(__habs(a));
    put(__hmax(a, b));
    put(__hmin(a, b));
    put(hfloor(a));
    put(hrint(a));
    put(hsqrt(__habs(a)));
}
extern "C" __global__ void half_math(const __half* x, const __half* y, __half* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) narrow_math(x, y, out, i, n);
}
#if __CUDA_ARCH__ >= 800
extern "C" __global__ void brain_math(const __nv_bfloat16* x, const __nv_bfloat16* y, __nv_bfloat16* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) narrow_math(x, y, out, i, n);
}
#endif

extern "C" __global__ void fp8(const float* x, uint8_t* e4m3, uint8_t* e5m2, float* back, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const __nv_fp8_e4m3 four(x[i]);
    const __nv_fp8_e5m2 five(x[i]);
    e4m3[i] = four.__x;
    e5m2[i] = five.__x;
    back[2 * i] = float(four);
    back[2 * i + 1] = float(five);
}
