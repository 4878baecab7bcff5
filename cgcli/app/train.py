"""What `cgcli train` does: resolve the recipe, estimate or train, export the result as a model."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.app.recipes import Device, TrainArguments, resolve_recipe
from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.core.signals import Terminated
from cgcli.terminal.text import compact

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.progress import Task
    from cgcli.hub.store import Store, Stored
    from cgcli.train.estimate import TrainingEstimate
    from cgcli.train.metrics import StepMetrics
    from cgcli.train.recipe import Recipe

__all__ = ["TrainArguments", "run_training"]

LINE_SECONDS = 30.0  # between two lines of progress, without a terminal
NEEDED = ("jax", "optax", "orbax", "grain", "tokenizers")


def run_training(run: Run, arguments: TrainArguments) -> None:
    """Train, estimate or report. Raises like `resolve_recipe` and `train`, and CgcliError without JAX."""
    arguments = replace(arguments, quant=arguments.quant.lower())
    if arguments.report:
        _report(run, arguments, arguments.report)
        return
    if not arguments.dry_run:
        _check_installed()
    _before_jax()
    logging.getLogger("cgcli").propagate = False  # absl gives the root logger a handler that writes to stderr
    from cgcli.train.device import ProcessGroup, join

    processes = ProcessGroup(arguments.coordinator, arguments.processes, arguments.process)
    run.output.quiet |= not processes.first
    join(processes)  # before JAX looks for devices
    recipe, out = resolve_recipe(arguments, run.environment, _device, run.output.note)
    if arguments.dry_run:
        _estimate(run, recipe, out, arguments)
        return
    store = _store(run)
    if arguments.export:
        _check_free(store, arguments.export, _model_file(out, arguments))
    from cgcli.train.run import train

    try:
        with ExitStack() as stack:
            display = _Display(run, recipe, stack)
            result = train(
                recipe,
                out,
                progress=run.output.progress(),
                on_start=display.start,
                on_step=display.step,
                profile=arguments.profile,
                group=processes,
            )
    except (KeyboardInterrupt, Terminated):  # while preparing data or at the end; steps handle Ctrl-C themselves
        raise Interrupted(hint=f"cgcli train -o {shlex.quote(str(out))}") from None
    if not processes.first:
        return
    facts: dict[str, Any] = {**asdict(result), "export": str(result.export)}
    loss = "" if result.loss is None else f", loss {result.loss:.4f}"
    run.output.note(f"{result.steps} steps, {compact(result.tokens)} tokens{loss}; wrote {result.export}")
    if arguments.export:
        stored = _publish(run, store, recipe, result.export, _model_file(out, arguments), arguments)
        facts |= {"model": stored.spec, "gguf": str(stored.path)}
        run.output.note(f'added {stored.spec}: cgcli gen -m {stored.name} "..."')
    if arguments.json:
        run.output.json(facts)


class _Display:
    """Progress of a run: a bar on a terminal, otherwise a line every LINE_SECONDS."""

    def __init__(self, run: Run, recipe: Recipe, stack: ExitStack) -> None:
        self._run, self._recipe, self._stack = run, recipe, stack
        self._pause = 0.0 if run.output.stderr_is_terminal else LINE_SECONDS
        self._task: Task | None = None
        self._waiting = 0  # steps not shown yet
        self._shown_at = time.monotonic()

    def start(self, estimate: TrainingEstimate, done: int, rate: float) -> None:
        from cgcli.terminal.text import clock, size

        on = f" resumes at step {done}" if done else ""
        self._run.output.note(
            f"{self._recipe.name}{on}: {compact(estimate.parameters)} parameters, {compact(estimate.trained)} trained, "
            f"about {size(estimate.memory_bytes)} of memory, {clock(estimate.seconds(rate, done))}"
        )

    def step(self, row: StepMetrics) -> None:
        steps = self._recipe.optimizer.steps
        if self._task is None:  # the first step compiles, so the clock starts after it
            progress = self._run.output.progress()
            self._task = self._stack.enter_context(progress.task("training", steps, unit="steps", done=row.step))
            return
        self._waiting += 1
        if time.monotonic() - self._shown_at < self._pause and row.step < steps:
            return
        speed = f"{compact(row.tokens_per_s)} tokens/s, {100 * row.peak_share:.0f} % of peak"
        self._task.status(f"loss {row.loss:.3f}, {speed}")
        self._task.advance(self._waiting)
        self._waiting, self._shown_at = 0, time.monotonic()


def _estimate(run: Run, recipe: Recipe, out: Path, arguments: TrainArguments) -> None:
    """Print the memory and, with JAX, the time of a run. Raises CgcliError if memory or data do not suffice."""
    from cgcli.terminal.text import clock, size
    from cgcli.train import estimate, prepare

    there = _device()
    found = estimate.estimate(recipe, there.count)
    rate = seconds = name = None
    if _has_jax():
        from cgcli.train import device

        name, rate = device.name(), device.matmul_flops(recipe.compute.dtype)
        seconds = found.seconds(rate)
    else:
        from cgcli.core.extras import packages

        run.output.note(
            f"time unknown: JAX is not installed; to install it: {sys.executable} -m pip install {packages('train')}"
        )
    if arguments.json:
        memory = {"memory_bytes": found.memory_bytes, "available_bytes": there.memory_bytes}
        run.output.json({**asdict(found), **memory, "device": name, "matmul_flops": rate, "seconds": seconds})
    else:
        parts = {
            "weights": found.weights_bytes,
            "optimizer": found.optimizer_bytes,
            "gradients": found.gradients_bytes,
            "activations": found.activations_bytes,
        }
        batch, together = recipe.batch, recipe.batch.sequences // recipe.batch.accumulate
        speed = {}
        if rate is not None and seconds is not None:
            speed["device"] = f"{name}, {rate / 1e9:.0f} GFLOP/s of {recipe.compute.dtype} products"
            speed["time"] = f"about {clock(seconds)}, at {100 * estimate.SHARE:.0f} % of that speed"
        facts = {
            "model": recipe.name,
            "parameters": f"{compact(found.parameters)}, {compact(found.trained)} trained",
            "batch": f"{batch.sequences} sequences of {recipe.model.context} tokens, {together} at a time",
            "memory": f"{size(found.memory_bytes)} per device ({_listed(parts)}), {size(there.memory_bytes)} available",
            "compute": f"{found.flops_a_token / 1e9:.3g} GFLOP per token",
            "steps": f"{found.steps}, {compact(found.steps * found.tokens_a_step)} tokens",
            **speed,
        }
        for label, value in facts.items():
            run.output.text(f"{label:12} {value}")
    estimate.check_memory(recipe, there.memory_bytes, there.count)
    if prepare.prepared(out) is None:
        prepare.check_data(recipe, out, None)


def _report(run: Run, arguments: TrainArguments, page: Path) -> None:
    """Write the page of a run, which need not have ended; needs no JAX. Raises UsageError if there is no run."""
    from cgcli.core.files import check_writable, write_atomic
    from cgcli.evals.report import page as pages
    from cgcli.evals.report.plots import check
    from cgcli.evals.report.sections import training_section
    from cgcli.train.folder import RunFolder
    from cgcli.train.metrics import read_metrics

    recipe, out = resolve_recipe(arguments, run.environment, _device, run.output.note)
    check_writable(page)
    check()
    rows = list(read_metrics(RunFolder(out).metrics))
    if not rows:
        raise UsageError(f"no training run in {out}", hint="give the folder of a run: -o OUT")
    write_atomic(page, pages.page([training_section(rows, f"The run in {out}")], f"Training {recipe.name}").encode())
    run.output.note(f"{page}: {rows[-1].step:,} of {recipe.optimizer.steps:,} steps")


def _listed(parts: dict[str, int]) -> str:
    from cgcli.terminal.text import size

    return ", ".join(f"{name} {size(count)}" for name, count in parts.items())


def _has_jax() -> bool:
    return find_spec("jax") is not None


def _device() -> Device:
    if not _has_jax():
        from cgcli.core.machine import available_bytes

        return Device("cpu", available_bytes())
    from cgcli.train import device

    return Device(device.platform(), device.memory(), device.total())


def _check_installed() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        from cgcli.core.extras import packages

        what = "training needs JAX" if "jax" in missing else f"training needs {', '.join(missing)}"
        raise CgcliError(what, hint=f"{sys.executable} -m pip install {packages('train')}")


def _before_jax() -> None:
    """Set environment variables that JAX reads when it is imported, unless the user has set them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own log goes to stderr


