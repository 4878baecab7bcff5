"""What evaluations share: arguments, files, drawing here or on a cluster, progress, and how they end; and reports."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from cgcli.app.model import Use, choose_model, loaded_engine, model_identity, open_engine
from cgcli.app.run import Run
from cgcli.core.errors import Interrupted, ModelFileError, UsageError
from cgcli.core.machine import processor_name
from cgcli.core.signals import Terminated

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine, Placement
    from cgcli.evals.judging import Judge, JudgedSample
    from cgcli.evals.mtpb import Problem
    from cgcli.evals.report.numbers import Number, PublishedNumber
    from cgcli.evals.report.parts import Section
    from cgcli.evals.report.runs import EvalRun
    from cgcli.evals.samples import Key, Row, Samples, Shard
    from cgcli.hub.choose import Choice
    from cgcli.sandbox.policy import Policy

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class EvaluationArguments:
    """The command line of an evaluation, without the settings."""

    n: int | None = None  # samples per problem
    output: Path | None = None
    generate: Path | None = None  # only draw, into this file
    judge: Path | None = None  # only judge this file
    data: Path | None = None  # instead of the published problems
    limit: int | None = None
    shard: str | None = None
    ray: str | None = None
    workers: int | None = None  # programs run in parallel
    unsafe: bool = False
    json: bool = False
    to_the_letter: bool = False  # a completion does not end at a bar
    guard: Literal["on", "off"] | None = None  # None is off, as published results are drawn, whatever the settings say

    def guarding(self, settings: Settings) -> Settings:
        """The settings, with the guards as asked for."""
        return replace(settings, guard=self.guard or "off")

    def named(self, benchmark: str) -> str:
        """The benchmark's name in file names: samples that are drawn in another way never share one."""
        return benchmark + "-guard" * (self.guard == "on") + "-to-the-letter" * self.to_the_letter


@contextmanager
def evaluating(arguments: EvaluationArguments) -> Iterator[None]:
    """Around an evaluation: checks its arguments, and after Ctrl-C says how to resume."""
    if sum(file is not None for file in (arguments.output, arguments.generate, arguments.judge)) > 1:
        raise UsageError("--output, --generate and --judge cannot be used together", hint="keep one of them")
    if arguments.judge and arguments.ray:
        raise UsageError("--judge generates no samples, so --ray has no effect", hint="leave one of them out")
    if arguments.to_the_letter and arguments.guard == "on":
        cut = "cuts comments that repeat one character"
        raise UsageError(f"--guard on {cut}, so --to-the-letter has no effect", hint="leave one of them out")
    try:
        yield
    except (KeyboardInterrupt, Terminated, Interrupted):
        raise Interrupted(hint="run the same command again to resume") from None


def sample_identity(run: Run, choice: Choice) -> dict[str, str]:
    """The model's identity, which every sample records."""
    from cgcli.engine.gguf_check import read_header

    return model_identity(run, choice, choice.quant or read_header(choice.path).quant)


def default_file(run: Run, benchmark: str, choice: Choice, quant: str, shard: Shard | None) -> Path:
    """The file in the data folder for this model's samples, or for those of a shard."""
    name = re.sub(r"[^\w.-]+", "_", choice.name)
    part = shard.suffix if shard else ""
    return run.environment.data / "evals" / f"{benchmark}-{name}-{quant}{part}.jsonl"


def report_other_seeds(run: Run, path: Path, seed: int) -> None:
    """Say that a file also holds samples of other seeds."""
    from cgcli.evals.samples import read_rows

    others = Counter(row["seed"] for row in read_rows(path) if row.get("seed", seed) != seed)
    if others:
        seeds = ", ".join(map(str, sorted(others, key=str)))
        run.output.note(f"{path} also holds {others.total()} samples of seed {seeds}; they are kept but not counted")


