"""What evaluations share beyond their options: their files, their progress, and how they end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.cli.engine import identified
from cgcli.core.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from cgcli.cli.context import Run
    from cgcli.evals.samples import Row, Samples
    from cgcli.evals.verdicts import Judge, Judged
    from cgcli.hub.choose import Choice
    from cgcli.sandbox.policy import Policy


@contextmanager
def evaluating(*files: Path | None) -> Iterator[None]:
    """Around an evaluation. files: those that --output, --generate and --judge name. Ctrl-C says that it can go on."""
    if sum(file is not None for file in files) > 1:
        raise UsageError("--output, --generate and --judge name one file each", hint="leave two of them out")
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(hint="the same command goes on where it was") from None


def identity(run: Run, choice: Choice) -> dict[str, str]:
    """What names the model in each of its samples."""
    from cgcli.engine.gguf import read_header

    return identified(run, choice, choice.quant or read_header(choice.path).quant)


def default_file(run: Run, benchmark: str, choice: Choice, quant: str) -> Path:
    """A file of the data folder that this model's samples are found in again."""
    name = re.sub(r"[^\w.-]+", "_", choice.name)
    return run.environment.data / "evals" / f"{benchmark}-{name}-{quant}.jsonl"


def try_sandbox(policy: Policy) -> None:
    """Raises SandboxError now, and not when hours were spent on samples."""
    from cgcli.sandbox.run import run

    run(b"", policy=policy)


def only_draw(run: Run, command: str, samples: Samples, rows: Iterable[Row], there: int, total: int) -> None:
    """Draw the rows that are not there yet. command: the subcommand that judges them."""
    with run.output.progress().task("drawing", total, unit="samples", done=there) as task:
        for _ in rows:
            task.advance(1)
    run.output.note(f"{total} samples in {samples.path}; type: cgcli eval {command} --judge {samples.path}")


def judge_rows(run: Run, judge: Judge, rows: Iterable[Row], total: int, add: Callable[[Judged], str]) -> None:
    """Judge the rows as they come. add: takes note of each, and says the score so far."""
    with (
        run.output.progress().task("samples", total, unit="samples", done=judge.known) as task,
        closing(judge.judge(rows)) as judged,
    ):
        for one in judged:
            task.say(add(one))
            task.advance(not one.earlier)
