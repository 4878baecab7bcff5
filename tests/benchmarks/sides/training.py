"""What sides of the training benchmark are asked and answer: a line of JSON each way.

    python -m tests.benchmarks.sides.SIDE '{"layers": 6, ...}'

Nothing but the standard library is imported here, since every side runs in another environment.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

WARM_UP = 2  # steps that are not counted: of the first, most is compiling
MATMUL_SIDE = 1024
MATMUL_TRIALS = 8


@dataclass(frozen=True)
class Asked:
    """The model's shape, and how it is trained: `steps` steps of `sequences` sequences, `together` of them a pass."""

    layers: int
    width: int
    heads: int
    rotary: int
    vocabulary: int
    context: int
    sequences: int
    together: int
    steps: int
    threads: int
    compiled: bool = False


@dataclass(frozen=True)
class Answered:
    """seconds: of each step; matmul_flops: operations a second of float32 products, the best of some."""

    seconds: list[float]
    matmul_flops: float


def answer(arguments: Sequence[str], measure: Callable[[Asked], tuple[list[float], list[float], float]]) -> None:
    """measure: gives seconds and losses of all steps, and operations a second. A first loss that is not that of a model
    which knows nothing yet would tell of another problem than the one asked about: it is an error."""
    (line,) = arguments
    asked = Asked(**json.loads(line))
    seconds, losses, flops = measure(asked)
    if abs(losses[0] - math.log(asked.vocabulary)) > 0.3 or not losses[-1] < losses[0]:
        sys.exit(f"losses are {losses}: this is no training")
    print(json.dumps(asdict(Answered(seconds[WARM_UP:], flops))))
