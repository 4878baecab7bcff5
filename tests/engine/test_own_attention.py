"""Our attention inside llama.cpp: beside llama.cpp's own, and the bits of a row beside others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cgcli.engine.binding import llama
from cgcli.engine.context import Context, Row
from cgcli.engine.model import Model
from cgcli.engine.quantize import quantize_here
from cgcli.native import products
from tests.support.tiny_model import write_tiny_model

READ, DRAWN = 600, 12  # tokens of a text that are read, and that follow one by one
TEXTS = [random.Random(text).choices(range(97, 123), k=READ + DRAWN) for text in range(4)]


@pytest.fixture(scope="module", autouse=True)
def ours() -> None:
    if products.product_tier() == "ref":
        pytest.skip("our products have no tier for this processor")
    assert llama().without_own_products is None


@pytest.fixture(scope="module", params=["q4_0", "q4_k_m"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model, wide enough for k-quants."""
    folder = tmp_path_factory.mktemp("attention")
    source, target = write_tiny_model(folder / "f16.gguf", width=256), folder / "quantized.gguf"
    quantize_here(source, target, request.param, threads=2)
    return target


@pytest.fixture
def context(path: Path) -> Iterator[Context]:
    with Model.load(path) as model, Context(model, n_ctx=4096, sequences=4, threads=2) as context:
        assert model.own_attention and model.padded(3) == 3
        yield context


def read(context: Context, texts: Sequence[list[int]], piece: int) -> None:
    """The first tokens of texts, so many of each in a pass: the cells of several texts lie between each other."""
    for at in range(0, READ, piece):
        end = min(at + piece, READ)
        context.run([Row(text[i], i, number) for number, text in enumerate(texts) for i in range(at, end)])


def draw(context: Context, texts: Sequence[list[int]], width: int) -> NDArray[np.float32]:
    """The logits of the first text's other tokens, so many of each text in a pass."""
    found = []
    for at in range(READ, READ + DRAWN, width):
        rows = [Row(text[i], i, number, True) for number, text in enumerate(texts) for i in range(at, at + width)]
        context.run(rows)
        found += [context.logits(index).copy() for index in range(width)]
    for number in range(len(texts)):
        context.remove(number, READ)
    return np.stack(found)


def test_a_row_has_the_same_bits_in_every_pass(context: Context) -> None:
    read(context, TEXTS[:1], 512)
    alone = draw(context, TEXTS[:1], 1)
    for width in (2, 3, 4, 6, 12):
        assert np.array_equal(draw(context, TEXTS[:1], width), alone), width
    for piece in (64, 7):
        context.clear()
        read(context, TEXTS[:1], piece)
        assert np.array_equal(draw(context, TEXTS[:1], 4), alone), piece
    context.clear()
    read(context, TEXTS, 50)
    for width in (1, 3):
        assert np.array_equal(draw(context, TEXTS, width), alone), width


@pytest.mark.parametrize(
    ("key", "value"),
    [("attention.key_length", 72), ("attention.value_length", 512), ("attn_logit_softcapping", 50.0)],
)
def test_what_it_does_not_compute_stays_with_llama_cpp(path: Path, key: str, value: float) -> None:
    with Model.load(path) as model:
        model.header = replace(model.header, metadata={**model.header.metadata, f"phi2.{key}": value})
        assert model.own_kernels and not model.own_attention


def test_it_agrees_with_llama_cpps_own(path: Path, context: Context) -> None:
    read(context, TEXTS, 100)
    ours = draw(context, TEXTS, 2)
    with (
        Model.load(path, own_products=False) as model,
        Context(model, n_ctx=4096, sequences=4, threads=2) as other,
    ):
        assert not model.own_attention and model.padded(3) == (4 if model.header.quant == "q4_k_m" else 3)
        read(other, TEXTS, 100)
        theirs = draw(other, TEXTS, 2)
    assert not np.array_equal(ours, theirs)
    ours, theirs = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (ours, theirs))
    assert (np.exp(theirs) * (theirs - ours)).sum(1).mean() < 0.01
