/* A buffer type of our own in ggml's CPU back end: it keeps matrices in panels, and computes what `operations` lists.
 *
 * ggml has a list of extra buffer types. Loading a model, it takes the first that supports a matrix; running a pass, it
 * asks each of them for every node. Ours goes to the front of that list, before ggml copies it at the first load.
 * Products then run in ggml's own threads, in the one split of the CPU. Nothing here is linked to ggml: everything is
 * found in the library that is loaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgk_ggml.h"
#include "operation.h"
#include "product.h"

enum { THREADS_MAX = 64, ALIGNMENT = 64 };

static struct ggml_backend_buffer_type own_type;
static int packing_threads = 1;
static atomic_bool in_use = true;

/* What is called in ggml. */
static struct {
    const char *(*version)(void);
    size_t (*tensor_overhead)(void);
    void (*barrier)(struct ggml_threadpool *pool);
    struct ggml_backend_buffer_type *(*plain_type)(void);
    struct ggml_backend_buffer *(*allocate)(struct ggml_backend_buffer_type *type, size_t size);
    struct buffer_type_vector *(*extra_types)(void);
} ggml;

void cgk_barrier(const struct ggml_compute_params *params) { ggml.barrier(params->threadpool); }

/* --- the matrices --- */

struct packing {
    pthread_t thread;
    const struct ggml_tensor *tensor;
    const void *data;
    int64_t first, end; /* panels */
};

/* Take the whole pages of a range of a mapped file out of this process's memory; they stay in the system's cache. */
static void forget(const char *start, const char *end) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *first = start + (page - (uintptr_t)start % page) % page, *last = end - (uintptr_t)end % page;
    if (first < last) {
        madvise((void *)(uintptr_t)first, (size_t)(last - first), MADV_DONTNEED);
    }
}

static void *pack(void *argument) {
    const struct packing *share = argument;
    const struct ggml_tensor *matrix = share->tensor;
    const int64_t end = share->end * PANEL < matrix->ne[1] ? share->end * PANEL : matrix->ne[1];
    const char *data = share->data;
    pack_panels(format_of(matrix->type), data, matrix->ne[0], matrix->ne[1], share->first, share->end, matrix->data);
    forget(data + (size_t)(share->first * PANEL) * matrix->nb[1], data + (size_t)end * matrix->nb[1]);
    return NULL;
}

/* ggml sets a matrix in one piece. */
static void set_tensor(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor, const void *data, size_t offset,
                       size_t size) {
    (void)buffer, (void)size;
    if (offset != 0) {
        abort();
    }
    const int64_t panels = (tensor->ne[1] + PANEL - 1) / PANEL;
    struct packing shares[THREADS_MAX];
    int started = 0;
    const int threads = packing_threads < panels ? packing_threads : (int)panels;
    for (int i = 0; i < threads; i++) {
        const int64_t first = panels * i / threads, end = panels * (i + 1) / threads;
        shares[i] = (struct packing){.tensor = tensor, .data = data, .first = first, .end = end};
    }
    while (started < threads - 1 && pthread_create(&shares[started].thread, NULL, pack, &shares[started]) == 0) {
        started++;
    }
    for (int i = started; i < threads; i++) { /* the last share, and those that got no thread */
        pack(&shares[i]);
    }
    for (int i = 0; i < started; i++) {
        pthread_join(shares[i].thread, NULL);
    }
}

static const char *get_name(struct ggml_backend_buffer_type *type) {
    (void)type;
    return "CPU_CGK";
}

static struct ggml_backend_buffer *alloc_buffer(struct ggml_backend_buffer_type *type, size_t size) {
    struct ggml_backend_buffer *buffer = ggml.allocate(ggml.plain_type(), size);
    if (buffer) {
        buffer->type = type;
        buffer->init_tensor = NULL;
        buffer->set_tensor = set_tensor;
        buffer->get_tensor = NULL; /* as in ggml's own: what is packed stays packed */
        buffer->cpy_tensor = NULL;
    }
    return buffer;
}

static size_t get_alignment(struct ggml_backend_buffer_type *type) {
    (void)type;
    return ALIGNMENT;
}

static size_t get_alloc_size(struct ggml_backend_buffer_type *type, const struct ggml_tensor *tensor) {
    (void)type;
    return matrix_bytes(format_of(tensor->type), tensor->ne[0], tensor->ne[1]);
}

/* --- the operations --- */

static const struct operation *operation_of(const struct ggml_tensor *op) {
    switch (op->op) {
    case GGML_OP_MUL_MAT: return op->src[0]->buffer && op->src[0]->buffer->type == &own_type ? &product : NULL;
    case GGML_OP_FLASH_ATTN_EXT: return &attention;
    case GGML_OP_UNARY: return op->op_params[0] == GGML_UNARY_OP_GELU ? &gelu : NULL;
    default: return NULL;
    }
}

