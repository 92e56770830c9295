// printf, with every conversion that CUDA documents.
#include <cstdio>

extern "C" __global__ void print(int* out, const char* text) {
    unsigned lane = threadIdx.x;
    if (blockIdx.x == 0 && lane == 0) {
        out[0] = printf("plain\n");
        out[1] = printf("%d|%i|%5d|%-5d|%+d|% d|%05d|%.3d\n", -1, 7, 42, 42, 42, 42, -42, 7);
        out[2] = printf("%u|%x|%X|%#x|%o|%#o\n", 4000000000u, 48879u, 48879u, 48879u, 8u, 8u);
        out[3] = printf("%ld|%lld|%lu|%llu|%llx\n", -5000000000l, -5000000000ll, 5000000000ul, ~0ull, 1ull << 40);
        out[4] = printf("%hd|%hhd|%hu|%hhu|%zu\n", 70000, 300, 70000, 300, (size_t)1 << 33);
        out[5] = printf("%c%c|%5c|%-3c|%%\n", 'o', 'k', 'x', 'y');
        out[6] = printf("%s|%10s|%-10s|%.2s|%*s\n", "text", "right", "left", "cut", 6, "star");
        out[7] = printf("%f|%.2f|%10.3f|%-10.1f|%+.0f|%#.0f\n", 3.14159, 2.71828, -1.5, 2.25, 2.5, 3.0);
        out[8] = printf("%e|%.3E|%g|%G|%g|%#g\n", 12345.678, 0.00012, 0.0001, 1e-10, 1e6, 1.0);
        out[9] = printf("%a|%.1a|%A\n", 1.0, 1.96875, 0.1);
        out[10] = printf("%p|%s\n", (void*)0x1234, text);
        out[11] = printf("%f|%F|%e|%010f|%g\n", 1.0 / 0.0, -1.0 / 0.0, 0.0, 1.0 / 0.0, -0.0);
        out[12] = printf("");
    }
    if (blockIdx.x == 1) printf("lane %u says %s\n", lane, lane % 2 ? "odd" : "even");
}

extern "C" __global__ void bad_text() { printf("%s\n", (const char*)0x10); }

extern "C" __global__ void many(unsigned rounds) {
    for (unsigned n = 0; n < rounds; n++) printf("block %u thread %u round %u\n", blockIdx.x, threadIdx.x, n);
}
