"""Sampling on an NVIDIA GPU: the binding of libcgk_cuda (kernels/include/cgk_cuda.h), which `make cuda` builds.

llama.cpp leaves a pass's logits in the GPU's memory before it copies them to the host's. `NotedOutput` notes where, and
`native.sample` draws from them there, so only tokens come back.
"""

from __future__ import annotations

import ctypes
import functools
from importlib import resources
from pathlib import Path

from cgcli.native.library import SUFFIX, load_installed


@functools.cache
def cuda_library() -> ctypes.CDLL | None:
    """libcgk_cuda, as installed with this package; None if it was not built, or if no GPU answers.

    Raises CgcliError if it cannot be loaded.
    """
    if not (resources.files("cgcli.native") / f"libcgk_cuda.{SUFFIX}").is_file():
        return None
    found = load_installed("libcgk_cuda", load_cuda_library)
    return found if found.cgk_cuda_device() else None


def load_cuda_library(path: Path) -> ctypes.CDLL:
    """Load the libcgk_cuda at `path` and declare the functions that are used here. Raises OSError."""
    lib = ctypes.CDLL(str(path))
    address, uint32 = ctypes.c_void_p, ctypes.c_uint32
    lib.cgk_cuda_device.argtypes = []
    lib.cgk_cuda_device.restype = ctypes.c_char_p
    lib.cgk_cuda_scratch_new.argtypes = []
    lib.cgk_cuda_scratch_new.restype = address
    lib.cgk_cuda_scratch_free.argtypes = [address]
    lib.cgk_cuda_scratch_free.restype = None
    lib.cgk_cuda_host_sample_rows.argtypes = [address, address, uint32, uint32, address, address, address]
    lib.cgk_cuda_host_sample_rows.restype = ctypes.c_int
    return lib


class NotedOutput(ctypes.Structure):
    """struct cgk_cuda_output: where a context's last pass left its logits."""

    _fields_ = (
        ("ggml_get_name", ctypes.c_void_p),
        ("ggml_get_data", ctypes.c_void_p),
        ("ggml_nrows", ctypes.c_void_p),
        ("n_tensors", ctypes.c_uint32),
        ("logits", ctypes.c_void_p),
        ("n_rows", ctypes.c_int64),
    )

    @property
    def callback_address(self) -> int:
        """Address of an eval callback of llama.cpp, to which this structure is the data."""
        gpu = cuda_library()
        return (ctypes.cast(gpu.cgk_cuda_note_output, ctypes.c_void_p).value or 0) if gpu else 0

    @classmethod
    def of(cls, ggml: ctypes.CDLL) -> NotedOutput:
        """For a context of the llama.cpp that is linked to this ggml."""
        functions = (getattr(ggml, name) for name, _ in cls._fields_[:3])
        return cls(*(ctypes.cast(function, ctypes.c_void_p) for function in functions))

    def address(self, n_rows: int) -> int | None:
        """The address of the last pass's logits, float32 [n_rows, n_vocab], if all of them are in a GPU's memory."""
        found: int | None = self.logits if self.n_tensors == 1 and self.n_rows == n_rows else None
        return found
