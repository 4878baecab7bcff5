"""Loads libcgk (kernels/include/cgk.h) and declares the types of its functions.

It does not import numpy: start-up time is a contract.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from cgcli.core.errors import CgcliError

SUFFIX = "dylib" if sys.platform == "darwin" else "so"

CGK_OK = 0
CGK_ERROR_PARAMETER = 1
CGK_ERROR_NAN = 2
CGK_ERROR_NO_CANDIDATE = 3
CGK_ERROR_DEVICE = 4


class SampleParams(ctypes.Structure):
    """struct cgk_sample_params."""

    _fields_ = (
        ("temperature", ctypes.c_double),
        ("top_p", ctypes.c_double),
        ("min_p", ctypes.c_double),
        ("seed", ctypes.c_uint64),
        ("top_k", ctypes.c_uint32),
        ("turn", ctypes.c_uint32),
        ("candidate", ctypes.c_uint32),
        ("index", ctypes.c_uint32),
    )


class SampleResult(ctypes.Structure):
    """struct cgk_sample_result."""

    _fields_ = (("token", ctypes.c_int32), ("logprob", ctypes.c_float), ("kept", ctypes.c_uint32))


@functools.cache
def library() -> ctypes.CDLL:
    """libcgk, as installed with this package. Raises CgcliError if it cannot be loaded."""
    return load_installed("libcgk", load_library)


def load_installed(name: str, load: Callable[[Path], ctypes.CDLL]) -> ctypes.CDLL:
    """Load a library that is installed with this package. Raises CgcliError if it cannot be loaded."""
    # Not the folder of __file__: an editable install has the library elsewhere.
    found = resources.files("cgcli.native") / f"{name}.{SUFFIX}"
    try:
        with resources.as_file(found) as path:
            return load(path)
    except OSError as error:
        raise CgcliError(f"cannot load {found.name}: {error}", hint="reinstall cgcli, or run `make demo`") from error


def tier() -> str:
    """The kernels that run on this processor: "avx512", "avx2", "neon", or "ref" (plain C)."""
    return str(library().cgk_tier().decode())


def load_library(path: Path) -> ctypes.CDLL:
    """Load the libcgk at `path` and declare its functions as in cgk.h. Raises OSError."""
    lib = ctypes.CDLL(str(path))
    address, uint32 = ctypes.c_void_p, ctypes.c_uint32
    lib.cgk_tier.argtypes = []
    lib.cgk_tier.restype = ctypes.c_char_p
    # sample is called for every token: pointers are plain addresses, which ctypes passes fastest.
    lib.cgk_sample.argtypes = [address, address, uint32, address, address, address]
    lib.cgk_sample.restype = ctypes.c_int
    lib.cgk_sample_scratch.argtypes = [uint32]
    lib.cgk_sample_scratch.restype = ctypes.c_size_t
    lib.cgk_sample_rows.argtypes = [address, address, uint32, uint32, address, address, address]
    lib.cgk_sample_rows.restype = ctypes.c_int
    lib.cgk_philox4x32.argtypes = [address, address, address]
    lib.cgk_philox4x32.restype = None
    lib.cgk_logprob.argtypes = [address, uint32, uint32, address, address, address, address]
    lib.cgk_logprob.restype = ctypes.c_int
    lib.cgk_top.argtypes = [address, uint32, uint32, address, address]
    lib.cgk_top.restype = ctypes.c_int
    lib.cgk_draft_bytes.argtypes = [uint32, uint32, uint32]
    lib.cgk_draft_bytes.restype = ctypes.c_size_t
    lib.cgk_draft_init.argtypes = [address, uint32, uint32, uint32]
    lib.cgk_draft_init.restype = ctypes.c_int
    lib.cgk_draft_truncate.argtypes = [address, uint32]
    lib.cgk_draft_truncate.restype = ctypes.c_int
    lib.cgk_draft_grow.argtypes = [address, address, uint32, uint32, address, address]
    lib.cgk_draft_grow.restype = ctypes.c_int
    lib.cgk_draft_guess.argtypes = [address, address, uint32, uint32, address, address]
    lib.cgk_draft_guess.restype = ctypes.c_int
    lib.cgk_draft_check.argtypes = [address, ctypes.c_size_t]
    lib.cgk_draft_check.restype = ctypes.c_int
    lib.cgk_interrupt_install.argtypes = [ctypes.c_bool]
    lib.cgk_interrupt_restore.argtypes = []
    lib.cgk_interrupt_set.argtypes = []
    lib.cgk_interrupt_set.restype = None
    lib.cgk_interrupt_clear.argtypes = []
    lib.cgk_interrupt_clear.restype = None
    lib.cgk_interrupt_requested.argtypes = [address]
    lib.cgk_interrupt_requested.restype = ctypes.c_bool
    lib.cgk_load_strings.argtypes = [address, ctypes.c_uint64, ctypes.c_uint64, address, ctypes.c_uint64, address]
    lib.cgk_load_strings.restype = ctypes.c_int
    return lib
