"""Runs a training from its recipe: data, state, steps, checkpoints, metrics, the exported model.

After a kill at any moment, the same call continues from the last checkpoint and computes, on the same devices, the same
bits.
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
from cgcli.train import device, estimate, model, weights
from cgcli.train.checkpoints import Checkpoints, ResumePoint
from cgcli.train.device import SINGLE, ProcessGroup, wait_for_all
from cgcli.train.folder import RunFolder, recipe_digest
from cgcli.train.metrics import MetricsWriter, Profiler, StepMetrics
from cgcli.train.model import Params
from cgcli.train.prepare import Prepared, prepare, prepared
from cgcli.train.recipe import Recipe
from cgcli.train.records import Batches, Records
from cgcli.train.step import TrainState, TrainStep, init_state, make_mesh, make_step, shard_batch, shard_state


@dataclass(frozen=True)
class TrainResult:
    """The outcome of a finished run. Loss and speed are None if no steps were left."""

    steps: int
    loss: float | None  # of the last step
    nll: float | None  # of the last step, nats per token
    tokens: int  # of all starts of the run
    seconds: float  # of all starts of the run
    tokens_per_s: float | None  # median of the steps since the last start
    peak_share: float | None  # of the device's measured rate of matrix products
    parameters: int
    export: Path  # the model in the Hub's layout
    counts: dict[str, Any]  # of the data, as in data.json


def train(
    recipe: Recipe,
    out: Path,
    *,
    progress: Progress,
    on_start: Callable[[estimate.TrainingEstimate, int, float], None] = lambda *_: None,
    on_step: Callable[[StepMetrics], None] = lambda _: None,
    profile: bool = False,
    group: ProcessGroup = SINGLE,
) -> TrainResult:
    """Train `recipe` in the folder `out`, or continue the run that is there.

    recipe: with absolute paths (`folder.resolved`). on_start: called before the first step with the estimate, the step
    that the run continues from and the measured rate of matrix products (operations per second). on_step: called after
    each step. group: processes that have joined (`device.join`); all of them must see `out`. The first Ctrl-C or
    SIGTERM saves a checkpoint and raises Interrupted.

    Raises CgcliError if memory or data do not suffice, the disk fails or the loss is not finite; UsageError if `out`
    belongs to another recipe; ModelFileError if `init` is not a CodeGen checkpoint.
    """
    folder = RunFolder(out)
    planned = estimate.check_memory(recipe, device.memory(), device.total())
    with ExitStack() as stack:
        if group.first:
            stack.enter_context(folder.held(recipe))
        wait_for_all(group, "folder")
        checkpoints = stack.enter_context(Checkpoints(folder.checkpoints, recipe.checkpoint.keep))
        data = _data(recipe, folder, group, going_on=checkpoints.latest is not None, progress=progress)
        run = _Run(recipe, folder, data, checkpoints, group)
        rate = device.matmul_flops(recipe.compute.dtype)
        on_start(planned, run.step, rate)
        profiler = None
        if profile and group.first:
            profiler = stack.enter_context(Profiler(folder.profile, progress.note))
        last, speeds = None, []
        for last in run.steps(profiler, rate):
            speeds.append(last.tokens_per_s)
            on_step(last)
        run.export()
    speed = float(np.median(speeds[1:] or speeds)) if speeds else None
    return TrainResult(
        steps=run.step,
        loss=last.loss if last else None,
        nll=last.nll if last else None,
        tokens=run.tokens,
        seconds=run.seconds,
        tokens_per_s=speed,
        peak_share=speed and speed * planned.flops_a_token / rate,
        parameters=planned.parameters,
        export=folder.export,
        counts=data.counts,
    )


class _Run:
    """State and data of a run, new or from the last checkpoint."""

    def __init__(
        self, recipe: Recipe, folder: RunFolder, data: Prepared, checkpoints: Checkpoints, group: ProcessGroup
    ) -> None:
        self.recipe, self.folder, self.data = recipe, folder, data
        self.checkpoints, self.group = checkpoints, group
        self.config, base = _weights(recipe)
        self.mesh = make_mesh(recipe)
        self.base = shard_state(base, self.mesh) if base is not None and recipe.lora.rank else None
        self.state: TrainState = shard_state(init_state(recipe, base), self.mesh)
        self.batches = Batches(
            Records(data.records),
            recipe.batch.sequences,
            recipe.compute.seed,
            process=group.index,
            processes=group.count,
        )
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self._restore()

    def _restore(self) -> None:
        there = self.checkpoints.restore(self.state)
        if there is None:
            return
        self.step, self.state, facts = there
        if facts.digest != recipe_digest(self.recipe):
            raise UsageError(
                f"{self.folder.root} has checkpoints of another recipe", hint="choose another folder with -o"
            )
        self.batches.restore(facts.position.encode())
        self.tokens, self.seconds = facts.tokens, facts.seconds

    def steps(self, profiler: Profiler | None, rate: float) -> Iterator[StepMetrics]:
        """Compute the remaining steps. Raises Interrupted after it has saved the state."""
        advance = make_step(self.recipe, self.mesh)
        total, every = self.recipe.optimizer.steps, self.recipe.checkpoint.every
        with ExitStack() as stack:
            interrupt = stack.enter_context(interruptible())
            metrics = None
            if self.group.first:
                metrics = stack.enter_context(MetricsWriter(self.folder.metrics, after=self.step))
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
                        f"interrupted after step {self.step} of {total} (checkpoint saved)",
                        hint=f"cgcli train -o {shlex.quote(str(self.folder.root))}",
                    )

    def _advance(self, advance: TrainStep, rate: float) -> StepMetrics:
        started = time.perf_counter()
        batch = next(self.batches)  # [sequences / processes, context]
        passes = batch.reshape(self.recipe.batch.accumulate, -1, batch.shape[-1])
        self.state, measured = advance(self.state, shard_batch(passes, self.mesh), self.base)
        values = {name: float(value) for name, value in jax.device_get(measured).items()}
        took = time.perf_counter() - started
        self.step += 1
        # In float16 the scaled gradient may overflow; such a step is skipped, and is no error.
        finite = math.isfinite(values["grad_norm"])
        if not math.isfinite(values["loss"]) or not (finite or self.recipe.compute.dtype == "float16"):
            raise self._diverged(values)
        tokens = self.recipe.batch.sequences * self.recipe.model.context
        self.tokens += tokens
        self.seconds += took
        return StepMetrics(
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
        facts = ResumePoint(recipe_digest(self.recipe), self.batches.state().decode(), self.tokens, self.seconds)
        self.checkpoints.save(self.step, self.state, facts)

    def _diverged(self, values: dict[str, float]) -> CgcliError:
        last = self.checkpoints.latest
        kept = f"the last checkpoint is at step {last}" if last else "no checkpoint was saved"
        return CgcliError(
            f"training diverged at step {self.step}: loss {values['loss']:g}, gradient norm {values['grad_norm']:g}; "
            f"{kept}",
            hint="reduce [optimizer] lr or increase warmup, and train into another folder with -o",
        )

    def _any(self, stop: bool) -> bool:
        """Whether any process is to stop: then all must stop after the same step."""
        if self.group.count == 1:
            return stop
        return bool(multihost_utils.process_allgather(np.asarray(stop)).any())

    def export(self) -> None:
        """Write the model in the Hub's layout."""
        params: Params = self.state.params
        if self.base is not None:
            params = model.merge_adapters(self.base, params, self.recipe.lora)
        if self.group.count > 1:
            params = multihost_utils.process_allgather(params, tiled=True)
        if self.group.first:
            weights.save_weights(self.folder.export, self.config, params, self.data.tokenizer)


def _data(recipe: Recipe, folder: RunFolder, group: ProcessGroup, *, going_on: bool, progress: Progress) -> Prepared:
    """The records, prepared by the first process; a run that continues keeps those it has."""
    there = prepared(folder.root) if going_on else None
    if there is None and group.first:
        there = prepare(recipe, folder.root, folder.root, None, progress)
    wait_for_all(group, "data")
    there = there or prepared(folder.root)
    if there is None:
        raise CgcliError(f"{folder.data} is not visible to this process", hint="choose a shared folder with -o")
    return there


def _weights(recipe: Recipe) -> tuple[CodeGenConfig, Params | None]:
    """Configuration and initial weights; None for random ones. Raises UsageError if they do not fit the recipe."""
    if not recipe.init:
        if recipe.lora.rank:
            raise UsageError(f"[lora] rank {recipe.lora.rank} needs a model to adapt", hint="--init NAME or FOLDER")
        return CodeGenConfig(recipe.model, name=recipe.name), None
    config, params = weights.load_weights(Path(recipe.init))
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
