"""The loaded libcgk (kernels/include/cgk.h): where it is, and the types of its functions.

It does not import numpy: this is on the token path, and start-up time is a contract.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from importlib import resources
from pathlib import Path

from cgcli.core.errors import CgcliError

FILE_NAME = {"darwin": "libcgk.dylib", "win32": "cgk.dll"}.get(sys.platform, "libcgk.so")

CGK_OK = 0
CGK_ERROR_PARAMETER = 1
CGK_ERROR_NAN = 2
CGK_ERROR_NO_CANDIDATE = 3


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
    """The library that was installed with this package. Raises CgcliError where it is missing or cannot be loaded."""
    # Not __file__'s folder: in an editable install the library lies elsewhere.
    found = resources.files("cgcli.native") / FILE_NAME
    try:
        with resources.as_file(found) as path:
            return load(path)
    except OSError as error:
        raise CgcliError(f"{FILE_NAME} cannot be loaded: {error}", hint="make, or install cgcli again") from error


def tier() -> str:
    """Which kernels this processor gets: "avx512", "avx2", "neon", or "ref", which is plain C."""
    return str(library().cgk_tier().decode())


def load(path: Path) -> ctypes.CDLL:
    """The libcgk at `path`, its functions typed as in cgk.h. Raises OSError."""
    lib = ctypes.CDLL(str(path))
    address, uint32 = ctypes.c_void_p, ctypes.c_uint32
    lib.cgk_tier.argtypes = []
    lib.cgk_tier.restype = ctypes.c_char_p
    # sample is called once a token: pointers are plain addresses, which ctypes passes fastest.
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
    lib.cgk_draft_step.argtypes = [address, address, uint32, uint32, address, address]
    lib.cgk_draft_step.restype = ctypes.c_int
    lib.cgk_interrupt_install.argtypes = [ctypes.c_bool]
    lib.cgk_interrupt_restore.argtypes = []
    lib.cgk_interrupt_set.argtypes = []
    lib.cgk_interrupt_set.restype = None
    lib.cgk_interrupt_clear.argtypes = []
    lib.cgk_interrupt_clear.restype = None
    lib.cgk_interrupt_requested.argtypes = [address]
    lib.cgk_interrupt_requested.restype = ctypes.c_bool
    return lib
