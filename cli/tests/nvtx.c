// What a profiler is to NVTX: a library that the program loads and gives its tables of functions, here to write down ranges.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef void (*Function)(void);
struct Callbacks {
    size_t size;
    int (*table_of)(int module, Function*** table, unsigned* size);
};
enum { CALLBACKS = 1, CORE = 1, RANGE_PUSH = 9, RANGE_POP = 11 };

static FILE* out;

static int push(const char* name) {
    fprintf(out, "%s\n", name);
    return fflush(out);
}

static int pop(void) {
    fprintf(out, "end\n");
    return fflush(out);
}

int InitializeInjectionNvtx2(const void* (*get_table)(unsigned)) {
    const struct Callbacks* callbacks = get_table(CALLBACKS);
    Function** table;
    unsigned size;
    out = fopen(getenv("RANGES"), "w");
    if (out == NULL || callbacks == NULL || !callbacks->table_of(CORE, &table, &size) || size <= RANGE_POP) return 0;
    *table[RANGE_PUSH] = (Function)push;
    *table[RANGE_POP] = (Function)pop;
    return 1;
}
