"""Judging samples of MTPB: each is run in the sandbox, and what it printed last is compared outside it.

No sample sees the value that is expected of it. Processor time decides; the paper's 20 s are on the clock. Each program
is run once, however often it was drawn. Beside SAMPLES.jsonl lies SAMPLES.jsonl_results.jsonl: every row with `passed`,
`outcome` (one word), `detail`, `rules`, `sample` (which row it is, from 0) and `program` (what was judged). A killed
run goes on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from cgcli.core.errors import CgcliError
from cgcli.evals.equality import Printed, RulesName, equal
from cgcli.evals.judging import Job, judge_all, timed
from cgcli.evals.samples import Row, Samples, read
from cgcli.program.program import digest
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

SECONDS = 20.0
_GRACE_S = 3.0
"""For the interpreter's start, numpy's import, and telling the value, beside the program's own time."""


@dataclass(frozen=True)
class Result:
    """outcome: `passed`, `wrong answer`, `no print`, or why the program failed. detail: one line, may be empty."""

    outcome: str
    detail: str

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


@dataclass(frozen=True)
class Rules:
    """name: how values are compared; seconds: of processor time for a program itself."""

    name: RulesName = "paper"
    seconds: float = SECONDS
    unsafe: bool = False

    @property
    def policy(self) -> Policy:
        return timed(self.seconds + _GRACE_S, unsafe=self.unsafe)


@dataclass(frozen=True)
class Trial:
    """A program to run, and what is expected of it. mark: what comes before the value that it prints."""

    program: str
    expected: Any
    mark: str

    @classmethod
    def of(cls, program: str, expected: Any) -> Trial:
        return cls(program, expected, f"\n{secrets.token_hex(16)} ")

    def source(self, rules: Rules) -> bytes:
        """What the sandbox is to run."""
        words = (self.program, type(self.expected).__name__, rules.seconds, self.mark)
        return f"{_teller()}\n\ntell({', '.join(map(ascii, words))})\n".encode()

    def result(self, verdict: Verdict, rules: Rules) -> Result:
        """From how that went."""
        if not verdict.passed:
            return Result(verdict.outcome, verdict.detail)
        _, mark, words = verdict.stdout.rpartition(self.mark.encode())
        try:
            printed = Printed.told(words if mark else b"")
        except ValueError:
            return Result("exit", "it ended before its end")
        if equal(printed, self.expected, rules.name):
            return Result("passed", "")
        if printed.ended in {"cpu time", "wall time"}:
            return Result(printed.ended, "")
        if printed.ended:
            return Result("exception", _visible(printed.ended))
        return Result("wrong answer", _visible(printed.shown)) if printed.type else Result("no print", "")


@dataclass(frozen=True)
class Judged:
    """A row and what became of it. earlier: that was known before this run."""

    row: Row
    result: Result
    earlier: bool


@dataclass(frozen=True)
class _Sample:
    row: Row
    number: int
    program: str


def results_path(samples: Path) -> Path:
    """Where the verdicts on a file of samples are kept."""
    return samples.with_name(f"{samples.name}_results.jsonl")


class Judge:
    """Judges the rows of one file. A context manager, and the only writer of its results meanwhile."""

    def __init__(
        self, samples: Path, rules: Rules, *, workers: int, wanted: Callable[[Row], bool] = lambda _: True
    ) -> None:
        """wanted: which rows are judged. known: how many of them an earlier run has judged by the same rules.

        Raises CgcliError where another process writes the results, or a row is no sample.
        """
        self.path = results_path(samples)
        self.known = 0
        self._samples, self._rules, self._workers, self._wanted = samples, rules, workers, wanted
        self._verdicts: dict[str, Result] = {}
        self._results = Samples(self.path, ("sample",))
        try:
            self._remember()
        except BaseException:
            self._results.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._results.close()

    def judge(self, rows: Iterable[Row]) -> Generator[Judged]:
        """Judge all rows of the file, in their order; yields each that is wanted when its verdict is known.

        Raises SandboxError where there is no sandbox, CgcliError for a row that is no sample.
        """
        ready: list[_Sample] = []
        waiting: dict[str, tuple[Trial, list[_Sample]]] = {}

        def jobs() -> Iterator[Job[str]]:
            for number, row in enumerate(rows):
                if not self._wanted(row):
                    continue
                sample = _Sample(row, number, self._digest(row))
                if sample.program in self._verdicts:
                    ready.append(sample)
                elif sample.program in waiting:
                    waiting[sample.program][1].append(sample)
                else:
                    trial = Trial.of(row["completions"], row["gold_output"])
                    waiting[sample.program] = trial, [sample]
                    yield Job(sample.program, trial.source(self._rules), self._rules.policy)

        for program, verdict in judge_all(jobs(), self._workers):
            trial, samples = waiting.pop(program)
            self._verdicts[program] = trial.result(verdict, self._rules)
            yield from self._told([*ready, *samples])
            ready.clear()
        yield from self._told(ready)

    def _told(self, samples: list[_Sample]) -> Iterator[Judged]:
        for sample in samples:
            result = self._verdicts[sample.program]
            earlier = (sample.number,) in self._results
            if not earlier:
                words = {"passed": result.passed, "outcome": result.outcome, "detail": result.detail}
                own = {"rules": self._rules.name, "sample": sample.number, "program": sample.program}
                self._results.append({**sample.row, **words, **own})
            yield Judged(sample.row, result, earlier)

    def _remember(self) -> None:
        """The verdicts of an earlier run by these rules; where the file has others, too, it begins anew."""
        judged: dict[object, object] = {}
        for row in read(self.path):
            judged[row.get("sample")] = row.get("program")
            if row.get("rules") == self._rules.name and "outcome" in row:
                self._verdicts[str(row.get("program"))] = Result(row["outcome"], str(row.get("detail", "")))
        there = read(self._samples) if self._samples.exists() else ()
        programs = {number: (self._digest(row), self._wanted(row)) for number, row in enumerate(there) if judged}
        if all(number in programs and programs[number][0] == program for number, program in judged.items()):
            self.known = sum(wanted and number in judged for number, (_, wanted) in programs.items())
        else:
            self._results.clear()

    def _digest(self, row: Row) -> str:
        """What a trial is known by: the same one need not be run twice."""
        if not isinstance(row.get("completions"), str) or "gold_output" not in row or "id" not in row:
            raise CgcliError(f"{self._samples}: a row without id, completions and gold_output is no sample of MTPB")
        return digest(json.dumps([row["completions"], row["gold_output"], self._rules.name, self._rules.seconds]))


def _visible(text: str) -> str:
    from cgcli.core.visible import visible

    return visible(text[:200])


@cache
def _teller() -> str:
    return Path(__file__).with_name("last_print.py").read_text("utf-8")
