// The functions of <cmath> in double precision, and those in single precision that have slow paths for large arguments.
#include <math.h>

extern "C" __global__ void math64(const double* in, const double* other, double* out, unsigned count) {
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= count) return;
    double x = in[n], y = other[n], *to = out + n * 36;
    to[0] = sin(x);
    to[1] = cos(x);
    to[2] = tan(x);
    to[3] = asin(x);
    to[4] = acos(x);
    to[5] = atan(x);
    to[6] = sinh(x);
    to[7] = cosh(x);
    to[8] = tanh(x);
    to[9] = asinh(x);
    to[10] = acosh(x);
    to[11] = atanh(x);
    to[12] = exp(x);
    to[13] = exp2(x);
    to[14] = expm1(x);
    to[15] = log(x);
    to[16] = log2(x);
    to[17] = log1p(x);
    to[18] = log10(x);
    to[19] = sqrt(x);
    to[20] = cbrt(x);
    to[21] = rsqrt(x);
    to[22] = pow(x, y);
    to[23] = atan2(x, y);
    to[24] = hypot(x, y);
    to[25] = fmod(x, y);
    to[26] = x / y;
    to[27] = floor(x) + ceil(y);
    to[28] = round(x);
    to[29] = fma(x, y, x);
    to[30] = fmin(x, y);
    to[31] = fmax(x, y);
    to[32] = ldexp(x, (int)n % 40 - 20);
    to[33] = erf(x);
    to[34] = trunc(x);
    to[35] = rint(x);
}

extern "C" __global__ void math32(const float* in, const float* other, float* out, unsigned count) {
    unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= count) return;
    float x = in[n], y = other[n], *to = out + n * 16;
    to[0] = sinf(x);
    to[1] = cosf(x);
    to[2] = tanf(x);
    to[3] = expf(x);
    to[4] = logf(x);
    to[5] = powf(x, y);
    to[6] = fmodf(x, y);
    to[7] = atan2f(x, y);
    to[8] = tanhf(x);
    to[9] = cbrtf(x);
    to[10] = erff(x);
    to[11] = x / y;
    to[12] = sqrtf(x);
    to[13] = log1pf(x);
    to[14] = expm1f(x);
    to[15] = sinhf(x);
}
