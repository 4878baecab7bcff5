/* ggml/abi.h beside ggml's own headers: compiling this is the test. Without -DINTERNAL only the public ones are needed. */
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "ggml.h"
#if defined(INTERNAL)
#include "ggml-backend-impl.h"
#include "ggml-cpu/traits.h" /* includes ggml-cpu-impl.h */
#endif

namespace ours {
#include "../ggml/abi.h"
}

#define SAME_NUMBER(name) static_assert((int)ours::name == (int)::name, #name)
#define SAME_SIZE(a, b) static_assert(sizeof(ours::a) == sizeof(b), #a)
#define SAME_PLACE(a, member, b, path) static_assert(offsetof(ours::a, member) == offsetof(b, path), #a "." #member)

SAME_NUMBER(GGML_TYPE_F32);
SAME_NUMBER(GGML_TYPE_F16);
SAME_NUMBER(GGML_TYPE_Q4_0);
SAME_NUMBER(GGML_TYPE_Q4_1);
SAME_NUMBER(GGML_TYPE_Q8_0);
SAME_NUMBER(GGML_TYPE_Q4_K);
SAME_NUMBER(GGML_TYPE_Q5_K);
SAME_NUMBER(GGML_TYPE_Q6_K);
SAME_NUMBER(GGML_TYPE_BF16);
SAME_NUMBER(GGML_OP_MUL_MAT);
SAME_NUMBER(GGML_OP_FLASH_ATTN_EXT);
SAME_NUMBER(GGML_OP_UNARY);
SAME_NUMBER(GGML_UNARY_OP_GELU);

#define TENSOR(member) SAME_PLACE(ggml_tensor, member, ::ggml_tensor, member)
SAME_SIZE(ggml_tensor, ::ggml_tensor);
TENSOR(type);
TENSOR(buffer);
TENSOR(ne);
TENSOR(nb);
TENSOR(op);
TENSOR(op_params);
TENSOR(flags);
TENSOR(src);
TENSOR(view_src);
TENSOR(view_offs);
TENSOR(data);
TENSOR(name);
TENSOR(extra);
TENSOR(padding);
SAME_SIZE(buffer_type_vector, std::vector<void *>);

#if defined(INTERNAL)
#define PARAMS(member) SAME_PLACE(ggml_compute_params, member, ::ggml_compute_params, member)
SAME_SIZE(ggml_compute_params, ::ggml_compute_params);
PARAMS(ith);
PARAMS(nth);
PARAMS(wsize);
PARAMS(wdata);
PARAMS(threadpool);
PARAMS(use_ref);

#define TYPE(member) SAME_PLACE(ggml_backend_buffer_type, member, ::ggml_backend_buffer_type, iface.member)
SAME_SIZE(ggml_backend_buffer_type, ::ggml_backend_buffer_type);
TYPE(get_name);
TYPE(alloc_buffer);
TYPE(get_alignment);
TYPE(get_max_size);
TYPE(get_alloc_size);
TYPE(is_host);
SAME_PLACE(ggml_backend_buffer_type, device, ::ggml_backend_buffer_type, device);
SAME_PLACE(ggml_backend_buffer_type, context, ::ggml_backend_buffer_type, context);

#define BUFFER(member) SAME_PLACE(ggml_backend_buffer, member, ::ggml_backend_buffer, iface.member)
SAME_SIZE(ggml_backend_buffer, ::ggml_backend_buffer);
BUFFER(free_buffer);
BUFFER(get_base);
BUFFER(init_tensor);
BUFFER(memset_tensor);
BUFFER(set_tensor);
BUFFER(get_tensor);
BUFFER(set_tensor_2d);
BUFFER(get_tensor_2d);
BUFFER(cpy_tensor);
BUFFER(clear);
BUFFER(reset);
SAME_PLACE(ggml_backend_buffer, type, ::ggml_backend_buffer, buft);
SAME_PLACE(ggml_backend_buffer, context, ::ggml_backend_buffer, context);
SAME_PLACE(ggml_backend_buffer, size, ::ggml_backend_buffer, size);
SAME_PLACE(ggml_backend_buffer, usage, ::ggml_backend_buffer, usage);

/* Virtual functions have no offsets to compare, but a call through ggml's class must reach ours. */
static const void *called, *with;

static bool supports_op(void *self, void *, const ::ggml_tensor *op) {
    called = self, with = op;
    return true;
}

static void *get_tensor_traits(void *self, const ::ggml_tensor *op) {
    called = self, with = op;
    return nullptr;
}

static bool work_size(void *self, int n_threads, const ::ggml_tensor *op, size_t *size) {
    called = self, with = op, *size = (size_t)n_threads;
    return true;
}

static bool compute_forward(void *self, ::ggml_compute_params *, ::ggml_tensor *op) {
    called = self, with = op;
    return true;
}

template <class To, class From> static void place(To &slot, From *function) {
    slot = reinterpret_cast<To>(function);
}

int main() {
    ours::extra_buffer_type_functions of_type = {};
    place(of_type.supports_op, supports_op);
    place(of_type.get_tensor_traits, get_tensor_traits);
    ours::tensor_traits_functions of_traits = {};
    place(of_traits.work_size, work_size);
    place(of_traits.compute_forward, compute_forward);
    ours::extra_buffer_type type = {&of_type};
    ours::tensor_traits traits = {&of_traits};
    auto *extra = reinterpret_cast<ggml::cpu::extra_buffer_type *>(&type);
    auto *computes = reinterpret_cast<ggml::cpu::tensor_traits *>(&traits);
    ::ggml_tensor op = {};
    ::ggml_compute_params params = {};
    size_t size = 0;
    const auto reached = [&](const void *self) {
        const bool yes = called == self && with == &op;
        called = with = nullptr;
        return yes;
    };
    bool whole = extra->supports_op(nullptr, &op) && reached(&type);
    whole = !extra->get_tensor_traits(&op) && reached(&type) && whole;
    whole = computes->work_size(7, &op, size) && size == 7 && reached(&traits) && whole;
    whole = computes->compute_forward(&params, &op) && reached(&traits) && whole;
    return whole ? 0 : 1;
}
#else
int main() { return 0; }
#endif
