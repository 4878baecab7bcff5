"""The Multi-Turn Programming Benchmark: 115 problems given as prompts, each with five inputs and what is to be printed.

Source: salesforce/CodeGen codegen1/benchmark/mtpb.jsonl and mtpb_sample.py (BSD-3-Clause). What is odd in the published
problems stays as it is, so that results can be compared; `ODDITIES` says what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cgcli.core.errors import CgcliError
from cgcli.evals.fetch import Published
from cgcli.evals.samples import read
from cgcli.program.program import PAPER, Layout

Turns = Literal["multi", "single"]
"""multi: a completion after each prompt; single: all prompts first, then one completion. The paper does not publish how
it joined them: here each is a comment of its own, in consecutive lines, and the completion may have as many tokens as
those of all turns together."""

PUBLISHED = Published(
    name="mtpb.jsonl",
    url="https://raw.githubusercontent.com/salesforce/CodeGen/HEAD/codegen1/benchmark/mtpb.jsonl",
    size=87_959,
    sha256="3ab79ddb160f484a63491330ba72204930d56cc946f7c0c5fb469622a941f89c",
    licence="BSD-3-Clause",
)
PREFIX = "# Import libraries.\n\nimport numpy as np\n\n"
LAYOUT: Layout = PAPER
MAX_TOKENS = 256
"""Of a turn whose problem does not say."""
ODDITIES = {
    "10": "its second and fifth input are the same: both count",
    "17": "a line end within its first prompt: only the first line is a comment mark's, as in the paper",
    "41": "None is expected of two inputs: rules paper never pass them; strict take None and the word",
    "57": "six outputs for five inputs: the sixth is not used, and the fifth belongs to another input",
    "89": "dicts are expected: rules paper never pass them",
}


@dataclass(frozen=True)
class Case:
    """One input of a problem. number: its place among them, from 0; prompts: filled in; expected: what is printed."""

    problem: Problem
    number: int
    prompts: tuple[str, ...]
    expected: Any

    @property
    def input(self) -> dict[str, Any]:
        return self.problem.inputs[self.number]


@dataclass(frozen=True)
class Problem:
    """max_tokens: of a turn."""

    id: str
    category: str
    prompts: tuple[str, ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[Any, ...]
    max_tokens: int = MAX_TOKENS

    def cases(self) -> Iterator[Case]:
        """Inputs with their outputs, as far as both go."""
        for number, (values, expected) in enumerate(zip(self.inputs, self.outputs, strict=False)):
            yield Case(self, number, tuple(prompt.format(**values) for prompt in self.prompts), expected)

    def asked(self, case: Case, turns: Turns) -> tuple[tuple[str, ...], int]:
        """The prompts as turns of a program, and the tokens that each may take."""
        if turns == "multi":
            return case.prompts, self.max_tokens
        return (f"\n{LAYOUT.mark} ".join(case.prompts),), self.max_tokens * len(case.prompts)


def load(path: Path) -> list[Problem]:
    """The problems of a file in MTPB's form, in the order of their numbers. Raises UsageError, CgcliError."""
    try:
        problems = [_problem(row) for row in read(path)]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        what = f"a problem without its {error}" if isinstance(error, KeyError) else str(error)
        raise CgcliError(f"{path} is no file of MTPB's: {what}", hint="--data FILE, as published") from error
    if not problems:
        raise CgcliError(f"{path} has no problems")
    return sorted(problems, key=lambda problem: problem.id.zfill(8))


def _problem(found: dict[str, Any]) -> Problem:
    problem = Problem(
        str(found["id"]),
        str(found["category"]),
        tuple(found["prompts"]),
        tuple(found["inputs"]),
        tuple(found["outputs"]),
        int(found.get("max_gen_length", MAX_TOKENS)),
    )
    if not problem.prompts or not list(problem.cases()):  # which fills the prompts in
        raise ValueError("no prompts or no inputs")
    return problem


def oddities(problems: Iterable[str]) -> dict[str, str]:
    """Those of the problems with these numbers."""
    known = set(problems)
    return {number: what for number, what in ODDITIES.items() if number in known}
