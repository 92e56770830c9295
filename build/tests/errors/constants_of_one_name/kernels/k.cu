#include "tiles.h"
/// @grid  1
/// @block TILE
__global__ void k() {}
