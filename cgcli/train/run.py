"""A training run, from its recipe to its last step: data, state, steps, checkpoints, metrics, the model.

Killed at any moment, the same call goes on at the last checkpoint and computes, on the same devices, the same bits. It
draws nothing and reads no command line.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cgcli.convert.config import EPSILON, CodeGenConfig
from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.core.progress import Progress
from cgcli.native.interrupt import interruptible
from cgcli.train import device, estimate, hub_layout, lora
from cgcli.train.checkpoints import Checkpoints, Facts
from cgcli.train.distributed import ALONE, Processes, wait_for_all
from cgcli.train.folder import Folder, digest
from cgcli.train.mesh import make_mesh, shard_batch, shard_state
from cgcli.train.metrics import Metrics, Row
from cgcli.train.model import Params
from cgcli.train.pipeline import Batches
from cgcli.train.prepare import Prepared, prepare, prepared
from cgcli.train.profiling import Profiler
from cgcli.train.recipe import Recipe
from cgcli.train.records import Records
from cgcli.train.step import Step, TrainState, init_state, make_step


@dataclass(frozen=True)
class Result:
    """What a finished run came to. loss, nll: of the last step; None, as what is measured of speed, where nothing was
    left to do. tokens, seconds: all starts of the run together; tokens_per_s: median of this start's steps.
    export: the model in the Hub's layout. counts: of the data."""

    steps: int
    loss: float | None
    nll: float | None
    tokens: int
    seconds: float
    tokens_per_s: float | None
    peak_share: float | None
    parameters: int
    export: Path
    counts: dict[str, Any]


def train(
    recipe: Recipe,
    out: Path,
    *,
    progress: Progress,
    on_start: Callable[[estimate.Estimate, int, float], None] = lambda *_: None,
    on_step: Callable[[Row], None] = lambda _: None,
    profile: bool = False,
    processes: Processes = ALONE,
) -> Result:
    """Train what `recipe` says (its paths absolute: `folder.resolved`) in the folder `out`, or go on there.

    on_start: told the estimate, the step that it goes on from and the measured rate of products (operations a second)
    before the first step; on_step: told of each step. The first Ctrl-C, or a SIGTERM, with which batch systems take a
    machine back, keeps a checkpoint and raises Interrupted. Several processes have met before (`distributed.join`), and
    `out` is a folder that all of them see.

    Raises CgcliError where memory does not suffice, the data are not enough, the disk says no or the loss is no number;
    UsageError where `out` has a run of another recipe; ModelFileError for an `init` that is no CodeGen checkpoint.
    """
    place = Folder(out)
    planned = estimate.check(recipe, device.memory_bytes(), device.count())
    with ExitStack() as stack:
        if processes.first:
            stack.enter_context(place.held(recipe))
        wait_for_all(processes, "folder")
        checkpoints = stack.enter_context(Checkpoints(place.checkpoints, recipe.checkpoint.keep))
        data = _data(recipe, place, processes, going_on=checkpoints.latest is not None, progress=progress)
        run = _Run(recipe, place, data, checkpoints, processes)
        rate = device.matmul_flops(recipe.compute.dtype)
        on_start(planned, run.step, rate)
        profiler = None
        if profile and processes.first:
            profiler = stack.enter_context(Profiler(place.profile, progress.note))
        last, speeds = None, []
        for last in run.steps(profiler, rate):
            speeds.append(last.tokens_per_s)
            on_step(last)
        run.export()
    speed = float(np.median(speeds[1:] or speeds)) if speeds else None
    return Result(
        steps=run.step,
        loss=last.loss if last else None,
        nll=last.nll if last else None,
        tokens=run.tokens,
        seconds=run.seconds,
        tokens_per_s=speed,
        peak_share=speed and speed * planned.flops_a_token / rate,
        parameters=planned.parameters,
        export=place.export,
        counts=data.counts,
    )


