// Structs by value, to functions and from them, of many sizes and alignments.

struct Bytes { unsigned char at[3]; };
struct Mixed { char tag; double weight; short pair[2]; };
struct alignas(16) Vector { float x, y, z, w; };
struct Large { Mixed first; Vector second; unsigned long long rest[5]; };
struct Empty {};

__device__ __noinline__ Bytes rotate(Bytes b, Empty) { return {{b.at[1], b.at[2], b.at[0]}}; }
__device__ __noinline__ Mixed scale(Mixed m, float by) {
    m.weight *= by;
    m.pair[0] += m.tag;
    m.pair[1] = (short)-m.pair[1];
    return m;
}
__device__ __noinline__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x, a.w + b.w};
}
__device__ __noinline__ Large build(Mixed m, Vector v, unsigned seed, bool negate) {
    Large large;
    large.first = scale(m, negate ? -2.0f : 2.0f);
    large.second = cross(v, {1.0f, 2.0f, 3.0f, 4.0f});
    for (unsigned n = 0; n < 5; n++) large.rest[n] = (unsigned long long)seed << (8 * n);
    return large;
}
__device__ __noinline__ double sum(Large large, unsigned char index) {
    return large.first.weight + large.first.pair[0] + large.first.pair[1] + large.second.x + large.second.y +
           large.second.z + large.second.w + (double)large.rest[index];
}
__device__ __noinline__ signed char narrow(signed char a, unsigned short b, long long c) { return (signed char)(a + b + c); }

extern "C" __global__ void structs(double* out) {
    unsigned lane = threadIdx.x;
    Bytes bytes = rotate({{(unsigned char)lane, (unsigned char)(lane * 2), (unsigned char)(lane * 9)}}, {});
    Mixed mixed = {(char)(lane - 7), 0.5 * lane, {(short)lane, (short)(3 * lane)}};
    Vector vector = {(float)lane, (float)lane + 1, (float)lane * 2, 5.0f};
    Large large = build(mixed, vector, lane, lane & 1);
    out[lane * 3] = bytes.at[0] + 256.0 * bytes.at[1] + 65536.0 * bytes.at[2];
    out[lane * 3 + 1] = sum(large, lane % 5);
    out[lane * 3 + 2] = narrow((signed char)(lane * 5), (unsigned short)(lane * 1000), -(long long)lane);
}
