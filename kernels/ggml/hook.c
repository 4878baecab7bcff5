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

enum { ALIGNMENT = 64, CHUNK_BYTES = 256 << 10 }; /* a chunk stays in a processor's cache */
enum { BUFFERS_MAX = 64, HUGE_PAGE = 2 << 20 };

#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23 /* of Linux 5.14; elsewhere an error, which changes nothing */
#endif
#if !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25 /* of Linux 6.1 */
#endif

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

/* A matrix that is being packed, in chunks of panels that threads take one after the other. Nobody waits for a thread
 * that has not got a processor yet: the last one to leave frees this. */
struct packing {
    const struct ggml_tensor *matrix;
    const char *data; /* of ggml's */
    int64_t panels, chunk, chunks;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t all_done;
    int64_t next, done; /* chunks */
    int threads;
};

/* Tell the system something about the whole pages of a range. */
static void advise(const char *start, const char *end, int advice) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *first = start + (page - (uintptr_t)start % page) % page, *last = end - (uintptr_t)end % page;
    if (first < last) {
        madvise((void *)(uintptr_t)first, (size_t)(last - first), advice);
    }
}

/* New pages for the panels, all at once, which takes two thirds of the time of one by one. What has been packed leaves
 * this process's memory: pages of a mapped file, which stay in the system's cache. */
static void pack_chunk(const struct packing *packing, int64_t chunk) {
    const struct ggml_tensor *matrix = packing->matrix;
    const struct format *format = format_of(matrix->type);
    const int64_t first = chunk * packing->chunk, left = packing->panels - first;
    const int64_t end = first + (left < packing->chunk ? left : packing->chunk);
    const int64_t last = end * PANEL < matrix->ne[1] ? end * PANEL : matrix->ne[1];
    const size_t bytes = panel_bytes(format, matrix->ne[0]);
    char *panels = matrix->data;
    advise(panels + (size_t)first * bytes, panels + (size_t)end * bytes, MADV_POPULATE_WRITE);
    pack_panels(format, packing->data, matrix->ne[0], matrix->ne[1], first, end, matrix->data);
    advise(packing->data + (size_t)(first * PANEL) * matrix->nb[1], packing->data + (size_t)last * matrix->nb[1],
           MADV_DONTNEED);
}

/* A thread's part. */
static void pack(struct packing *packing) {
    pthread_mutex_lock(&packing->lock);
    while (packing->next < packing->chunks) {
        const int64_t chunk = packing->next++;
        pthread_mutex_unlock(&packing->lock);
        pack_chunk(packing, chunk);
        pthread_mutex_lock(&packing->lock);
        if (++packing->done == packing->chunks) {
            pthread_cond_signal(&packing->all_done);
        }
    }
    pthread_mutex_unlock(&packing->lock);
}

static void leave(struct packing *packing) {
    pthread_mutex_lock(&packing->lock);
    const bool last = --packing->threads == 0;
    pthread_mutex_unlock(&packing->lock);
    if (last) {
        pthread_cond_destroy(&packing->all_done);
        pthread_mutex_destroy(&packing->lock);
        free(packing);
    }
}

static void *help(void *packing) {
    pack(packing);
    leave(packing);
    return NULL;
}

/* ggml sets a matrix in one piece. */
static void set_tensor(struct ggml_backend_buffer *buffer, struct ggml_tensor *tensor, const void *data, size_t offset,
                       size_t size) {
    (void)buffer, (void)size;
    struct packing *packing = malloc(sizeof *packing);
    if (offset != 0 || !packing) {
        abort();
    }
    const size_t bytes = panel_bytes(format_of(tensor->type), tensor->ne[0]);
    const int64_t panels = (tensor->ne[1] + PANEL - 1) / PANEL;
    const int64_t chunk = bytes < CHUNK_BYTES ? (int64_t)(CHUNK_BYTES / bytes) : 1, chunks = (panels + chunk - 1) / chunk;
    const int threads = packing_threads < chunks ? packing_threads : (int)chunks;
    *packing = (struct packing){.matrix = tensor, .data = data, .panels = panels, .chunk = chunk, .chunks = chunks,
                                .threads = threads};
    pthread_mutex_init(&packing->lock, NULL);
    pthread_cond_init(&packing->all_done, NULL);
    pthread_t thread;
    for (int i = 1; i < threads; i++) {
        if (pthread_create(&thread, NULL, help, packing) == 0) {
            pthread_detach(thread);
        } else {
            leave(packing);
        }
    }
    pack(packing);
    pthread_mutex_lock(&packing->lock);
    while (packing->done < packing->chunks) {
        pthread_cond_wait(&packing->all_done, &packing->lock);
    }
    pthread_mutex_unlock(&packing->lock);
    leave(packing);
}

/* What may still be moved to huge pages. A buffer may be freed before: advice changes nothing in memory, whose it is. */
static struct {
    pthread_mutex_t lock;
    int n;
    struct range {
        char *start, *end;
    } of[BUFFERS_MAX];
} unsettled = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void settle_later(char *start, size_t size) {
    pthread_mutex_lock(&unsettled.lock);
    if (unsettled.n < BUFFERS_MAX) {
        unsettled.of[unsettled.n++] = (struct range){start, start + size};
    }
    pthread_mutex_unlock(&unsettled.lock);
}

bool cgk_ggml_settle(void) {
    char *page = NULL;
    pthread_mutex_lock(&unsettled.lock);
    const bool more = unsettled.n > 0;
    if (more) {
        struct range *last = &unsettled.of[unsettled.n - 1];
        page = last->start + (HUGE_PAGE - (uintptr_t)last->start % HUGE_PAGE) % HUGE_PAGE;
        if (page + HUGE_PAGE <= last->end) {
            last->start = page + HUGE_PAGE;
        } else {
            page = NULL;
            unsettled.n--;
        }
    }
    pthread_mutex_unlock(&unsettled.lock);
    if (page) {
        madvise(page, HUGE_PAGE, MADV_COLLAPSE);
    }
    return more;
}

static const char *get_name(struct ggml_backend_buffer_type *type) {
    (void)type;
    return "CPU_CGK";
}

static struct ggml_backend_buffer *alloc_buffer(struct ggml_backend_buffer_type *type, size_t size) {
    struct ggml_backend_buffer *buffer = ggml.allocate(ggml.plain_type(), size);
    if (buffer) {
        settle_later(buffer->get_base(buffer), size);
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

bool cgk_ggml_choose(const char *tier) { return choose_product_tier(tier); }

const char *cgk_ggml_register(const void *inside, void *device, int threads) {
    static const struct extra_buffer_type_functions functions = {do_nothing, do_nothing, supports_op,
                                                                 get_tensor_traits};
    static struct extra_buffer_type extra = {&functions};
    enum { OBJECT_BYTES = 32 }; /* struct ggml_object, which ggml_tensor_overhead counts, too */
    packing_threads = threads < 1 ? 1 : threads;
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
