"""What to type to draw a run's samples again, as far as its rows tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from cgcli.evals.report.runs import Run

_FIRST = {"humaneval": 0, "mtpb": 1}
"""The number of a benchmark's first problem."""
_PROBLEMS = {"humaneval": 164, "mtpb": 115}


def commands(run: Run) -> Iterator[str]:
    """One for each seed; none where the rows do not say how they were drawn."""
    known = run.identity
    for seed in sorted(run.seeds) if known.quant else ():
        words = ["cgcli", "eval", known.benchmark, "-m", _model(run), "-n", str(run.drawn)]
        for temperature in sorted(one for one in run.temperatures if one is not None):
            words += ["-t", f"{temperature:g}"]
        for option, value in (("--top-p", known.top_p), ("--max-tokens", known.max_tokens)):
            words += [option, f"{value:g}"] if value is not None else []
        words += ["--seed", str(seed)]
        if known.benchmark == "mtpb":
            ways = sorted({result.turns for result in run.results})
            words += ["--turns", ways[0] if len(ways) == 1 else "both", "--rules", known.rules or "paper"]
        if limit := _limit(run):
            words += ["--limit", str(limit)]
        # What the commands have no option for is read from variables.
        others = (("CGCLI_TOP_K", known.top_k), ("CGCLI_MIN_P", known.min_p))
        yield " ".join([*(f"{name}={value:g}" for name, value in others if value), shlex.join(words)])


def _model(run: Run) -> str:
    """As --model takes it: a model of the store with its quantization, or a file's path."""
    known = run.identity
    return known.model if known.model.endswith(".gguf") else f"{known.model}:{known.quant}"


def _limit(run: Run) -> int | None:
    """The number of problems, where they are the first ones and not all."""
    first = _FIRST[run.identity.benchmark]
    numbers = {int(found[0]) for found in (re.search(r"\d+$", name) for name in run.problems) if found}
    count = len(run.problems)
    return count if count < _PROBLEMS[run.identity.benchmark] and numbers == set(range(first, first + count)) else None
