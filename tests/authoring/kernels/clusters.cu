// Blocks in clusters.
#include <cstdint>

/// In the code.
/// @grid    n
/// @block   32
/// @cluster 2
/// @targets 90
/// @len     x == n
/// @safe
__global__ void __cluster_dims__(2, 1, 1) fixed(uint32_t* x, uint32_t n) { x[blockIdx.x] = n; }

/// Asked for at launch, with all blocks at once.
/// @grid    n
/// @block   32
/// @cluster 2, 1, 1
/// @targets 90
/// @cooperative
/// @len     x == n
/// @safe
__global__ void asked(uint32_t* x, uint32_t n) { x[blockIdx.x] = n; }

/// As the launch says.
__global__ void open(uint32_t* x, uint32_t n) { x[blockIdx.x] = n; }
