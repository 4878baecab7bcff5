"""The CPU's part of ggml: in a portable build one library for each generation of processors, of which one is loaded.

llama.cpp would choose one itself, but looks for them in the current directory, too, and runs code of every file there
that is named like one. So it is loaded here by its full path, before llama.cpp looks: it does so only while it has
none.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from cgcli.core.errors import CgcliError, UsageError

VARIABLE = "CGCLI_CPU_VARIANT"
_PREFIX = "libggml-cpu-"
_SUFFIX = ".so"  # on macOS, too: these are modules

# What makes products fast: its names in llama.cpp's system information, and in /proc/cpuinfo.
_INSTRUCTIONS = (
    ("AVX2", ("AVX2",), ("avx2",)),
    ("AVX-512", ("AVX512",), ("avx512f",)),
    ("VNNI", ("AVX512_VNNI", "AVX_VNNI"), ("avx512_vnni", "avx_vnni")),
)


class CpuLibrary(NamedTuple):
    """The CPU's part of ggml that is loaded."""

    path: Path
    variant: str | None  # its generation of processors; None in a build for one processor


def load_cpu_library(ggml: ctypes.CDLL, folder: Path, wanted: str | None) -> CpuLibrary:
    """Load the best variant in `folder` for this processor, or the one called `wanted`.

    ggml: a library with ggml's functions. A build for one processor has loaded its own already. Raises UsageError if
    there is no such variant or this processor cannot run it, CgcliError if there is nothing to load.
    """
    variants = {
        path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX): path for path in folder.glob(f"{_PREFIX}*{_SUFFIX}")
    }
    if wanted and wanted not in variants:
        raise UsageError(
            f"{VARIABLE} is {wanted!r:.80}, which this llama.cpp does not have",
            hint=f"use one of {', '.join(sorted(variants))}" if variants else f"unset {VARIABLE}",
        )
    loaded = bool(ggml.ggml_backend_reg_count())
    if not variants:
        linked = min(folder.glob("libggml-cpu.*"), default=None)
        if linked is None or not loaded:
            raise CgcliError(f"cannot load llama.cpp: {folder} has no libggml-cpu", hint="reinstall llama-cpp-python")
        return CpuLibrary(linked, None)
    scores = {name: _score(variants[name]) for name in ([wanted] if wanted else variants)}
    name = max(scores, key=scores.__getitem__)
    if scores[name] == 0:
        raise UsageError(f"this processor cannot run llama.cpp's variant {name}", hint=f"unset {VARIABLE}")
    load = ggml.ggml_backend_load
    load.restype = ctypes.c_void_p
    if not loaded and not load(os.fsencode(variants[name])):
        raise CgcliError(f"cannot load llama.cpp's {variants[name]}", hint="reinstall llama-cpp-python")
    return CpuLibrary(variants[name], name)


def _score(path: Path) -> int:
    """How well a variant suits this processor, by its own account; 0 if the processor cannot run it."""
    library = ctypes.CDLL(str(path))
    try:
        return int(library.ggml_backend_score())
    finally:
        _ctypes.dlclose(library._handle)


def unused_instructions(system_info: str, processor: Collection[str]) -> list[str]:
    """The instruction sets that the processor has and this build of llama.cpp does not use.

    system_info: as llama.cpp prints it. processor: flags as in /proc/cpuinfo.
    """
    used = set(re.findall(r"(\w+) = 1", system_info))
    return [
        name
        for name, built, flags in _INSTRUCTIONS
        if not used.intersection(built) and set(flags).intersection(processor)
    ]
