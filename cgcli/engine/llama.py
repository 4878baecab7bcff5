"""The boundary to llama.cpp: models, contexts, passes, quantization.

It loads a GGUF, turns bytes into token ids and back, and runs passes over the weights. It knows nothing of sampling,
text or programs, and reaches llama.cpp through `binding`, the one file that imports its package.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cgcli.core.errors import CgcliError, Interrupted, ModelFileError, UsageError
from cgcli.engine.binding import ggml, gpu_devices, library
from cgcli.engine.gguf import Header, read_header
from cgcli.engine.threads import thread_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# llama_ftype of every quantization that cgcli stores, smallest loss first.
FTYPES = {"f16": 1, "q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q4_k_m": 15, "q4_0": 2}
QUANTS: tuple[str, ...] = tuple(FTYPES)

Capture = Callable[[str, "NDArray[np.float32]"], None]
"""Called with a tensor's name and a copy of its values, float32 [rows, columns], during a pass."""


def readable(text: bytes) -> bytes:
    """`text` with U+FFFD for what is not UTF-8: what a tokenizer can read."""
    return text.decode("utf-8", "replace").encode()


class Model:
    """The weights and vocabulary of one GGUF file.

    n_vocab: entries of the vocabulary, padding included; n_ctx_train: window in tokens that the model was trained on.
    """

    def __init__(self, path: Path, header: Header, pointer: Any, gpu_layers: int) -> None:
        api = library().api
        self.path = path
        self.header = header
        self.pointer = pointer
        self.gpu_layers = gpu_layers
        self.vocab = api.llama_model_get_vocab(pointer)
        self.n_vocab: int = api.llama_vocab_n_tokens(self.vocab)
        self.n_layer: int = api.llama_model_n_layer(pointer)
        self.n_embd: int = api.llama_model_n_embd(pointer)
        self.n_ctx_train: int = api.llama_model_n_ctx_train(pointer)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        gpu_layers: int | None = None,
        vocab_only: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Model:
        """Load a GGUF. gpu_layers: None takes all that fit, a number is a demand; cancelled: asked on the way.

        Raises ModelFileError for a file that is not a model that llama.cpp can run, UsageError for a demand that
        cannot be met, Interrupted once `cancelled` says so.
        """
        header = read_header(path)  # llama.cpp aborts the process on some wrong headers: this one raises instead
        lib = library()
        devices = gpu_devices()
        if gpu_layers and not devices:
            raise UsageError(
                f"--gpu-layers {gpu_layers}: this llama.cpp has no GPU back end",
                hint="make cuda, or leave the option out",
            )
        layers = _layers_that_fit(header, path, devices) if gpu_layers is None else gpu_layers
        params = lib.api.llama_model_default_params()
        params.n_gpu_layers = layers
        params.vocab_only = vocab_only
        if cancelled:
            params.progress_callback = lib.api.llama_progress_callback(lambda _share, _data: not cancelled())
        lib.errors.clear()
        pointer = lib.api.llama_model_load_from_file(os.fsencode(path), params)
        if not pointer and cancelled and cancelled():
            raise Interrupted
        if not pointer:
            raise ModelFileError(
                f"{path}: {lib.last_error('llama.cpp cannot load this file')}", hint="cgcli models verify"
            )
        return cls(path, header, pointer, layers)

    def tokenize(self, text: bytes) -> list[int]:
        """The ids of `text`, which must be UTF-8: llama.cpp ends the process on some other bytes (see `readable`).

        Special tokens are never parsed out of it: prompts are text.
        """
        api = library().api
        room = len(text) + 8
        tokens = (ctypes.c_int32 * room)()
        count = api.llama_tokenize(self.vocab, text, len(text), tokens, room, False, False)
        if count < 0:
            raise ModelFileError(f"{self.path}: the tokenizer failed on {len(text)} bytes")
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; none for a control token."""
        api = library().api
        buffer = ctypes.create_string_buffer(256)
        count = api.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = api.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[:count]

    @functools.cached_property
    def pieces(self) -> list[bytes]:
        """`piece` of every id: [n_vocab]. About 30 ms for 51,200 entries, so only made where it is needed."""
        return [self.piece(token) for token in range(self.n_vocab)]

    @functools.cached_property
    def end_of_text(self) -> int | None:
        """The id that ends a text; None where the file names none (llama.cpp would make one up)."""
        if "tokenizer.ggml.eos_token_id" not in self.header.metadata:
            return None
        return int(library().api.llama_vocab_eos(self.vocab))

    @functools.cached_property
    def start(self) -> list[int]:
        """The ids that every text starts with: beginning of text where the model wants it, as CodeGen does not."""
        api = library().api
        return [int(api.llama_vocab_bos(self.vocab))] if api.llama_vocab_get_add_bos(self.vocab) else []

    def close(self) -> None:
        if self.pointer:
            library().api.llama_model_free(self.pointer)
            self.pointer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Context:
    """A KV cache of `n_ctx` cells over a model, and the passes that fill it."""

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int = 512,
        threads: int | None = None,
        abort: int | None = None,
        capture: Capture | None = None,
        capture_names: Collection[str] = (),
    ) -> None:
        """abort: address of a C function `bool (*)(void *)` asked between the steps of a pass (CPU only).

        capture: sees the tensors named in `capture_names` (`l_out-3` is what layer 3 puts out) during a pass.
        """
        lib = library()
        self.model = model
        self.n_batch = n_batch
        self.pointer = None
        threads = threads or thread_count()
        params = lib.api.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = n_batch
        params.n_ubatch = n_batch
        params.n_threads = params.n_threads_batch = threads
        params.no_perf = True
        # llama.cpp keeps the addresses of both callbacks: they live as long as the context.
        self._capture = (
            lib.api.ggml_backend_sched_eval_callback(_capturing(capture, frozenset(capture_names))) if capture else None
        )
        self._abort = lib.api.ggml_abort_callback(abort) if abort else None
        if self._capture:
            params.cb_eval = self._capture
        if self._abort:
            params.abort_callback = self._abort
        lib.errors.clear()
        self.pointer = lib.api.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            reason = lib.last_error("not enough memory")
            raise CgcliError(
                f"no context of {n_ctx} tokens for {model.path.name}: {reason}",
                hint="a smaller --ctx, or a smaller model",
            )
        self.memory = lib.api.llama_get_memory(self.pointer)
        self.n_ctx: int = lib.api.llama_n_ctx(self.pointer)
        self._batch = lib.api.llama_batch_init(n_batch, 0, 1)

    def decode(self, tokens: Sequence[int], *, at: int = 0, outputs: Sequence[int] | None = None) -> bool:
        """One pass over the weights with 1 to `n_batch` tokens at positions at, at+1, …

        outputs: the indices in `tokens` whose logits are wanted; None means the last one only.
        Returns False where the abort callback stopped it (the cache is then whatever was done: see `length`).
        """
        batch, count = self._batch, len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = at + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 0
        for i in (count - 1,) if outputs is None else outputs:
            batch.logits[i] = 1
        batch.n_tokens = count
        lib = library()
        status = lib.api.llama_decode(self.pointer, batch)
        if status == 2:
            return False
        if status != 0:
            raise CgcliError(
                f"llama.cpp could not decode {count} tokens at {at} of {self.n_ctx}: "
                + lib.last_error(f"status {status}")
            )
        return True

    def logits(self, index: int) -> NDArray[np.float32]:
        """The logits after `tokens[index]` of the last pass: float32 [n_vocab], overwritten by the next pass."""
        import numpy as np

        pointer = ctypes.cast(self.logits_address(index), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab,))

    def logits_address(self, index: int) -> int:
        """Where those logits lie in memory; index as in `logits`."""
        pointer = library().api.llama_get_logits_ith(self.pointer, index)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if address is None:
            raise IndexError(f"no logits at {index}: it was not among the outputs of the last pass")
        return address

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return int(library().api.llama_memory_seq_pos_max(self.memory, 0)) + 1

    def trim(self, length: int) -> int:
        """Keep the first `length` tokens of the cache; returns how many are left, 0 where it can only drop them all."""
        api = library().api
        if not api.llama_memory_seq_rm(self.memory, 0, length, -1):
            api.llama_memory_clear(self.memory, True)
            return 0
        return length

    def close(self) -> None:
        if self.pointer:
            api = library().api
            api.llama_batch_free(self._batch)
            api.llama_free(self.pointer)
            self.pointer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def quantize(source: Path, target: Path, quant: str, *, threads: int, allow_requantize: bool = False) -> None:
    """Write `source`, an f16 or f32 GGUF, to `target` with its matrices quantized as `quant` (one of QUANTS).

    allow_requantize: let the source be quantized already. Raises ModelFileError where llama.cpp refuses.
    """
    lib = library()
    params = lib.api.llama_model_quantize_default_params()
    params.ftype = FTYPES[quant]
    params.nthread = threads
    params.allow_requantize = allow_requantize
    read_header(source)
    lib.errors.clear()
    if lib.api.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)) != 0:
        raise ModelFileError(f"{source}: cannot be quantized to {quant}: {lib.last_error('llama.cpp refused')}")


def _layers_that_fit(header: Header, path: Path, devices: list[tuple[str, int, int]]) -> int:
    """Layers (the output counts as one) whose weights fit in free GPU memory, an eighth of it left for the cache."""
    layers = header.n_layer + 1
    free = sum(free for _, free, _ in devices)
    return min(layers, int(free * 7 / 8 / (path.stat().st_size / layers)))


def _capturing(capture: Capture, names: frozenset[str]) -> Callable[[int, bool, object], bool]:
    """An eval callback of ggml's scheduler that hands float32 copies of the named tensors to `capture`."""
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
        if name not in names:
            return not ask  # while asking, False means "not this one"; afterwards True means "go on"
        if not ask:
            tensor = Tensor.from_address(address)
            values = np.empty((tensor.ne[1], tensor.ne[0]), np.float32)
            api.ggml_backend_tensor_get(address, values.ctypes.data, 0, values.nbytes)
            capture(name, values)
        return True

    return on_tensor
