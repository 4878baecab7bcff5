"""The model that benchmarks run: a random checkpoint of a published shape, through `cgcli convert`.

    python -m tests.benchmarks.model [--shape 350m|2b]

writes build/bench/codegen-SHAPE-random.q4_0.gguf, unless it is there, and prints its path. What it writes is words
without sense, in loops of its own: a gain from speculation on it says nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.checkpoint import FOLDER, SHAPES, Shape, checkpoint
from tests.benchmarks.report import command_line

QUANT = "q4_0"


def model(shape: Shape, quant: str = QUANT) -> Path:
    """The path of the GGUF, made on first use."""
    target = FOLDER / f"{shape.folder.name}.{quant}.gguf"
    return target if target.exists() else converted(checkpoint(shape), target, quant)


def converted(source: Path, target: Path, quant: str) -> Path:
    """The target, which is written anew."""
    print(f"making {target.name} ...", file=sys.stderr)
    command = [sys.executable, "-m", "cgcli", "convert", str(source), "-o", str(target), "-q", "--quant", quant]
    subprocess.run(command, check=True)
    return target


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="350m")
    print(model(SHAPES[parser.parse_args().shape]))


if __name__ == "__main__":
    main()
