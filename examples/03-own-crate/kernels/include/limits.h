// What kernels and Rust share: `include::Limits` and `include::BLOCK` in Rust.
#pragma once
#include <cstdint>

/// Threads of a block.
constexpr uint32_t BLOCK = 256;

/// Where values are kept.
struct Limits {
    float low;
    float high;
};