def _store(run: Run) -> Store:
    from cgcli.hub.store import open_store

    return open_store(run.environment)


def _model_file(out: Path, arguments: TrainArguments) -> Path:
    return out / f"{arguments.export}.{arguments.quant}.gguf"


def _check_free(store: Store, name: str, file: Path) -> None:
    """Raise UsageError if the name is taken or not allowed: now, not after hours of training."""
    taken = [one for one in store.quants(name) if one.path != file and not one.bundled]
    if taken:
        raise UsageError(f"a model named {name} already exists", hint="choose another name for --export")


def _publish(run: Run, store: Store, recipe: Recipe, export: Path, file: Path, arguments: TrainArguments) -> Stored:
    """Convert the checkpoint to a GGUF in the run's folder and link it into the store."""
    from cgcli.convert.convert import convert
    from cgcli.convert.writer import Provenance
    from cgcli.core.machine import thread_count

    assert arguments.export is not None
    progress = run.output.progress()
    threads = run.settings().threads or thread_count()
    provenance = Provenance(f"trained as {recipe.name}")
    convert(export, file, quant=arguments.quant, provenance=provenance, progress=progress, threads=threads)
    if store.quants(arguments.export) and not store.is_bundled(arguments.export):
        store.remove(arguments.export, None, progress)  # an earlier export of this run
    return store.link(arguments.export, file, progress)
