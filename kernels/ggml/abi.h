/* What the hook needs of ggml's internal interfaces, stated again: the structures of ggml 0.25.3 with their layouts.
 *
 * So this library needs none of ggml's sources to be built, and links to no particular build of it. The hook checks the
 * version of the ggml that is loaded; tests/native/test_ggml_abi.py compares sizes, offsets and numbers with the headers.
 *
 * ggml asks "extra buffer types" through C++ objects. Such an object begins with a pointer to a table of its virtual
 * functions: two destructors, then the functions in their order (the Itanium C++ ABI, which GCC and Clang follow). */
#ifndef CGK_GGML_ABI_H
#define CGK_GGML_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGK_GGML_VERSION "0.25.3"

enum { GGML_TYPE_F32 = 0, GGML_TYPE_F16 = 1, GGML_TYPE_Q4_0 = 2, GGML_TYPE_Q4_1 = 3, GGML_TYPE_Q8_0 = 8,
       GGML_TYPE_Q4_K = 12, GGML_TYPE_Q5_K = 13, GGML_TYPE_Q6_K = 14, GGML_TYPE_BF16 = 30 };
enum { GGML_OP_MUL_MAT = 29, GGML_OP_FLASH_ATTN_EXT = 74, GGML_OP_UNARY = 91 };
enum { GGML_UNARY_OP_GELU = 8 }; /* op_params[0] of GGML_OP_UNARY */

struct ggml_tensor {
    int type;
    struct ggml_backend_buffer *buffer;
    int64_t ne[4]; /* elements of each dimension; the first is that of a row */
    size_t nb[4];  /* bytes from one to the next; nb[0] is that of a block, where a type has blocks */
    int op;
    int32_t op_params[16];
    int32_t flags;
    struct ggml_tensor *src[10];
    struct ggml_tensor *view_src;
    size_t view_offs;
    void *data;
    char name[64];
    void *extra;
    char padding[8]; /* zero in a new tensor, and used by nobody */
};

/* One thread's share of an operation: every thread of the pass calls compute_forward with its own. */
struct ggml_compute_params {
    int ith, nth; /* index of this thread, number of threads */
    size_t wsize; /* bytes of work memory, the same for all threads */
    void *wdata;
    struct ggml_threadpool *threadpool;
    bool use_ref;
};

struct ggml_backend_buffer_type {
    const char *(*get_name)(struct ggml_backend_buffer_type *type);
    struct ggml_backend_buffer *(*alloc_buffer)(struct ggml_backend_buffer_type *type, size_t size);
    size_t (*get_alignment)(struct ggml_backend_buffer_type *type);
    size_t (*get_max_size)(struct ggml_backend_buffer_type *type);
    size_t (*get_alloc_size)(struct ggml_backend_buffer_type *type, const struct ggml_tensor *tensor);
    bool (*is_host)(struct ggml_backend_buffer_type *type);
    void *device;
    void *context; /* of an extra buffer type: its C++ object, a struct extra_buffer_type */
};

struct ggml_backend_buffer {
    void (*free_buffer)(struct ggml_backend_buffer *buffer);
    void *(*get_base)(struct ggml_backend_buffer *buffer);
    int (*init_tensor)(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor);
    void (*memset_tensor)(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor, uint8_t value, size_t offset,
                          size_t size);
    void (*set_tensor)(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor, const void *data, size_t offset,
                       size_t size);
    void (*get_tensor)(struct ggml_backend_buffer *buffer, const struct ggml_tensor *tensor, void *data, size_t offset,
                       size_t size);
    void (*set_tensor_2d)(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor, const void *data,
                          size_t offset, size_t size, size_t n_copies, size_t stride_tensor, size_t stride_data);
    void (*get_tensor_2d)(struct ggml_backend_buffer *buffer, const struct ggml_tensor *tensor, void *data,
                          size_t offset, size_t size, size_t n_copies, size_t stride_tensor, size_t stride_data);
    bool (*cpy_tensor)(struct ggml_backend_buffer *buffer, const struct ggml_tensor *src, struct ggml_tensor *dst);
    void (*clear)(struct ggml_backend_buffer *buffer, uint8_t value);
    void (*reset)(struct ggml_backend_buffer *buffer);
    struct ggml_backend_buffer_type *type;
    void *context;
    size_t size;
    int usage;
};

/* ggml::cpu::tensor_traits: computes an operation. */
struct tensor_traits {
    const struct tensor_traits_functions *functions;
};
struct tensor_traits_functions {
    void (*destroy)(struct tensor_traits *self);
    void (*destroy_and_free)(struct tensor_traits *self);
    bool (*work_size)(struct tensor_traits *self, int n_threads, const struct ggml_tensor *op, size_t *size);
    bool (*compute_forward)(struct tensor_traits *self, struct ggml_compute_params *params, struct ggml_tensor *op);
};

/* ggml::cpu::extra_buffer_type: asked for every operation of a graph. */
struct extra_buffer_type {
    const struct extra_buffer_type_functions *functions;
};
struct extra_buffer_type_functions {
    void (*destroy)(struct extra_buffer_type *self);
    void (*destroy_and_free)(struct extra_buffer_type *self);
    bool (*supports_op)(struct extra_buffer_type *self, void *device, const struct ggml_tensor *op);
    struct tensor_traits *(*get_tensor_traits)(struct extra_buffer_type *self, const struct ggml_tensor *op);
};

/* std::vector<ggml_backend_buffer_type *>, as libstdc++ and libc++ have it. */
struct buffer_type_vector {
    struct ggml_backend_buffer_type **begin, **end, **end_of_storage;
};

#endif
