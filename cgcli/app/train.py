"""What `cgcli train` does: find the recipe, show what it takes, train, and make a model of what comes out."""

from __future__ import annotations

import logging
import os
import shlex
import time
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.app.recipes import Device, Wish, wished
from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.core.signals import Terminated
from cgcli.core.units import compact

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.progress import Task
    from cgcli.hub.store import Store, Stored
    from cgcli.train.estimate import TrainingEstimate
    from cgcli.train.metrics import StepMetrics
    from cgcli.train.recipe import Recipe

__all__ = ["Wish", "run_training"]

LINE_SECONDS = 30.0  # between two lines about the training where stderr is no terminal
NEEDED = ("jax", "optax", "orbax", "grain", "tokenizers")


def run_training(run: Run, wish: Wish) -> None:
    """Train, or say what it would take, or how it went. Raises what `wished` and `train` raise, and CgcliError without
    JAX."""
    if wish.report:
        _report(run, wish, wish.report)
        return
    if not wish.dry_run:
        _check_installed()
    _before_jax()
    logging.getLogger("cgcli").propagate = False  # JAX's friends give the root logger a handler that writes on stderr
    from cgcli.train.device import ProcessGroup, join

    processes = ProcessGroup(wish.coordinator, wish.processes, wish.process)
    run.output.quiet |= not processes.first
    join(processes)  # before JAX is asked what devices there are
    recipe, out = wished(wish, run.environment, _device, run.output.note)
    if wish.dry_run:
        _tell(run, recipe, out, wish)
        return
    store = _store(run)
    if wish.export:
        _check_free(store, wish.export, _model_file(out, wish))
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
                profile=wish.profile,
                group=processes,
            )
    except (KeyboardInterrupt, Terminated):  # where data are prepared, or at its end: steps answer Ctrl-C themselves
        raise Interrupted(hint=f"cgcli train -o {shlex.quote(str(out))}") from None
    if not processes.first:
        return
    facts: dict[str, Any] = {**asdict(result), "export": str(result.export)}
    loss = "" if result.loss is None else f", loss {result.loss:.4f}"
    run.output.note(f"{result.steps} steps, {compact(result.tokens)} tokens{loss}; the model is in {result.export}")
    if wish.export:
        stored = _publish(run, store, recipe, result.export, _model_file(out, wish), wish)
        facts |= {"model": stored.spec, "gguf": str(stored.path)}
        run.output.note(f'added {stored.spec}: cgcli gen -m {stored.name} "..."')
    if wish.json:
        run.output.json(facts)


