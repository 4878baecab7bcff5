"""Loads llama.cpp: the only file that imports llama_cpp.

It uses the low-level bindings alone: the package's `__init__` costs 0.25 s of unneeded imports, and its high-level
class writes to file descriptors of the process. llama.cpp's log goes to the logger `cgcli.llama` if anybody listens,
and its last error line into the messages of our errors.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
import sys
import types
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError
from cgcli.core.machine import thread_count
from cgcli.engine.cpu_variant import VARIABLE, load_cpu_library
from cgcli.native import load, products

log = logging.getLogger("cgcli.llama")

# ggml_log_level. Level 5 continues an unfinished line (the dots while loading).
LOG_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


class LlamaLibrary:
    """The loaded llama.cpp, its log redirected. One per process: see `llama()`."""

    def __init__(self) -> None:
        os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # otherwise an abort starts a debugger
        # GNU OpenMP's threads spin while they wait for each other, hundreds of times a pass. On a busy machine that can
        # cost nearly all of the speed; a short spin costs nothing on an idle one (tests/benchmarks/busy_machine.py).
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        self.api = _import_bindings()
        self._error = ctypes.create_string_buffer(load.ERROR_BYTES)
        # Two thousand lines come while a model loads.
        on_log = self._on_log if log.hasHandlers() else load.log_address()
        self._log_callback = self.api.llama_log_callback(on_log)
        self.api.llama_log_set(self._log_callback, ctypes.addressof(self._error))
        library = self.api._lib
        self.cpu = load_cpu_library(library, Path(library._name).parent, os.environ.get(VARIABLE))
        self.api.llama_backend_init()
        #: Why llama.cpp multiplies with its own kernels; None where ours do.
        self.without_own_products = self._register_products()
        log.info("products: %s", self.without_own_products or f"cgcli's own, {products.product_tier()}")

    def _register_products(self) -> str | None:
        """Put our products into ggml, before the first model is loaded; None, or why not."""
        ggml = self.api._lib
        ggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
        ggml.ggml_backend_dev_backend_reg.argtypes = [ctypes.c_void_p]
        ggml.ggml_backend_dev_backend_reg.restype = ctypes.c_void_p
        ggml.ggml_backend_reg_get_proc_address.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        ggml.ggml_backend_reg_get_proc_address.restype = ctypes.c_void_p
        device = ggml.ggml_backend_dev_by_type(0)  # GGML_BACKEND_DEVICE_TYPE_CPU
        back_end = ggml.ggml_backend_dev_backend_reg(device)
        inside = ggml.ggml_backend_reg_get_proc_address(back_end, b"ggml_backend_dev_get_extra_bufts")
        try:
            return products.register(inside, device, thread_count())
        except CgcliError as error:
            return error.message

    def _on_log(self, level: int, text: bytes, _data: object) -> None:
        known = LOG_LEVELS.get(level, logging.DEBUG)
        if known == logging.ERROR:
            self._error.value = text[: load.ERROR_BYTES - 1]
        if log.isEnabledFor(known):
            log.log(known, "%s", text.decode("utf-8", "replace").rstrip("\n"))

    def last_error(self, default: str) -> str:
        """The last error that llama.cpp logged, without the function name."""
        message = self._error.value.decode("utf-8", "replace").strip()
        self._error.value = b""
        return message.rpartition("error loading model: ")[2] or default

    def forget_error(self) -> None:
        """What is logged from now on is about the next call."""
        self._error.value = b""


@functools.cache
def llama() -> LlamaLibrary:
    return LlamaLibrary()


def without_tiles() -> None:
    """Turn off ggml's tiled matrix kernels, which round differently from those for few rows.

    ggml reads this at the first product of the process. So an exact engine that comes after an inexact one in the same
    process is inexact for quantizations below 8 bits.
    """
    os.environ["GGML_CPU_TILED_MM"] = "0"


def _import_bindings() -> Any:
    """`llama_cpp.llama_cpp` without running `llama_cpp/__init__.py`; the package itself stays importable."""
    name = "llama_cpp"
    try:
        if name in sys.modules:
            return importlib.import_module(f"{name}.llama_cpp")
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("No module named 'llama_cpp'")
        stub = types.ModuleType(name)
        stub.__path__ = list(spec.submodule_search_locations)
        sys.modules[name] = stub
        try:
            return importlib.import_module(f"{name}.llama_cpp")
        finally:
            del sys.modules[name]
    except (ImportError, OSError, RuntimeError) as error:
        raise CgcliError(f"cannot load llama.cpp: {error}", hint="cgcli doctor") from error


def system_info() -> str:
    """llama.cpp's description of its build: backends, instruction sets, thread library."""
    return str(llama().api.llama_print_system_info().decode())


def gpu_devices() -> list[tuple[str, int, int]]:
    """The GPUs that this llama.cpp can use: names, free bytes, total bytes."""
    if not llama().api.llama_supports_gpu_offload():
        return []
    api = ggml()
    found = []
    for index in range(api.ggml_backend_dev_count()):
        device = ctypes.c_void_p(api.ggml_backend_dev_get(index))
        if api.ggml_backend_dev_type(device) == 1:  # GGML_BACKEND_DEVICE_TYPE_GPU
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            api.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
            found.append((api.ggml_backend_dev_description(device).decode(), free.value, total.value))
    return found


def back_ends() -> list[str]:
    """The parts of llama.cpp that compute, such as `CPU` and `CUDA`; one for GPUs is there without a GPU, too."""
    api = ggml()
    api.ggml_backend_reg_count.restype = ctypes.c_size_t
    api.ggml_backend_reg_get.argtypes = [ctypes.c_size_t]
    api.ggml_backend_reg_get.restype = ctypes.c_void_p
    api.ggml_backend_reg_name.argtypes = [ctypes.c_void_p]
    api.ggml_backend_reg_name.restype = ctypes.c_char_p
    found = map(api.ggml_backend_reg_get, range(api.ggml_backend_reg_count()))
    return [api.ggml_backend_reg_name(one).decode() for one in found]


@functools.cache
def ggml() -> Any:
    """The ggml that llama.cpp is linked to, found through llama.cpp's symbols, for functions that the bindings lack."""
    api = llama().api._lib
    api.ggml_backend_dev_count.restype = ctypes.c_size_t
    api.ggml_backend_dev_get.restype = ctypes.c_void_p
    api.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    api.ggml_backend_dev_description.restype = ctypes.c_char_p
    return api
