/* The functions of include/cgk_cuda.h for a caller whose memory is the host's. cgk_cuda.cu includes this at its end. */

static bool good(cudaError_t error) { return error == cudaSuccess; }

/* A block of memory on a device, and the copy of its beginning on the host. */
struct cgk_cuda_scratch {
    int device;
    size_t bytes;
    char *on_device, *on_host;
    size_t host_bytes;
};

/* Where the parts of a call lie in that block. What goes to the device comes first, masks last. */
struct parts {
    size_t params, logits, banned, results, status, masks, end;
};

static struct parts parts_of(uint32_t n_rows, uint32_t n_vocab, uint32_t n_masks) {
    struct parts at;
    at.params = 0;
    at.logits = at.params + n_rows * sizeof(cgk_sample_params);
    at.banned = at.logits + n_rows * sizeof(float *);
    at.results = at.banned + n_rows * sizeof(uint8_t *);
    at.status = at.results + n_rows * sizeof(cgk_sample_result);
    at.masks = at.status + n_rows * sizeof(cgk_status);
    at.end = at.masks + (size_t)n_masks * n_vocab;
    return at;
}

static void release(cgk_cuda_scratch *scratch) {
    cudaFree(scratch->on_device);
    cudaFreeHost(scratch->on_host);
    memset(scratch, 0, sizeof *scratch);
}

static bool reserve(cgk_cuda_scratch *scratch, int device, const struct parts *at) {
    if (scratch->device == device && scratch->bytes >= at->end && scratch->host_bytes >= at->masks) {
        return true;
    }
    release(scratch);
    void *on_device = NULL, *on_host = NULL;
    const bool made = good(cudaMalloc(&on_device, at->end)) && good(cudaMallocHost(&on_host, at->masks));
    scratch->on_device = (char *)on_device;
    scratch->on_host = (char *)on_host;
    scratch->device = device;
    scratch->bytes = made ? at->end : 0;
    scratch->host_bytes = made ? at->masks : 0;
    return made;
}

/* The device that has this memory; -1 if it is the host's. */
static int device_of(const void *memory) {
    cudaPointerAttributes about;
    if (!good(cudaPointerGetAttributes(&about, memory))) {
        cudaGetLastError(); /* older versions fail for memory that CUDA does not know: forget that */
        return -1;
    }
    return about.type == cudaMemoryTypeDevice || about.type == cudaMemoryTypeManaged ? about.device : -1;
}

/* The index of each row's mask among the different ones, or -1, in `which`; returns how many there are. */
static uint32_t different(const uint8_t *const *banned, uint32_t n_rows, int32_t *which) {
    uint32_t n_masks = 0;
    for (uint32_t row = 0; row < n_rows; row++) {
        which[row] = -1;
        for (uint32_t other = 0; other < row && banned && banned[row] && which[row] < 0; other++) {
            which[row] = banned[other] == banned[row] ? which[other] : -1;
        }
        if (banned && banned[row] && which[row] < 0) {
            which[row] = (int32_t)n_masks++;
        }
    }
    return n_masks;
}

