"""Quantization in a process of its own, so that Ctrl-C ends it at once: llama.cpp's cannot be stopped otherwise.

    python -m cgcli.engine.quantizing SOURCE TARGET QUANT THREADS REQUANTIZE

is that process: status 0, or one line on stderr that says what is wrong.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from cgcli.core.errors import CgcliError, ModelFileError


def quantize(source: Path, target: Path, quant: str, *, threads: int, allow_requantize: bool = False) -> None:
    """`engine.llama.quantize` in a child, which does not outlive a KeyboardInterrupt.

    Raises ModelFileError where llama.cpp refuses or crashes.
    """
    words = [str(source), str(target), quant, str(threads), "requantize" if allow_requantize else ""]
    # -P: the folder that the user happens to be in is no place to import from.
    command = [sys.executable, "-P", "-m", "cgcli.engine.quantizing", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1] if said else f"{source}: quantizing to {quant} ended with status {done.returncode}"
        raise ModelFileError(reason)


def main() -> int:
    """The child."""
    from cgcli.engine import llama

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    source, target, quant, threads, requantize = sys.argv[1:]
    try:
        llama.quantize(Path(source), Path(target), quant, threads=int(threads), allow_requantize=bool(requantize))
    except CgcliError as error:
        sys.stderr.write(f"{error.message}\n")
        return int(error.status)
    return 0


if __name__ == "__main__":
    sys.exit(main())
