using real = float;
extern "C" __global__ void k(real* x) { x[0] = 1; }
