#pragma once
struct Shape {
    unsigned rows;
#ifdef __CUDACC__
    unsigned pitch;
#endif
    unsigned columns;
};
