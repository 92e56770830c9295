template <class T> __global__ void scale(T* x) { x[0] *= 2; }
__global__ void other(float* x) { x[0] = 1; }
