"""Quantizes a GGUF file, in a process of its own: llama.cpp cannot be interrupted, but a process can.

    python -m cgcli.engine.quantize SOURCE TARGET QUANT THREADS REQUANTIZE

is that process. It exits with 0, or with one line on stderr that says what went wrong. Its stdin is a pipe that closes
when its parent ends, and then it ends too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from cgcli.core.errors import CgcliError, ModelFileError
from cgcli.engine.binding import llama
from cgcli.engine.gguf_check import read_header

#: llama_ftype of every quantization that cgcli stores, the most accurate first.
FTYPES = {"f16": 1, "q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q4_k_m": 15, "q4_0": 2}
QUANTS: tuple[str, ...] = tuple(FTYPES)


def quantize(source: Path, target: Path, quant: str, *, threads: int, allow_requantize: bool = False) -> None:
    """Write `source` to `target` with its matrices quantized, in a child process that Ctrl-C ends at once.

    quant: one of QUANTS; allow_requantize: accept a source that is already quantized.
    Raises ModelFileError if llama.cpp refuses or crashes.
    """
    arguments = [str(source), str(target), quant, str(threads), "requantize" if allow_requantize else ""]
    # -P: do not import from the current folder.
    command = [sys.executable, "-P", "-m", "cgcli.engine.quantize", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stderr is not None
            errors = child.stderr.read()
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        if lines:
            raise ModelFileError(lines[-1])
        raise ModelFileError(f"{source}: quantizing to {quant} failed with status {child.returncode}")


def quantize_here(source: Path, target: Path, quant: str, *, threads: int, allow_requantize: bool = False) -> None:
    """`quantize` in this process, where Ctrl-C has to wait. Raises ModelFileError if llama.cpp refuses."""
    lib = llama()
    params = lib.api.llama_model_quantize_default_params()
    params.ftype = FTYPES[quant]
    params.nthread = threads
    params.allow_requantize = allow_requantize
    read_header(source)
    lib.forget_error()
    if lib.api.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)) != 0:
        raise ModelFileError(f"{source}: cannot quantize to {quant}: {lib.last_error('llama.cpp refused')}")


def main() -> int:
    """The child process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    source, target, quant, threads, requantize = sys.argv[1:]
    try:
        quantize_here(Path(source), Path(target), quant, threads=int(threads), allow_requantize=bool(requantize))
    except CgcliError as error:
        sys.stderr.write(f"{error.message}\n")
        return int(error.status)
    return 0


def _end_with_parent() -> None:
    os.read(0, 1)  # not sys.stdin, which has a lock that the interpreter would wait for at exit
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