static cgk_status sample_there(const float *const *logits, const uint8_t *const *banned, const int32_t *which,
                               uint32_t n_rows, uint32_t n_vocab, const cgk_sample_params *params,
                               cgk_cuda_scratch *scratch, const struct parts *at, cgk_sample_result *results) {
    char *host = scratch->on_host, *device = scratch->on_device;
    const uint8_t **masks = (const uint8_t **)(void *)(host + at->banned);
    bool fine = true;
    int32_t copied = -1;
    memcpy(host + at->params, params, n_rows * sizeof *params);
    memcpy(host + at->logits, logits, n_rows * sizeof *logits);
    for (uint32_t row = 0; row < n_rows; row++) {
        char *mask = which[row] < 0 ? NULL : device + at->masks + (size_t)which[row] * n_vocab;
        masks[row] = (const uint8_t *)mask;
        if (which[row] > copied) {
            copied = which[row];
            fine = fine && good(cudaMemcpyAsync(mask, banned[row], n_vocab, cudaMemcpyHostToDevice, cudaStreamPerThread));
        }
    }
    fine = fine && good(cudaMemcpyAsync(device, host, at->results, cudaMemcpyHostToDevice, cudaStreamPerThread)) &&
           cgk_cuda_sample_rows((const float *const *)(void *)(device + at->logits),
                                (const uint8_t *const *)(void *)(device + at->banned), n_rows, n_vocab,
                                (const cgk_sample_params *)(void *)(device + at->params),
                                (cgk_sample_result *)(void *)(device + at->results),
                                (cgk_status *)(void *)(device + at->status), (void *)cudaStreamPerThread) == CGK_OK &&
           good(cudaMemcpyAsync(host + at->results, device + at->results, at->masks - at->results,
                                cudaMemcpyDeviceToHost, cudaStreamPerThread)) &&
           good(cudaStreamSynchronize(cudaStreamPerThread));
    if (!fine) {
        return CGK_ERROR_DEVICE;
    }
    memcpy(results, host + at->results, n_rows * sizeof *results);
    const cgk_status *status = (const cgk_status *)(void *)(host + at->status);
    for (uint32_t row = 0; row < n_rows; row++) {
        if (status[row] != CGK_OK) {
            return status[row];
        }
    }
    return CGK_OK;
}

extern "C" {

CGK_API const char *cgk_cuda_device(void) {
    static cudaDeviceProp about;
    return good(cudaGetDeviceProperties(&about, 0)) && about.major >= 8 ? about.name : NULL;
}

CGK_API cgk_cuda_scratch *cgk_cuda_scratch_new(void) { return (cgk_cuda_scratch *)calloc(1, sizeof(cgk_cuda_scratch)); }

CGK_API void cgk_cuda_scratch_free(cgk_cuda_scratch *scratch) {
    if (scratch) {
        release(scratch);
        free(scratch);
    }
}

CGK_API cgk_status cgk_cuda_host_sample_rows(const float *const *logits, const uint8_t *const *banned, uint32_t n_rows,
                                             uint32_t n_vocab, const cgk_sample_params *params,
                                             cgk_cuda_scratch *scratch, cgk_sample_result *results) {
    if (n_rows == 0) {
        return CGK_OK;
    }
    if (!logits || !params || !results || !scratch || n_vocab < 1 || n_vocab > CGK_VOCAB_MAX) {
        return CGK_ERROR_PARAMETER;
    }
    const int device = device_of(logits[0]);
    int before = 0;
    int32_t *which = (int32_t *)malloc(n_rows * sizeof *which);
    cgk_status status = which && device >= 0 ? CGK_ERROR_DEVICE : CGK_ERROR_PARAMETER;
    if (which && device >= 0 && good(cudaGetDevice(&before)) && good(cudaSetDevice(device))) {
        const struct parts at = parts_of(n_rows, n_vocab, different(banned, n_rows, which));
        if (reserve(scratch, device, &at)) {
            status = sample_there(logits, banned, which, n_rows, n_vocab, params, scratch, &at, results);
        }
        cudaSetDevice(before);
    }
    free(which);
    return status;
}

CGK_API bool cgk_cuda_note_output(void *tensor, bool ask, void *output) {
    cgk_cuda_output *noted = (cgk_cuda_output *)output;
    if (strcmp(noted->ggml_get_name(tensor), "result_output") != 0) {
        return !ask; /* asked, false means that nobody waits for it; afterwards, true means to go on */
    }
    if (!ask) {
        const void *data = noted->ggml_get_data(tensor);
        noted->n_tensors++;
        noted->n_rows = noted->ggml_nrows(tensor);
        noted->logits = device_of(data) < 0 ? NULL : (const float *)data;
    }
    return true;
}
}
