"""Estimates of parameters, operations, memory and time; and the advice for a run that does not fit."""

from __future__ import annotations

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from cgcli.convert.config import Shape
from cgcli.core.errors import CgcliError
from cgcli.train.estimate import RESERVE, SHARE, check_memory, estimate, fits, flops_a_token
from cgcli.train.recipe import LoraPart, Recipe, with_values
from cgcli.train.step import init_state, make_mesh, make_step

PUBLISHED = Recipe()  # 350M
ABOUT = 0.35  # of the tensors' memory
NANO = Recipe(model=Shape(layers=6, width=256, heads=4, rotary=32, vocabulary=4096, context=1024))


def test_the_published_shape_has_the_published_parameters() -> None:
    assert estimate(PUBLISHED).parameters == estimate(PUBLISHED).trained == 356_712_448


def test_operations_are_six_a_weight_and_attention() -> None:
    weights = 12 * 6 * 256**2 + 256 * 4096
    assert flops_a_token(NANO) == 6 * weights + 12 * 6 * 256 * 1024


def test_time_is_operations_over_rate() -> None:
    found = estimate(with_values(NANO, optimizer={"steps": 10, "warmup": 1}, batch={"sequences": 4}))
    assert found.tokens_a_step == 4096
    assert found.seconds(1e9) == pytest.approx(10 * 4096 * found.flops_a_token / 1e9 / SHARE)
    assert found.seconds(1e9, done=4) == pytest.approx(found.seconds(1e9) * 6 / 10)
    assert found.seconds(1e9, done=10) == 0


def test_weights_and_optimizer_are_counted_byte_for_byte() -> None:
    exact = with_values(PUBLISHED, compute={"dtype": "float32"})
    found = estimate(exact)
    assert (found.weights_bytes, found.optimizer_bytes) == (4 * found.parameters, 8 * found.parameters)
    split = estimate(with_values(exact, compute={"model_parallel": 4}), devices=8)
    assert split.optimizer_bytes == 2 * found.parameters


@pytest.mark.long
@pytest.mark.parametrize("remat", [True, False])
def test_memory_is_about_what_xla_allots(remat: bool) -> None:
    shape = {"layers": 3, "width": 128, "context": 768}
    recipe = with_values(NANO, model=shape, batch={"sequences": 8}, compute={"remat": remat, "dtype": "float32"})
    tokens = jax.eval_shape(lambda: jnp.zeros((1, 8, 768), jnp.int32))
    state = jax.eval_shape(lambda: init_state(recipe))
    compiled = make_step(recipe, make_mesh(recipe)).lower(state, tokens).compile()  # type: ignore[attr-defined]
    allotted = compiled.memory_analysis()
    real = allotted.temp_size_in_bytes + allotted.argument_size_in_bytes
    assert estimate(recipe).memory_bytes - RESERVE == pytest.approx(real, rel=ABOUT)


def test_fewer_sequences_at_once_and_remat_take_less() -> None:
    one = with_values(NANO, batch={"sequences": 8, "accumulate": 8})
    all_at_once = with_values(NANO, batch={"sequences": 8})
    kept = with_values(all_at_once, compute={"remat": False})
    sizes = [estimate(recipe).activations_bytes for recipe in (one, all_at_once, kept)]
    assert sizes == sorted(set(sizes))
    spread = estimate(all_at_once, devices=8).activations_bytes
    assert spread == sizes[0]


def test_adapters_need_less_memory_and_time_than_all_weights() -> None:
    adapted = with_values(PUBLISHED, lora={"rank": 8})
    found, full = estimate(adapted), estimate(PUBLISHED)
    assert found.trained < full.trained / 100
    assert found.memory_bytes < full.memory_bytes
    assert found.flops_a_token < full.flops_a_token


@pytest.mark.parametrize(
    ("room", "told"),
    [(12_000_000_000, "accumulate = "), (4_000_000_000, "--lora 8, with"), (1_000_000_000, "a smaller model")],
)
def test_a_run_that_does_not_fit_is_refused_with_sizes_that_do(room: int, told: str) -> None:
    recipe = with_values(PUBLISHED, batch={"sequences": 256, "accumulate": 1})
    with pytest.raises(CgcliError, match=r"training codegen needs about .* of memory; .* are available") as error:
        check_memory(recipe, room)
    hint = error.value.hint or ""
    assert told in hint
    changed = recipe
    if found := re.search(r"accumulate = (\d+)", hint):
        changed = with_values(changed, batch={"accumulate": int(found[1])})
    if "--lora 8" in hint:
        changed = with_values(changed, lora={"rank": LoraPart(8).rank})
    assert fits(changed, room) == (told != "a smaller model")
    assert not fits(recipe, room)


def test_a_run_that_fits_is_not_refused() -> None:
    assert check_memory(NANO, RESERVE + 100_000_000_000) == estimate(NANO)


def test_it_needs_no_jax() -> None:
    own = "import sys, cgcli.train.estimate, cgcli.train.folder, cgcli.train.metrics"
    probe = f"{own}; assert not {{'jax', 'numpy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)
