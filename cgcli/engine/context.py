"""A llama.cpp context: a KV cache for several sequences, and the passes over the weights that fill it.

It does not know what a sequence is for; `cache` tracks what lies where.

It overrides llama.cpp's choice of attention. Our own (kernels/ggml/attention.h) takes the place of llama.cpp's flash
attention, so with it that is on: it is the faster one for any number of rows and cells, and a row has the same bits
whatever other rows its pass has, as long as a sequence's cells lie in order.

Where ours does not run, flash attention is off on the CPU: a token at 1,536 tokens of context takes 56 ms with it and
32 without (350M shape, AVX2), and on an AVX-512 processor passes of 4 to 16 rows take 1.6 to 4 times as long with it
from 512 tokens on; only reading prompts is faster, by a fifth. With `exact` it is on: it has three code paths, chosen
by the numbers of rows and cells, but with keys in f16 and values in bf16 only the plain one remains, which walks over a
row's own cells in order and skips all others (some quantizations also need a number of rows: see `Model.padded`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from cgcli.core.errors import CgcliError
from cgcli.core.machine import thread_count
from cgcli.engine.binding import ggml, llama
from cgcli.engine.model import Model
from cgcli.native import cuda

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_F16, _BF16 = 1, 30  # of ggml.h's enum ggml_type
_OFF, _ON = 0, 1  # of llama.h's enum llama_flash_attn_type
_SCORES = 1 << 28  # bytes that the attention scores of a pass may take
MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ


@dataclass(frozen=True)
class Capture:
    """Tensors to copy during a pass, through an eval callback of ggml's scheduler."""

    names: frozenset[str]  # `l_out-3` is the output of layer 3
    receive: Callable[[str, NDArray[np.float32]], None]  # called with a name and a copy, float32 [rows, columns]

    def callback(self) -> Callable[[int, bool, object], bool]:
        """The eval callback."""
        import numpy as np

        class Tensor(ctypes.Structure):  # the head of struct ggml_tensor, as far as `nb`
            _fields_ = (
                ("type", ctypes.c_int),
                ("buffer", ctypes.c_void_p),
                ("ne", ctypes.c_int64 * 4),
                ("nb", ctypes.c_size_t * 4),
            )

        api = ggml()
        api.ggml_get_name.restype = ctypes.c_char_p
        api.ggml_get_name.argtypes = [ctypes.c_void_p]
        api.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]

        def on_tensor(address: int, ask: bool, _data: object) -> bool:
            name = api.ggml_get_name(address).decode()
            if name not in self.names:
                return not ask  # when asked, False means "skip this one"; afterwards True means "continue"
            if not ask:
                tensor = Tensor.from_address(address)
                values = np.empty((tensor.ne[1], tensor.ne[0]), np.float32)
                api.ggml_backend_tensor_get(address, values.ctypes.data, 0, values.nbytes)
                self.receive(name, values)
            return True

        return on_tensor


Layout = Literal["shared", "exact", "separate"]
"""How sequences lie in the cache. shared: together, so that they can share cells · exact: shared, and a row's bits do
not depend on the other rows (CPU only) · separate: each has its share of the cells, and attends over no others."""


class Row(NamedTuple):
    """A token of a pass."""

    token: int
    position: int  # in its sequence
    sequence: int = 0
    wanted: bool = False  # whether its logits are needed