def report_unused(run: Run, settings: Settings, fixed: Mapping[str, str]) -> None:
    """Name the settings that differ from their defaults but have no effect. fixed: settings of a benchmark, and why."""
    from cgcli.core.config import Settings

    for name, why in fixed.items():
        if getattr(settings, name) != getattr(Settings(), name):
            run.output.note(f"{name} is not used: {why}")


def check_sandbox(policy: Policy) -> None:
    """Raise SandboxError now, before hours go into drawing samples."""
    from cgcli.sandbox.run import run

    run(b"", policy=policy)


@dataclass(frozen=True)
class Drawing(Generic[ItemT]):
    """Draws samples of a model into a file, in this process or on a Ray cluster, to which it is pickled."""

    settings: Settings
    choice: Choice
    sha256: str  # of the model's file
    draw: Callable[[Engine, Iterable[ItemT]], Iterator[Row]]  # a row for each item; can be pickled
    placements: list[Placement] = field(default_factory=list)  # of the engine in this process, once it is loaded

    @property
    def ran_on(self) -> dict[str, object] | None:
        """What ran where, for JSON; None if nothing was drawn in this process."""
        return asdict(self.placements[0]) if self.placements else None

    def rows(self, run: Run, wanted: Mapping[Key, ItemT], samples: Samples, ray: str | None) -> Generator[Row]:
        """Draw what the file lacks and yield each stored row. Raises like the engine and `draw_on_cluster`."""
        missing = {key: item for key, item in wanted.items() if key not in samples}
        if not missing:
            return
        with self._here(run, missing) if ray is None else self._on(ray, run, missing, samples.key) as rows:
            for row in rows:
                samples.append(row)
                yield row

    @contextmanager
    def _here(self, run: Run, missing: Mapping[Key, ItemT]) -> Iterator[Iterator[Row]]:
        with loaded_engine(run, self.settings, self.choice, Use(many=True)) as engine:
            self.placements.append(engine.placement)
            yield timed(self.draw(engine, missing.values()))

    @contextmanager
    def _on(
        self, address: str, run: Run, missing: Mapping[Key, ItemT], key: tuple[str, ...]
    ) -> Iterator[Iterator[Row]]:
        from cgcli.evals.ray_cluster import draw_on_cluster

        gpus = self.settings.gpu_layers != 0 and not self.settings.exact
        there = replace(self, choice=self.choice._replace(path=self.choice.path.absolute()))
        with closing(draw_on_cluster(address, there, missing, key, gpus=gpus, note=run.output.note)) as rows:
            yield rows

    def __call__(self, cpus: int) -> Callable[[Iterable[ItemT]], Iterator[Row]]:
        """On a machine of the cluster: load the model, from its path or the store, and return a function that draws.

        Raises ModelNotFound, ModelFileError, and like `open_engine`.
        """
        from cgcli.core.machine import thread_count
        from cgcli.core.reading import sha256_file
        from cgcli.native.interrupt import Interrupt

        run, choice = Run.from_process(), self.choice
        if not choice.path.exists():
            name = f"{choice.name}:{choice.quant}" if choice.stored else str(choice.path)
            choice = choose_model(run, replace(self.settings, model=name))
        if sha256_file(choice.path, run.output.progress(), "") != self.sha256:
            raise ModelFileError(
                f"{choice.path} on a machine of the cluster is a different model",
                hint="pull the same model on every machine",
            )
        threads = self.settings.threads or min(cpus, thread_count())
        settings = replace(self.settings, threads=threads, serve="off")
        engine = open_engine(run, settings, choice, Interrupt(), Use(many=True))
        return lambda wanted: timed(self.draw(engine, wanted))


def timed(rows: Iterable[Row]) -> Iterator[Row]:
    """`rows` with `machine`, the CPU, and `seconds` since the row before.

    Rows are drawn in parallel, so a single value means little; the sum over a process is its time.
    """
    machine, before = processor_name(), time.perf_counter()
    for row in rows:
        now = time.perf_counter()
        yield {**row, "machine": machine, "seconds": round(now - before, 3)}
        before = now


