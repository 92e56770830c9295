// Rotary position embedding: how a pair of elements turns.
#pragma once

#include <cstdint>

// Cosine and sine, times `magnitude`, of a pair that turns by `turns` whole turns a position. Turns are counted in f64, so
// that far positions keep their angle.
__device__ inline float2 rotation(uint64_t position, double turns, float magnitude) {
    const double turned = double(position) * turns;
    float sin, cos;
    sincospif(2.0f * float(turned - floor(turned)), &sin, &cos);
    return {cos * magnitude, sin * magnitude};
}
