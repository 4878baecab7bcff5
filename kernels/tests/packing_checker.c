/* The checker of packing at load: what several threads make of a mapped matrix is what one call makes of all of it.
 *
 *   cd kernels
 *   cc -std=c11 -O1 -g -fsanitize=thread -Iinclude -Iggml tests/packing_checker.c ggml/pack.c ggml/product.c \
 *      ggml/product_ref.c ggml/attention.c ggml/attention_ref.c ggml/gelu.c ggml/gelu_ref.c -lm -lpthread -ldl -o checker
 *
 * -fsanitize=address,undefined instead sees accesses outside the panels. */
#include "../ggml/hook.c"

#include <stdio.h>

static const int64_t columns_of[] = {1, 16, 21, 16 * 40, 16 * 100 + 3}; /* one chunk, and several */

static void *checked(void *memory) {
    if (!memory || memory == MAP_FAILED) {
        exit(2);
    }
    return memory;
}

static int check(int type, int64_t k, int64_t n_columns, int threads) {
    const struct format *format = format_of(type);
    const size_t column = (size_t)k / format->source_block * format->source_bytes, bytes = column * (size_t)n_columns;
    const size_t packed = matrix_bytes(format, k, n_columns);
    uint8_t *source = checked(malloc(bytes)), *want = checked(aligned_alloc(64, packed));
    for (size_t i = 0; i < bytes; i++) {
        source[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    pack_panels(format, source, k, n_columns, 0, (n_columns + PANEL - 1) / PANEL, want);
    FILE *file = checked(tmpfile());
    fwrite(source, 1, bytes, file);
    fflush(file);
    const void *mapped = checked(mmap(NULL, bytes, PROT_READ, MAP_SHARED, fileno(file), 0));
    uint8_t *got = checked(aligned_alloc(64, packed));
    struct ggml_tensor matrix = {
        .type = type, .ne = {k, n_columns, 1, 1}, .nb = {format->source_bytes, column}, .data = got};
    packing_threads = threads;
    set_tensor(NULL, &matrix, mapped, 0, bytes);
    const int fault = memcmp(got, want, packed) != 0;
    if (fault) {
        printf("type %d, %d columns, %d threads: not the same bytes\n", type, (int)n_columns, threads);
    }
    munmap((void *)(uintptr_t)mapped, bytes);
    fclose(file);
    free(source), free(want), free(got);
    return fault;
}

int main(void) {
    const int types[] = {GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_Q6_K};
    int cases = 0, faults = 0;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        for (size_t c = 0; c < sizeof columns_of / sizeof columns_of[0]; c++) {
            for (int threads = 1; threads <= 4; threads++, cases++) {
                faults += check(types[t], 1024, columns_of[c], threads);
            }
        }
    }
    printf("%d cases, %d faults\n", cases, faults);
    return faults ? 1 : 0;
}