class _Display:
    """A run as it is watched: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, run: Run, recipe: Recipe, stack: ExitStack) -> None:
        self._run, self._recipe, self._stack = run, recipe, stack
        self._pause = 0.0 if run.output.stderr_is_terminal else LINE_SECONDS
        self._task: Task | None = None
        self._waiting = 0  # steps that were not told yet
        self._told = time.monotonic()

    def start(self, estimate: TrainingEstimate, done: int, rate: float) -> None:
        from cgcli.core.units import clock, size

        on = f" goes on at step {done}" if done else ""
        self._run.output.note(
            f"{self._recipe.name}{on}: {compact(estimate.parameters)} parameters, {compact(estimate.trained)} trained, "
            f"about {size(estimate.memory_bytes)} of memory and {clock(estimate.seconds(rate, done))}"
        )

    def step(self, row: StepMetrics) -> None:
        steps = self._recipe.optimizer.steps
        if self._task is None:  # the first step compiles: the time left is told from the second on
            progress = self._run.output.progress()
            self._task = self._stack.enter_context(progress.task("training", steps, unit="steps", done=row.step))
            return
        self._waiting += 1
        if time.monotonic() - self._told < self._pause and row.step < steps:
            return
        speed = f"{compact(row.tokens_per_s)} tokens/s, {100 * row.peak_share:.0f} % of peak"
        self._task.status(f"loss {row.loss:.3f}, {speed}")
        self._task.advance(self._waiting)
        self._waiting, self._told = 0, time.monotonic()


def _tell(run: Run, recipe: Recipe, out: Path, wish: Wish) -> None:
    """What a run would take, its time only with JAX. Raises CgcliError where memory or the data do not suffice."""
    from cgcli.core.units import clock, size
    from cgcli.train import estimate, prepare

    there = _device()
    found = estimate.estimate(recipe, there.count)
    rate = seconds = name = None
    if _has_jax():
        from cgcli.train import device

        name, rate = device.name(), device.matmul_flops(recipe.compute.dtype)
        seconds = found.seconds(rate)
    else:
        run.output.note("JAX is not installed, so the time is not known; pip install 'cgcli[train]'")
    if wish.json:
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
            speed["time"] = f"about {clock(seconds)} at {100 * estimate.SHARE:.0f} % of that"
        facts = {
            "model": recipe.name,
            "parameters": f"{compact(found.parameters)}, {compact(found.trained)} trained",
            "batch": f"{batch.sequences} sequences of {recipe.model.context} tokens, {together} at once",
            "memory": f"{size(found.memory_bytes)} a device ({_listed(parts)}), {size(there.memory_bytes)} there",
            "compute": f"{found.flops_a_token / 1e9:.3g} GFLOP a token",
            "steps": f"{found.steps}, {compact(found.steps * found.tokens_a_step)} tokens",
            **speed,
        }
        for label, value in facts.items():
            run.output.text(f"{label:12} {value}")
    estimate.check_memory(recipe, there.memory_bytes, there.count)
    if prepare.prepared(out) is None:
        prepare.check_data(recipe, out, None)


def _report(run: Run, wish: Wish, page: Path) -> None:
    """The page of a run, done or not; JAX is not needed. Raises UsageError where there is no run."""
    from cgcli.core.files import check_writable, write_atomic
    from cgcli.evals.report import page as pages
    from cgcli.evals.report.plots import check
    from cgcli.evals.report.sections import training_section
    from cgcli.train.folder import RunFolder
    from cgcli.train.metrics import read_metrics

    recipe, out = wished(wish, run.environment, _device, run.output.note)
    check_writable(page)
    check()
    rows = list(read_metrics(RunFolder(out).metrics))
    if not rows:
        raise UsageError(f"no step of a training run in {out}", hint="-o OUT, the folder that it was trained in")
    write_atomic(page, pages.page([training_section(rows, f"The run in {out}")], f"Training {recipe.name}").encode())
    run.output.note(f"{page}: {rows[-1].step:,} of {recipe.optimizer.steps:,} steps")


def _listed(parts: dict[str, int]) -> str:
    from cgcli.core.units import size

    return ", ".join(f"{name} {size(count)}" for name, count in parts.items())


def _has_jax() -> bool:
    return find_spec("jax") is not None


def _device() -> Device:
    if not _has_jax():
        from cgcli.core.machine import available_bytes

        return Device("cpu", available_bytes())
    from cgcli.train import device

    return Device(device.platform(), device.memory_bytes(), device.count())


def _check_installed() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        what = "training needs JAX" if "jax" in missing else f"training needs {', '.join(missing)}"
        raise CgcliError(what, hint="pip install 'cgcli[train]'")


def _before_jax() -> None:
    """What must be in the environment before JAX is imported; what the user set stays."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own log goes to stderr


def _store(run: Run) -> Store:
    from cgcli.hub.store import open_store

    return open_store(run.environment)


def _model_file(out: Path, wish: Wish) -> Path:
    return out / f"{wish.export}.{wish.quant}.gguf"


def _check_free(store: Store, name: str, file: Path) -> None:
    """Raises UsageError now, and not after hours, where the name is another model's or no name."""
    taken = [one for one in store.quants(name) if one.path != file and not one.bundled]
    if taken:
        raise UsageError(f"there is a model named {name} already", hint="choose another --export")


def _publish(run: Run, store: Store, recipe: Recipe, export: Path, file: Path, wish: Wish) -> Stored:
    """The exported checkpoint as a GGUF in the run's folder, and a model of the store."""
    from cgcli.convert.convert import convert
    from cgcli.convert.writer import Provenance
    from cgcli.core.machine import thread_count

    assert wish.export is not None
    progress = run.output.progress()
    threads = run.settings().threads or thread_count()
    provenance = Provenance(f"trained as {recipe.name}")
    convert(export, file, quant=wish.quant, provenance=provenance, progress=progress, threads=threads)
    if store.quants(wish.export) and not store.is_bundled(wish.export):
        store.remove(wish.export, None, progress)  # this run's own, as it was before
    return store.link(wish.export, file, progress)