def only_draw(run: Run, command: str, samples: Samples, rows: Iterable[Row], there: int, total: int) -> None:
    """Draw the missing rows. command: the subcommand that judges them."""
    with run.output.progress().task("generating", total, unit="samples", done=there) as task:
        for _ in rows:
            task.advance(1)
    run.output.note(f"{total} samples in {samples.path}; judge them: cgcli eval {command} --judge {samples.path}")


def judge_rows(run: Run, judge: Judge, rows: Iterable[Row], total: int, add: Callable[[JudgedSample], str]) -> None:
    """Judge the rows as they arrive. add: counts one and returns the score so far, for the progress bar."""
    with (
        run.output.progress().task("samples", total, unit="samples", done=judge.known) as task,
        closing(judge.judge(rows)) as judged,
    ):
        for one in judged:
            task.status(add(one))
            task.advance(not one.earlier)


# --- reports


@dataclass(frozen=True)
class ReportArguments:
    """The command line of `eval report`."""

    runs: tuple[Path, ...]
    output: Path | None = None  # for the HTML page
    csv: Path | None = None
    data: Path | None = None  # MTPB problems, for the categories


@dataclass(frozen=True)
class RunsReport:
    """A report on several runs."""

    runs: Sequence[EvalRun]  # after joining shards
    published: Sequence[PublishedNumber]

    def sections(self) -> Iterator[Section]:
        """The report for people."""
        from cgcli.evals.report.sections import sections

        return sections(self.runs, self.published)

    @cached_property
    def numbers(self) -> list[Number]:
        from cgcli.evals.report.numbers import numbers

        return numbers(self.runs, self.published)

    def as_json(self) -> dict[str, object]:
        from cgcli.evals.report.numbers import as_json

        return as_json(self.runs, self.numbers)


def report_runs(run: Run, arguments: ReportArguments) -> RunsReport:
    """Read the runs and write the page and the table that were asked for.

    Raises UsageError for files that cannot be written, CgcliError for malformed runs or without matplotlib.
    """
    from cgcli.core.files import write_atomic
    from cgcli.evals.report.numbers import as_csv, published
    from cgcli.evals.report.runs import read_runs

    _check_report(arguments)
    found = read_runs(arguments.runs, _known_problems(run, arguments.data))
    report = RunsReport(found, published(found))
    if arguments.output:
        from cgcli.evals.report.page import page

        text = page(report.sections(), "How often the programs are right")
        write_atomic(arguments.output, text.encode("utf-8", "backslashreplace"))
    if arguments.csv:
        write_atomic(arguments.csv, as_csv(report.numbers).encode("utf-8", "backslashreplace"))
    return report


def _check_report(arguments: ReportArguments) -> None:
    """Raise for files that cannot be written, before anything is read."""
    from cgcli.core.files import check_writable
    from cgcli.evals.judging import results_path
    from cgcli.evals.report.plots import check

    read = {path.resolve() for run in arguments.runs for path in (run, results_path(run))}
    written = [file for file in (arguments.output, arguments.csv) if file]
    for file in written:
        if file.resolve() in read:
            raise UsageError(f"{file} is one of the runs and would be overwritten", hint="choose another file to write")
        check_writable(file)
    if len({file.resolve() for file in written}) < len(written):
        raise UsageError(f"--output and --csv both name {written[0]}", hint="choose two files")
    if arguments.output:
        check()


def _known_problems(run: Run, data: Path | None) -> Mapping[str, Problem]:
    """MTPB's problems, if their file is there. A report downloads nothing."""
    from cgcli.evals.mtpb import PUBLISHED, load_problems

    path = data or run.environment.data / "evals" / PUBLISHED.name
    return {problem.id: problem for problem in load_problems(path)} if data or path.is_file() else {}
