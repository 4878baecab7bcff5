"""Fixtures of the training tests: with tiny models, XLA's compiler takes nearly all of the time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from cgcli.train.recipe import Recipe
    from cgcli.train.step import TrainStep


@contextmanager
def _quickly() -> Iterator[None]:
    """JAX without most of its optimizations, layers scanned."""
    import jax

    from cgcli.train import model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "UNROLLED_LAYERS", 0)
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def quick_compiler() -> Iterator[None]:
    with _quickly():
        yield


@pytest.fixture(scope="module")
def compiled_once() -> Iterator[None]:
    """Runs of recipes that have the same step share it, compiled quickly."""
    from cgcli.train import run, step
    from cgcli.train.recipe import Recipe

    make = functools.cache(step.make_step)

    def shared(recipe: Recipe, mesh: Mesh) -> TrainStep:
        plain, optimizer = Recipe(), recipe.optimizer
        if optimizer.anneal:  # the number of steps matters only to a cosine that lasts to the end
            optimizer = replace(optimizer, steps=max(optimizer.warmup, 1))
        kept = replace(recipe, name="", init="", data=plain.data, checkpoint=plain.checkpoint, optimizer=optimizer)
        return make(kept, mesh)

    with _quickly(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_step", shared)
        yield
