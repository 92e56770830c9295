#include <cstdint>
struct Local { int a; };
__global__ void odd(void* anything, long double* wide, Local local, float** twice, const bool* flags) {}
