"""Quantization in a process of its own, so that Ctrl-C ends it at once: llama.cpp's cannot be stopped otherwise.

    python -m cgcli.engine.quantizing SOURCE TARGET QUANT THREADS REQUANTIZE

is that process: status 0, or one line on stderr that says what is wrong. It ends with the one that started it, however
that ends: the pipe on its stdin is closed then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from cgcli.core.errors import CgcliError, ModelFileError


def quantize(source: Path, target: Path, quant: str, *, threads: int, allow_requantize: bool = False) -> None:
    """`engine.model.quantize` in a child, which does not outlive this process, nor a KeyboardInterrupt of it.

    Raises ModelFileError where llama.cpp refuses or crashes.
    """
    words = [str(source), str(target), quant, str(threads), "requantize" if allow_requantize else ""]
    # -P: the folder that the user happens to be in is no place to import from.
    command = [sys.executable, "-P", "-m", "cgcli.engine.quantizing", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stderr is not None
            errors = child.stderr.read()
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        said = errors.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1] if said else f"{source}: quantizing to {quant} ended with status {child.returncode}"
        raise ModelFileError(reason)


def main() -> int:
    """The child."""
    from cgcli.engine.model import quantize as quantize_here

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_watch_parent, daemon=True).start()
    source, target, quant, threads, requantize = sys.argv[1:]
    try:
        quantize_here(Path(source), Path(target), quant, threads=int(threads), allow_requantize=bool(requantize))
    except CgcliError as error:
        sys.stderr.write(f"{error.message}\n")
        return int(error.status)
    return 0


def _watch_parent() -> None:
    os.read(0, 1)  # sys.stdin has a lock, which the end of the interpreter would wait for
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
