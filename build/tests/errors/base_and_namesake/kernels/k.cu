#include "b.h"
namespace mine {
struct float3 {
    float x, y, z, w;
};
}  // namespace mine
__global__ void derived(Derived d) {}
__global__ void namesake(mine::float3* x, int __n, int __m) {}
