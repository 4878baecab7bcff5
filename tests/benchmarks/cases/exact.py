"""200 texts with guesses and without, both `exact`, half from contexts of more than 600 tokens: how many differ.

The first side draws them together with guesses, the other one by one without; each has its own engine and cache.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Completion, Request
from tests.benchmarks.cases.common import Figure, Texts, engine, in_own_process, request, say
from tests.benchmarks.report import EMBEDDED

TEXTS, TOKENS = 200, 32
SHORT, LONG = (16, 600), (601, 1200)  # tokens of context
TOGETHER = 10  # texts


def drawn() -> list[Any]:
    """How many texts differ, and how many guessed tokens came true."""
    with engine(EMBEDDED, exact=True) as guessing, engine(EMBEDDED, exact=True, speculate=False) as plain:
        texts, draw = Texts(plain.model, EMBEDDED), np.random.default_rng(2)
        differ = 0
        for first in range(0, TEXTS, TOGETHER):
            wanted: list[Request] = []
            for number in range(first, first + TOGETHER):
                length = int(draw.integers(*(LONG if number % 2 else SHORT)))
                wanted.append(request(texts.next(length), TOKENS, 0.2 + 0.6 * (number % 4 > 1), seed=number))
            with_guesses = dict(guessing.complete(wanted))
            differ += sum(with_guesses[index] != alone(plain, one) for index, one in enumerate(wanted))
            say(f"{first + TOGETHER} texts, {differ} differ, {guessing.timings.kept} guesses kept")
        return [differ, guessing.timings.kept, guessing.timings.drafted]


def alone(plain: LlamaEngine, wanted: Request) -> Completion:
    ((_, completion),) = plain.complete([wanted])
    return completion


def measure(rounds: int) -> list[dict[str, Any]]:
    differ, kept, drafted = in_own_process("exact", "drawn")
    name = f"texts of {TEXTS} that guesses change, --exact ({kept} of {drafted} guesses kept)"
    return [asdict(Figure(name, differ, 0.0, unit="", below=True))]