class Context:
    """A KV cache of `n_ctx` cells, for sequences 0 to `sequences` - 1 together."""

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int = 512,
        sequences: int = 1,
        threads: int | None = None,
        layout: Layout = "shared",
        abort: int | None = None,
        capture: Capture | None = None,
    ) -> None:
        """Create a context. Raises CgcliError if there is not enough memory.

        n_batch: maximum rows of a pass
        abort: address of a C function `bool (*)(void *)` that is called between the steps of a pass (CPU only)
        capture: receives tensors during a pass
        """
        lib = llama()
        self.model = model
        self.n_batch = n_batch
        self.separate = layout == "separate"
        self.pointer = None
        params = lib.api.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = n_batch
        params.n_ubatch = n_batch
        params.n_seq_max = sequences
        params.kv_unified = not self.separate
        params.n_threads = params.n_threads_batch = threads or thread_count()
        params.no_perf = True
        if model.own_attention:
            params.flash_attn_type = _ON
        elif layout == "exact":
            params.flash_attn_type, params.type_k, params.type_v = _ON, _F16, _BF16
        elif model.gpu_layers == 0:
            params.flash_attn_type = _OFF
            attended = n_ctx // sequences if self.separate else n_ctx
            params.n_ubatch = max(64, min(n_batch, _SCORES // (4 * attended * max(1, model.n_head))))
        # llama.cpp keeps the addresses of what follows, so it lives as long as the context.
        self._capture = lib.api.ggml_backend_sched_eval_callback(capture.callback()) if capture else None
        self._abort = lib.api.ggml_abort_callback(abort) if abort else None
        self._output = cuda.NotedOutput.of(ggml()) if model.gpu_sampling and not capture else None
        self._wanted = 0  # rows of the last pass
        if self._capture:
            params.cb_eval = self._capture
        if self._output:
            params.cb_eval = lib.api.ggml_backend_sched_eval_callback(self._output.callback_address)
            params.cb_eval_user_data = ctypes.addressof(self._output)
        if self._abort:
            params.abort_callback = self._abort
        lib.forget_error()
        self.pointer = lib.api.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            reason = lib.last_error("not enough memory")
            raise CgcliError(
                f"cannot create a context of {n_ctx} tokens for {model.path.name}: {reason}",
                hint="use a smaller --ctx or a smaller model",
            )
        self.memory = lib.api.llama_get_memory(self.pointer)
        self.n_ctx: int = lib.api.llama_n_ctx(self.pointer)
        self._batch = lib.api.llama_batch_init(n_batch, 0, 1)

    def run(self, rows: Sequence[Row]) -> bool:
        """One pass over the weights with 1 to `n_batch` rows; those of a sequence are in order and adjacent.

        Returns False if the abort callback stopped it; the cache may then have some of it.
        """
        batch = self._batch
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        batch.n_tokens = len(rows)
        self._wanted = sum(row.wanted for row in rows)
        if self._output:
            self._output.n_tensors = 0
        lib = llama()
        status = lib.api.llama_decode(self.pointer, batch)
        if status == 2:
            return False
        if status != 0:
            raise CgcliError(
                f"llama.cpp could not decode {len(rows)} tokens with {self.n_ctx} cells: "
                + lib.last_error(f"status {status}")
            )
        return True

    def decode(self, tokens: Sequence[int], *, at: int = 0, outputs: Collection[int] | None = None) -> bool:
        """One pass with tokens at positions at, at+1, … of sequence 0.

        outputs: indices in `tokens` whose logits are needed; None means the last one only. Returns like `run`.
        """
        wanted = {len(tokens) - 1} if outputs is None else set(outputs)
        return self.run([Row(token, at + i, 0, i in wanted) for i, token in enumerate(tokens)])

    def logits(self, index: int) -> NDArray[np.float32]:
        """The logits after row `index` of the last pass: float32 [n_vocab], overwritten by the next pass."""
        import numpy as np

        pointer = ctypes.cast(self.logits_address(index), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab,))

    def logits_address(self, index: int) -> int:
        """The address of these logits; index as in `logits`. Wanted rows lie one after the other."""
        pointer = llama().api.llama_get_logits_ith(self.pointer, index)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if address is None:
            raise IndexError(f"no logits at {index}: the last pass did not compute them")
        return address

    def gpu_logits_address(self) -> int | None:
        """The address of the last pass's logits in a GPU's memory, its wanted rows one after the other.

        None if they are not there, or libcgk_cuda is not: then they are only where `logits_address` says.
        """
        return self._output.address(self._wanted) if self._output else None

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Add the cells of positions start to end - 1 of one sequence to another.

        With `separate` this copies values; then start is 0, and the target is empty. Otherwise the cells are shared.
        """
        if self.separate:  # llama.cpp copies whole sequences only
            llama().api.llama_memory_seq_cp(self.memory, source, target, -1, -1)
            self.remove(target, end)
        else:
            llama().api.llama_memory_seq_cp(self.memory, source, target, start, end)

    def remove(self, sequence: int, start: int = 0) -> None:
        """Remove a sequence from position `start` on, and free the cells that no other sequence has.

        A model with a recurrent state can only remove a whole sequence (see `Model.recurrent`).
        """
        llama().api.llama_memory_seq_rm(self.memory, sequence, start, -1)

    def restore(self, sequence: int, state: ctypes.Array[ctypes.c_uint8]) -> bool:
        """Fill an empty sequence with a saved state; False if that does not fit."""
        return bool(llama().api.llama_state_seq_set_data(self.pointer, state, len(state), sequence))

    def clear(self) -> None:
        """Remove all sequences."""
        llama().api.llama_memory_clear(self.memory, False)

    def close(self) -> None:
        if self.pointer:
            api = llama().api
            api.llama_batch_free(self._batch)
            api.llama_free(self.pointer)
            self.pointer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
