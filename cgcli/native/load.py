"""What loading a model needs in C: the binding of cgk_load_* (kernels/load.c)."""

from __future__ import annotations

import ctypes
import mmap

from cgcli.native.library import CGK_OK, library

ERROR_BYTES = 1024  # CGK_ERROR_BYTES


class Strings(ctypes.Structure):
    """struct cgk_strings."""

    _fields_ = (
        ("bytes", ctypes.c_uint64),  # that they take; more than there are if they exceed the header
        ("with_nul", ctypes.c_uint64),
        ("empty", ctypes.c_uint64),  # this and the next are only counted where repetitions are looked for
        ("repeated", ctypes.c_uint64),  # of those that are not empty
    )


def continues_address() -> int:
    """The address of a progress callback for llama.cpp, which ends a load once a `c_bool` is true."""
    return ctypes.cast(library().cgk_load_continues, ctypes.c_void_p).value or 0


def log_address() -> int:
    """The address of a log callback for llama.cpp, which keeps the last error in a buffer of `ERROR_BYTES`."""
    return ctypes.cast(library().cgk_load_log, ctypes.c_void_p).value or 0


def walk_strings(header: mmap.mmap, at: int, count: int, *, repeated: bool) -> Strings:
    """Walk an array of strings in the header of a GGUF file, from byte `at` on. repeated: look for repetitions.

    header: writable (ACCESS_COPY), of less than 4 GB, and longer than `at`.
    """
    found, slots = Strings(), 1 << (2 * count).bit_length() if repeated else 0
    scratch = (ctypes.c_uint32 * slots)() if slots else None
    begin = ctypes.byref(ctypes.c_uint8.from_buffer(header, at))
    status = library().cgk_load_strings(begin, len(header) - at, count, scratch, slots, ctypes.byref(found))
    if status != CGK_OK:
        raise ValueError(f"{count} strings of a header of {len(header)} bytes")
    return found
