// What kernels and Rust share.
#pragma once
#include <cstdint>

#include "mode.h"

#define TILE 16
#define LOWEST (-3)
#define LARGEST 0xFFFFFFFFFFFFFFFFull
#define ALL_BUT_ONE (LARGEST - 1)
constexpr uint32_t WARPS = 4;
constexpr uint32_t THREADS = WARPS * 32;
constexpr float HALF = 0.5f;

namespace shape {
struct Window {
    uint16_t first;
    uint16_t last;
};
}  // namespace shape

/// How rows are scaled.
struct Params {
    /// Columns of a row.
    uint32_t dim;
    float scale;
    shape::Window windows[2];
    Mode mode;
    uint32_t reserved;
};

/// Fields whose names Rust does not take.
struct Named {
    uint32_t type;
    uint32_t in;
};

/// Where a list goes on: a pointer in it, so that no kernel that takes it is safe.
struct Link {
    float* next;
    uint64_t length;
};
