#include "padded.h"
__global__ void k(float* x, Padded padded) { x[0] = padded.wide; }
