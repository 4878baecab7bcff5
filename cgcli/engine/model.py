"""The weights and vocabulary of a GGUF file: loads it, and turns bytes into token ids and back.

Passes over the weights are in `context`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from cgcli.core.errors import Interrupted, ModelFileError, UsageError
from cgcli.engine.binding import gpu_devices, llama, without_tiles
from cgcli.engine.gguf import GGUFHeader
from cgcli.engine.gguf_check import read_header
from cgcli.native import cuda, load, products

_MAP = 1  # LLAMA_LOAD_MODE_MMAP of llama.h
_POLL_S = 0.05
_SETTLE_AFTER_S, _SETTLE_EVERY_S = 1.0, 0.05


def readable(text: bytes) -> bytes:
    """`text` with U+FFFD in place of invalid UTF-8, as the tokenizer needs it."""
    return text.decode("utf-8", "replace").encode()


class Model:
    """The weights and vocabulary of one GGUF file."""

    def __init__(self, path: Path, header: GGUFHeader, pointer: Any, gpu_layers: int, own_kernels: bool) -> None:
        api = llama().api
        self.path = path
        self.header = header
        self.pointer = pointer
        self.gpu_layers = gpu_layers
        #: Whether our kernels (kernels/ggml/) compute what they can.
        self.own_kernels = own_kernels
        self.vocab = api.llama_model_get_vocab(pointer)
        #: Entries of the vocabulary, padding included.
        self.n_vocab: int = api.llama_vocab_n_tokens(self.vocab)
        self.n_layer: int = api.llama_model_n_layer(pointer)
        self.n_embd: int = api.llama_model_n_embd(pointer)
        #: The context window that the model was trained with, in tokens.
        self.n_ctx_train: int = api.llama_model_n_ctx_train(pointer)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        gpu_layers: int | None = None,
        vocab_only: bool = False,
        own_products: bool = True,
        cancelled: Callable[[], bool] | None = None,
    ) -> Model:
        """Load a GGUF file. Parameters and errors as those of `Loading`."""
        return Loading(path, gpu_layers=gpu_layers, vocab_only=vocab_only, own_products=own_products).wait(cancelled)

    @property
    def wholly_on_gpu(self) -> bool:
        """Whether all layers are on a GPU, and so is the cache."""
        return self.gpu_layers > self.n_layer

    @property
    def gpu_sampling(self) -> bool:
        """Whether tokens are drawn on a GPU, where the logits are: llama.cpp puts the output there before any layer."""
        return self.gpu_layers > 0 and cuda.cuda_library() is not None

    def tokenize(self, text: bytes) -> list[int]:
        """The ids of `text`, which must be UTF-8: llama.cpp ends the process on some other bytes (see `readable`).

        Special tokens in it are not parsed: prompts are plain text.
        """
        api = llama().api
        room = len(text) + 8
        tokens = (ctypes.c_int32 * room)()
        count = api.llama_tokenize(self.vocab, text, len(text), tokens, room, False, False)
        if count < 0:
            raise ModelFileError(f"{self.path}: the tokenizer failed on a text of {len(text)} bytes")
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """The bytes of a token; empty for a control token."""
        api = llama().api
        buffer = ctypes.create_string_buffer(256)
        count = api.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = api.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[:count]

    @property
    def cell_bytes(self) -> int:
        """Bytes of a cell of the KV cache: a key and a value per layer, 2 bytes per number."""
        return 2 * self.n_layer * int(llama().api.llama_model_n_head_kv(self.pointer)) * sum(self._head_sizes)

    @functools.cached_property
    def _head_sizes(self) -> tuple[int, int]:
        """Numbers of a head's key and of its value."""
        usual = self.n_embd // max(1, self.n_head)
        key, value = (
            int(str(self.header.metadata.get(f"{self.header.architecture}.attention.{name}_length", usual)))
            for name in ("key", "value")
        )
        return key, value

    @functools.cached_property
    def own_attention(self) -> bool:
        """Whether our attention takes this model: no odd sizes, soft caps, biases by position, sinks, recurrence."""
        sizes = all(size % 16 == 0 and 0 < size <= 256 for size in self._head_sizes)
        names = (*self.header.metadata, *self.header.tensors)
        special = (".attn_logit_softcapping", ".max_alibi_bias", ".attn_sinks.weight")
        other = any(name.endswith(special) for name in names)
        return self.own_kernels and sizes and not other and not self.recurrent

    @functools.cached_property
    def own_products(self) -> bool:
        """Whether our products take every matrix; embeddings that serve as the output, too, stay with llama.cpp."""
        tensors = dict(self.header.tensors)
        embeddings = tensors.pop("token_embd.weight", None)
        if "output.weight" not in tensors and not (embeddings and embeddings.type in ("q8_0", "q6_k")):
            return False
        return self.own_kernels and all(
            len(tensor.shape) == 2 and tensor.shape[0] % 64 == 0 and tensor.type in products.TYPES
            for tensor in tensors.values()
            if len(tensor.shape) > 1
        )

    def padded(self, rows: int) -> int:
        """The number of rows that an exact pass of `rows` rows needs.

        On the CPU some of llama.cpp's matrix kernels round differently for few rows: f16 for a single row, q4_k_m for
        the remainder of a division by 4. The other quantizations that cgcli stores have the same bits for any number of
        rows (measured on AVX2), as have our kernels.
        """
        if self.own_products or self.header.quant in ("q8_0", "q4_0", "q5_k_m", "q6_k"):
            return rows
        return max(2, rows) if self.header.quant == "f16" else -(-rows // 4) * 4

    @functools.cached_property
    def n_head(self) -> int:
        """Attention heads per layer. llama.cpp ends the process here if only the vocabulary is loaded."""
        return int(llama().api.llama_model_n_head(self.pointer))

    @functools.cached_property
    def recurrent(self) -> bool:
        """Whether the model has a recurrent state, which cannot be rolled back by single tokens."""
        api = llama().api
        return bool(api.llama_model_is_recurrent(self.pointer) or api.llama_model_is_hybrid(self.pointer))

    @functools.cached_property
    def pieces(self) -> list[bytes]:
        """`piece` of every id: [n_vocab]. Takes about 20 ms for 51,200 entries, so it is computed on demand."""
        take, vocab, buffer = llama().api.llama_token_to_piece, self.vocab, ctypes.create_string_buffer(256)
        counts = (take(vocab, token, buffer, 256, 0, False) for token in range(self.n_vocab))
        return [buffer.raw[:count] if count >= 0 else self.piece(token) for token, count in enumerate(counts)]

    @functools.cached_property
    def end_of_text(self) -> int | None:
        """The id that ends a text; None if the file names none (llama.cpp would make one up)."""
        if "tokenizer.ggml.eos_token_id" not in self.header.metadata:
            return None
        return int(llama().api.llama_vocab_eos(self.vocab))

    @functools.cached_property
    def start(self) -> list[int]:
        """The ids that every text starts with: the beginning-of-text token, if the model has one (CodeGen has not)."""
        api = llama().api
        return [int(api.llama_vocab_bos(self.vocab))] if api.llama_vocab_get_add_bos(self.vocab) else []

    def close(self) -> None:
        if self.pointer:
            llama().api.llama_model_free(self.pointer)
            self.pointer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Loading:
    """A GGUF file that llama.cpp loads on a thread of its own, while the caller does something else. One at a time."""

    def __init__(
        self, path: Path, *, gpu_layers: int | None = None, vocab_only: bool = False, own_products: bool = True
    ) -> None:
        """Check the file's header, and begin to load it.

        gpu_layers: layers on the GPU, None for all that fit; with 0 no GPU does anything.
        own_products: multiply with our kernels, unless a layer is on a GPU.
        Raises ModelFileError for a header that llama.cpp cannot handle, UsageError for GPU layers without a GPU.
        """
        self.started = time.perf_counter()
        self._path = path
        self._header = read_header(path)  # raises where llama.cpp would abort the process
        lib = llama()
        devices = gpu_devices()
        if gpu_layers and not devices:
            raise UsageError(
                f"--gpu-layers {gpu_layers} needs a GPU, but llama.cpp finds none",
                hint="`cgcli doctor` says why; or drop --gpu-layers",
            )
        self._layers = _layers_that_fit(self._header, path, devices) if gpu_layers is None else gpu_layers
        self._own_kernels = own_products and lib.without_own_products is None and self._layers == 0
        if lib.without_own_products is None:
            products.use(self._own_kernels)
        self._no_device = ctypes.c_void_p()
        self._cancelled = ctypes.c_bool()
        self._params = params = lib.api.llama_model_default_params()
        params.n_gpu_layers = self._layers
        params.vocab_only = vocab_only
        if self._layers == 0:  # otherwise a GPU multiplies many rows at once, whose bits are others
            params.devices = ctypes.addressof(self._no_device)
        if lib.without_own_products is None:
            params.load_mode = _MAP
        params.progress_callback = lib.api.llama_progress_callback(load.continues_address())
        params.progress_callback_user_data = ctypes.addressof(self._cancelled)
        lib.forget_error()
        self._pointer: Any = None
        self._thread = threading.Thread(target=self._load, name="load", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        self._pointer = llama().api.llama_model_load_from_file(os.fsencode(self._path), self._params)

    def wait(self, cancelled: Callable[[], bool] | None = None) -> Model:
        """The model when it is loaded, for the caller to close.

        cancelled: polled meanwhile. Raises ModelFileError for a file that llama.cpp cannot run, and Interrupted once
        `cancelled` returns True.
        """
        try:
            loading = True
            while loading:
                self._thread.join(_POLL_S)
                loading = self._thread.is_alive()
                if cancelled and cancelled():
                    raise Interrupted
        except BaseException:  # also a Ctrl-C that raises
            self.close()
            raise
        pointer, self._pointer = self._pointer, None
        if not pointer:
            raise ModelFileError(
                f"{self._path}: {llama().last_error('llama.cpp cannot load this file')}", hint="cgcli models verify"
            )
        if self._own_kernels:
            threading.Thread(target=_settle, name="settle", daemon=True).start()
        return Model(self._path, self._header, pointer, self._layers, self._own_kernels)

    def close(self) -> None:
        """End the load, unless somebody has the model."""
        self._cancelled.value = True
        self._thread.join()
        if self._pointer:
            llama().api.llama_model_free(self._pointer)
            self._pointer = None


def _settle() -> None:
    """Move the matrices to huge pages, one after the other, when a short text has been written already."""
    time.sleep(_SETTLE_AFTER_S)
    while products.settle():
        time.sleep(_SETTLE_EVERY_S)


def begin_loading(path: Path, *, gpu_layers: int | None, exact: bool, own_products: bool) -> Loading:
    """Begin to load the model of an engine. exact: see `EngineOptions`; its passes are on the CPU.

    Raises UsageError for GPU layers with `exact`, and like `Loading`.
    """
    if exact:
        if gpu_layers:
            raise UsageError(f"--exact needs the CPU, but --gpu-layers is {gpu_layers}", hint="use --gpu-layers 0")
        gpu_layers = 0
        without_tiles()
    return Loading(path, gpu_layers=gpu_layers, own_products=own_products)


def _layers_that_fit(header: GGUFHeader, path: Path, devices: list[tuple[str, int, int]]) -> int:
    """Layers, counting the output as one, that fit into 7/8 of the free GPU memory; the rest is for the cache."""
    layers = header.n_layer + 1
    free = sum(free for _, free, _ in devices)
    return min(layers, int(free * 7 / 8 / (path.stat().st_size / layers)))
