"""Our products of quantized matrices inside llama.cpp: the binding of libcgk_ggml (kernels/include/cgk_ggml.h)."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from cgcli.native.library import load_installed

#: The types of matrices that they multiply, as a GGUF header names them.
TYPES = frozenset({"q4_0", "q4_1", "q8_0", "q4_k", "q5_k", "q6_k"})


@functools.cache
def _library() -> ctypes.CDLL:
    """libcgk_ggml, as installed with this package. Raises CgcliError if it cannot be loaded."""
    return load_installed("libcgk_ggml", _load)


def register(inside: int, device: int, threads: int) -> str | None:
    """Register them in the ggml whose CPU back end has the address `inside`; None, or why ggml does the work alone.

    device: the address of that back end's device; threads: how many repack a matrix while a model loads.
    Raises CgcliError if the library cannot be loaded.
    """
    reason = _library().cgk_ggml_register(inside, device, threads)
    return reason.decode() if reason else None


def use(on: bool) -> None:
    """Whether models that are loaded from now on, from mapped files, keep their matrices for our products."""
    _library().cgk_ggml_use(on)


def settle() -> bool:
    """Move 2 MB of repacked matrices to a huge page, which passes read faster; False once nothing is left.

    Linux takes longer for huge pages, so a load has small ones at first. No bits change; any thread may call it.
    """
    return bool(_library().cgk_ggml_settle())


def product_tier() -> str:
    """The kernels that run: "amx", "avx512", "avxvnni", "avx2", or "ref" (plain C), at first this processor's best."""
    return str(_library().cgk_ggml_tier().decode())


def choose_tier(name: str) -> bool:
    """Let another tier run from now on, for comparisons; False if this processor has none of this name.

    All tiers have the same bits, so it may change between two passes of a model. With "avxvnni" and "avx2" attention
    does without AVX-512, too.
    """
    return bool(_library().cgk_ggml_choose(name.encode()))


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    lib.cgk_ggml_register.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    lib.cgk_ggml_register.restype = ctypes.c_char_p
    lib.cgk_ggml_use.argtypes = [ctypes.c_bool]
    lib.cgk_ggml_use.restype = None
    lib.cgk_ggml_choose.argtypes = [ctypes.c_char_p]
    lib.cgk_ggml_choose.restype = ctypes.c_bool
    lib.cgk_ggml_settle.argtypes = []
    lib.cgk_ggml_settle.restype = ctypes.c_bool
    lib.cgk_ggml_tier.argtypes = []
    lib.cgk_ggml_tier.restype = ctypes.c_char_p
    return lib