static void nothing(struct tensor_traits *self) { (void)self; }

static bool work_size(struct tensor_traits *self, int n_threads, const struct ggml_tensor *op, size_t *size) {
    (void)self;
    *size = operation_of(op)->work_size(op, n_threads);
    return true;
}

static bool compute_forward(struct tensor_traits *self, struct ggml_compute_params *params, struct ggml_tensor *op) {
    (void)self;
    operation_of(op)->compute(params, op);
    return true;
}

static struct tensor_traits *get_tensor_traits(struct extra_buffer_type *self, const struct ggml_tensor *op) {
    static const struct tensor_traits_functions functions = {nothing, nothing, work_size, compute_forward};
    static struct tensor_traits traits = {&functions};
    (void)self;
    const struct operation *found = operation_of(op);
    return found && found->takes(op) ? &traits : NULL;
}

/* Asked for nodes with a source in our memory, and before for each matrix of a model that is about to be loaded. */
static bool supports_op(struct extra_buffer_type *self, void *device, const struct ggml_tensor *op) {
    (void)device;
    const bool loading = op->src[0] && !op->src[0]->data;
    return (!loading || atomic_load(&in_use)) && get_tensor_traits(self, op) != NULL;
}

static void do_nothing(struct extra_buffer_type *self) { (void)self; }

/* --- registering --- */

static const char *find(void *library, const char *name, void *place) {
    void *found = dlsym(library, name);
    memcpy(place, &found, sizeof found);
    return found ? NULL : name;
}

/* The functions of the library that has the address `inside`, and of those that it needs. Returns a missing name. */
static const char *find_all(const void *inside) {
    Dl_info about;
    void *library = dladdr(inside, &about) ? dlopen(about.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (!library) {
        return "the library of the CPU back end";
    }
    const struct {
        const char *name;
        void *place;
    } wanted[] = {
        {"ggml_version", &ggml.version},
        {"ggml_tensor_overhead", &ggml.tensor_overhead},
        {"ggml_barrier", &ggml.barrier},
        {"ggml_backend_cpu_buffer_type", &ggml.plain_type},
        {"ggml_backend_buft_alloc_buffer", &ggml.allocate},
        /* in C++: ggml_backend_cpu_get_extra_buffer_types() */
        {"_Z39ggml_backend_cpu_get_extra_buffer_typesv", &ggml.extra_types},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (find(library, wanted[i].name, wanted[i].place)) {
            return wanted[i].name;
        }
    }
    return NULL; /* the handle stays open, so that the functions stay */
}

void cgk_ggml_use(bool on) { atomic_store(&in_use, on); }

const char *cgk_ggml_tier(void) { return product_tier()->name; }

const char *cgk_ggml_register(const void *inside, void *device, int threads) {
    static const struct extra_buffer_type_functions functions = {do_nothing, do_nothing, supports_op,
                                                                 get_tensor_traits};
    static struct extra_buffer_type extra = {&functions};
    enum { OBJECT_BYTES = 32 }; /* struct ggml_object, which ggml_tensor_overhead counts, too */
    packing_threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    if (own_type.context) {
        return NULL;
    }
    if (product_tier() == &product_ref) {
        return "this processor has no AVX2";
    }
    static char missing[128] = "ggml has no ";
    const char *name = find_all(inside);
    if (name) {
        strncat(missing, name, sizeof missing - strlen(missing) - 1);
        return missing;
    }
    if (strcmp(ggml.version(), CGK_GGML_VERSION) != 0 ||
        ggml.tensor_overhead() != sizeof(struct ggml_tensor) + OBJECT_BYTES) {
        return "ggml is not version " CGK_GGML_VERSION;
    }
    /* A vector frees its memory with `delete`, which is free() in every C++ library that there is. */
    struct buffer_type_vector *types = ggml.extra_types();
    const size_t count = (size_t)(types->end - types->begin);
    struct ggml_backend_buffer_type **longer = malloc((count + 1) * sizeof *longer);
    if (!longer) {
        return "no memory";
    }
    own_type = (struct ggml_backend_buffer_type){
        .get_name = get_name,
        .alloc_buffer = alloc_buffer,
        .get_alignment = get_alignment,
        .get_alloc_size = get_alloc_size,
        .device = device,
        .context = &extra,
    };
    longer[0] = &own_type;
    for (size_t i = 0; i < count; i++) {
        longer[i + 1] = types->begin[i];
    }
    free(types->begin);
    *types = (struct buffer_type_vector){longer, longer + count + 1, longer + count + 1};
    return NULL;
}
