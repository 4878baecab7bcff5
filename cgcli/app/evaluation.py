"""What evaluations share beyond their options: their files, where they draw, their progress, and how they end."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from cgcli.app.model import choose_model, loaded_engine, model_identity, open_engine
from cgcli.app.run import Run
from cgcli.core.ending import Ended
from cgcli.core.errors import Interrupted, ModelFileError, UsageError
from cgcli.core.machine import processor_name

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine
    from cgcli.evals.judging import Judge, JudgedSample
    from cgcli.evals.samples import Key, Row, Samples, Shard
    from cgcli.hub.choose import Choice
    from cgcli.sandbox.policy import Policy

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Asked:
    """What every evaluation may be asked for. generate, judge: the file, where only that is to be done."""

    output: Path | None = None
    generate: Path | None = None
    judge: Path | None = None
    data: Path | None = None
    limit: int | None = None
    shard: str | None = None
    ray: str | None = None
    workers: int | None = None
    unsafe: bool = False
    json: bool = False


@contextmanager
def evaluating(output: Path | None, generate: Path | None, judge: Path | None, *, ray: str | None) -> Iterator[None]:
    """Around an evaluation with these options. Ctrl-C says that it can go on."""
    if sum(file is not None for file in (output, generate, judge)) > 1:
        raise UsageError("--output, --generate and --judge name one file each", hint="leave two of them out")
    if judge and ray:
        raise UsageError("--ray is for drawing samples, and --judge draws none", hint="leave one of them out")
    try:
        yield
    except (KeyboardInterrupt, Ended, Interrupted):
        raise Interrupted(hint="the same command goes on where it was") from None


def identity(run: Run, choice: Choice) -> dict[str, str]:
    """What names the model in each of its samples."""
    from cgcli.engine.gguf_check import read_header

    return model_identity(run, choice, choice.quant or read_header(choice.path).quant)


def default_file(run: Run, benchmark: str, choice: Choice, quant: str, shard: Shard | None) -> Path:
    """A file of the data folder that this model's samples, or those of a part, are found in again."""
    name = re.sub(r"[^\w.-]+", "_", choice.name)
    part = shard.suffix if shard else ""
    return run.environment.data / "evals" / f"{benchmark}-{name}-{quant}{part}.jsonl"


def tell_other_seeds(run: Run, path: Path, seed: int) -> None:
    """Say that a file holds samples that are not of this run."""
    from cgcli.evals.samples import read

    others = Counter(row["seed"] for row in read(path) if row.get("seed", seed) != seed)
    if others:
        seeds = ", ".join(map(str, sorted(others, key=str)))
        run.output.note(f"{path} also holds {others.total()} samples of seed {seeds}, which stay and do not count here")


def try_sandbox(policy: Policy) -> None:
    """Raises SandboxError now, and not when hours were spent on samples."""
    from cgcli.sandbox.run import run

    run(b"", policy=policy)


@dataclass(frozen=True)
class Drawing(Generic[ItemT]):
    """Samples of a model to be drawn into a file, by this process or, with `ray`, on a cluster.

    draw: with an engine, yields a row for each item; it is pickled for a cluster, as this is.
    """

    settings: Settings
    choice: Choice
    sha256: str
    draw: Callable[[Engine, Iterable[ItemT]], Iterator[Row]]

    def rows(self, run: Run, wanted: Mapping[Key, ItemT], samples: Samples, ray: str | None) -> Generator[Row]:
        """Draw what is not in the file; yields each row when it is. Raises as the engine, and as `draw_on_cluster`."""
        missing = {key: item for key, item in wanted.items() if key not in samples}
        if not missing:
            return
        with self._here(run, missing) if ray is None else self._on(ray, run, missing, samples.key) as rows:
            for row in rows:
                samples.append(row)
                yield row

    @contextmanager
    def _here(self, run: Run, missing: Mapping[Key, ItemT]) -> Iterator[Iterator[Row]]:
        with loaded_engine(run, self.settings, self.choice, many=True) as engine:
            yield timed(self.draw(engine, missing.values()))

    @contextmanager
    def _on(
        self, address: str, run: Run, missing: Mapping[Key, ItemT], key: tuple[str, ...]
    ) -> Iterator[Iterator[Row]]:
        from cgcli.evals.ray_cluster import draw_on_cluster

        gpus = self.settings.gpu_layers != 0 and not self.settings.exact
        there = replace(self, choice=replace(self.choice, path=self.choice.path.absolute()))
        with closing(draw_on_cluster(address, there, missing, key, gpus=gpus, note=run.output.note)) as rows:
            yield rows

    def __call__(self, cpus: int) -> Callable[[Iterable[ItemT]], Iterator[Row]]:
        """On a machine of the cluster: the model, which is at the same path there or pulled, and drawing with it.

        Raises ModelNotFound, ModelFileError and what opening it raises.
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
                f"{choice.path} there is another model than here", hint="pull the same on each machine"
            )
        settings = replace(self.settings, threads=self.settings.threads or min(cpus, thread_count()))
        engine = open_engine(run, settings, choice, Interrupt(), many=True)
        return lambda wanted: timed(self.draw(engine, wanted))


def timed(rows: Iterable[Row]) -> Iterator[Row]:
    """`rows` with `machine`, its processor, and `seconds`, of the clock since the row before: side by side, a row by
    itself has no time of its own, but those of a process add up to what all of them took."""
    machine, before = processor_name(), time.perf_counter()
    for row in rows:
        now = time.perf_counter()
        yield {**row, "machine": machine, "seconds": round(now - before, 3)}
        before = now


def only_draw(run: Run, command: str, samples: Samples, rows: Iterable[Row], there: int, total: int) -> None:
    """Draw the rows that are not there yet. command: the subcommand that judges them."""
    with run.output.progress().task("drawing", total, unit="samples", done=there) as task:
        for _ in rows:
            task.advance(1)
    run.output.note(f"{total} samples in {samples.path}; type: cgcli eval {command} --judge {samples.path}")


def judge_rows(run: Run, judge: Judge, rows: Iterable[Row], total: int, add: Callable[[JudgedSample], str]) -> None:
    """Judge the rows as they come. add: takes note of each, and says the score so far."""
    with (
        run.output.progress().task("samples", total, unit="samples", done=judge.known) as task,
        closing(judge.judge(rows)) as judged,
    ):
        for one in judged:
            task.say(add(one))
            task.advance(not one.earlier)
