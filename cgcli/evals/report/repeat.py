"""What to type to draw a run's samples again, as far as its rows tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator

from cgcli.evals.report.runs import PROBLEMS, Benchmark, Run

_FIRST = {"humaneval": 0, "mtpb": 1}
"""The number of a benchmark's first problem."""


def commands(run: Run) -> Iterator[str]:
    """One for the temperatures that were asked the same problems as often; none where the rows do not say how."""
    known = run.identity
    asked: dict[tuple[int, frozenset[str]], list[float]] = {}
    for temperature in run.temperatures if known.quant and known.seed is not None else ():
        part = run.parts[temperature]
        if temperature is not None:
            asked.setdefault((part.drawn, frozenset(part.problems)), []).append(temperature)
    for (drawn, problems), temperatures in asked.items():
        words = ["cgcli", "eval", known.benchmark, "-m", _model(run), "-n", str(drawn)]
        for temperature in temperatures:
            words += ["-t", f"{temperature:g}"]
        for option, value in (("--top-p", known.top_p), ("--max-tokens", known.max_tokens)):
            words += [option, f"{value:g}"] if value is not None else []
        words += ["--seed", str(known.seed)]
        if known.benchmark == "mtpb":
            ways = sorted({result.turns for result in run.results})
            words += ["--turns", ways[0] if len(ways) == 1 else "both", "--rules", known.rules or "paper"]
        if limit := _limit(known.benchmark, problems):
            words += ["--limit", str(limit)]
        # What the commands have no option for is read from variables.
        others = (("CGCLI_TOP_K", known.top_k), ("CGCLI_MIN_P", known.min_p))
        yield " ".join([*(f"{name}={value:g}" for name, value in others if value), shlex.join(words)])


def _model(run: Run) -> str:
    """As --model takes it: a model of the store with its quantization, or a file's path."""
    known = run.identity
    return known.model if known.model.endswith(".gguf") else f"{known.model}:{known.quant}"


def _limit(benchmark: Benchmark, problems: Collection[str]) -> int | None:
    """The number of problems, where they are the first ones and not all."""
    first = _FIRST[benchmark]
    numbers = {int(found[0]) for found in (re.search(r"\d+$", name) for name in problems) if found}
    count = len(problems)
    return count if count < PROBLEMS[benchmark] and numbers == set(range(first, first + count)) else None
