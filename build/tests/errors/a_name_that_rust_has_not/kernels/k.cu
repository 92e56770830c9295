__global__ void k(float* self) { self[0] = 1; }