class _Run:
    """State, data and where they stand: from the beginning, or from the last checkpoint."""

    def __init__(
        self, recipe: Recipe, place: Folder, data: Prepared, checkpoints: Checkpoints, processes: Processes
    ) -> None:
        self.recipe, self.place, self.data = recipe, place, data
        self.checkpoints, self.processes = checkpoints, processes
        self.config, base = _weights(recipe)
        self.mesh = make_mesh(recipe)
        self.base = shard_state(base, self.mesh) if base is not None and recipe.lora.rank else None
        self.state: TrainState = shard_state(init_state(recipe, base), self.mesh)
        self.batches = Batches(
            Records(data.records),
            recipe.batch.sequences,
            recipe.compute.seed,
            process=processes.index,
            processes=processes.count,
        )
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self._restore()

    def _restore(self) -> None:
        there = self.checkpoints.restore(self.state)
        if there is None:
            return
        self.step, self.state, facts = there
        if facts.digest != digest(self.recipe):
            raise UsageError(f"{self.place.root} has checkpoints of another recipe", hint="another folder with -o")
        self.batches.restore(facts.position.encode())
        self.tokens, self.seconds = facts.tokens, facts.seconds

    def steps(self, profiler: Profiler | None, rate: float) -> Iterator[Row]:
        """Compute what is left, a row a step. Raises Interrupted once the state is kept."""
        advance = make_step(self.recipe, self.mesh)
        total, every = self.recipe.optimizer.steps, self.recipe.checkpoint.every
        with ExitStack() as stack:
            interrupt = stack.enter_context(interruptible())
            metrics = None
            if self.processes.first:
                metrics = stack.enter_context(Metrics(self.place.metrics, after=self.step))
            while self.step < total:
                if profiler:
                    profiler.before()
                row = self._advance(advance, rate)
                if profiler:
                    profiler.after()
                if metrics:
                    metrics.append(row)
                stopping = self._any(interrupt.requested)
                if self.step % every == 0 or self.step == total or stopping:
                    self._save()
                yield row
                if stopping and self.step < total:
                    raise Interrupted(
                        f"interrupted, step {self.step} of {total} is kept",
                        hint=f"cgcli train -o {shlex.quote(str(self.place.root))}",
                    )

    def _advance(self, advance: Step, rate: float) -> Row:
        started = time.perf_counter()
        batch = next(self.batches)  # [sequences / processes, context]
        passes = batch.reshape(self.recipe.batch.accumulate, -1, batch.shape[-1])
        self.state, measured = advance(self.state, shard_batch(passes, self.mesh), self.base)
        values = {name: float(value) for name, value in jax.device_get(measured).items()}
        took = time.perf_counter() - started
        self.step += 1
        # In float16 a gradient that is no number is passed over, and the scale of the loss is not its fault.
        finite = math.isfinite(values["grad_norm"])
        if not math.isfinite(values["loss"]) or not (finite or self.recipe.compute.dtype == "float16"):
            raise self._diverged(values)
        tokens = self.recipe.batch.sequences * self.recipe.model.context
        self.tokens += tokens
        self.seconds += took
        return Row(
            step=self.step,
            loss=values["loss"],
            nll=values["nll"],
            grad_norm=values["grad_norm"] if finite else None,
            lr=values["lr"],
            tokens=self.tokens,
            seconds=self.seconds,
            tokens_per_s=tokens / took,
            peak_share=tokens / took * estimate.flops_a_token(self.recipe) / rate,
        )

    def _save(self) -> None:
        facts = Facts(digest(self.recipe), self.batches.state().decode(), self.tokens, self.seconds)
        self.checkpoints.save(self.step, self.state, facts)

    def _diverged(self, values: dict[str, float]) -> CgcliError:
        last = self.checkpoints.latest
        kept = f"the last good checkpoint is of step {last}" if last else "there is no checkpoint yet"
        return CgcliError(
            f"step {self.step}: the loss is {values['loss']:g}, the gradient's norm {values['grad_norm']:g}; {kept}",
            hint="a smaller [optimizer] lr or a longer warmup, in another folder",
        )

    def _any(self, asked: bool) -> bool:
        """Whether any process was asked to stop: all of them must, after the same step."""
        if self.processes.count == 1:
            return asked
        return bool(multihost_utils.process_allgather(np.asarray(asked)).any())

    def export(self) -> None:
        """Write the model in the Hub's layout."""
        params: Params = self.state.params
        if self.base is not None:
            params = lora.merged(self.base, params, self.recipe.lora)
        if self.processes.count > 1:
            params = multihost_utils.process_allgather(params, tiled=True)
        if self.processes.first:
            hub_layout.save(self.place.export, self.config, params, self.data.tokenizer)


def _data(recipe: Recipe, place: Folder, processes: Processes, *, going_on: bool, progress: Progress) -> Prepared:
    """The records: made by the first process, and as they were where a run goes on."""
    there = prepared(place.root) if going_on else None
    if there is None and processes.first:
        there = prepare(recipe, place.root, place.root, None, progress)
    wait_for_all(processes, "data")
    there = there or prepared(place.root)
    if there is None:
        raise CgcliError(f"{place.data} is not to be seen from here", hint="a folder that every process sees with -o")
    return there


def _weights(recipe: Recipe) -> tuple[CodeGenConfig, Params | None]:
    """The model's configuration, and the weights to start from. Raises UsageError where they do not fit the recipe."""
    if not recipe.init:
        if recipe.lora.rank:
            raise UsageError(f"[lora] rank {recipe.lora.rank}: adapters of what?", hint="--init NAME or DIR")
        return CodeGenConfig(recipe.model, name=recipe.name), None
    config, params = hub_layout.load(Path(recipe.init))
    if config.epsilon != EPSILON:
        raise UsageError(f"{recipe.init} has layer_norm_epsilon {config.epsilon:g}; only {EPSILON:g} can be trained")
    for name in ("layers", "width", "heads", "inner", "rotary", "vocabulary"):
        there, wanted = getattr(config.shape, name), getattr(recipe.model, name)
        if there != wanted:
            raise UsageError(
                f"{recipe.init} has {name} {there}, but the recipe has {wanted}",
                hint="copy the checkpoint's sizes to [model] in the recipe",
            )
    return config, params
