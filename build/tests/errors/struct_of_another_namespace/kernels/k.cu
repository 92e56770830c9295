#include "point.h"
namespace mine { struct Point { float x, y, z, w; }; }
using Other = mine::Point;

/// @grid  1
/// @block 1
/// @len   p == 1
/// @safe
__global__ void k(Other* p) { p->w = 1.0f; }
