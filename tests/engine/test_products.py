"""Our products inside llama.cpp: beside its own in one process, for every quantization and any number of threads."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cgcli.engine.binding import llama
from cgcli.engine.context import Capture, Context
from cgcli.engine.model import Model
from cgcli.engine.quantize import quantize_here
from cgcli.native import products
from tests.support.installing import REPOSITORY
from tests.support.tiny_model import write_tiny_model

OWN = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")
TEXT = b"def hello(a, b):\n    return sorted(a) + [x for x in b if x]\n\n\nclass Text:\n    def __init__(self, of):\n"


@pytest.fixture(scope="module", autouse=True)
def ours() -> None:
    if products.product_tier() == "ref":
        pytest.skip("our products have no tier for this processor")
    assert llama().without_own_products is None


@pytest.fixture(scope="module")
def f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model wide enough for k-quants."""
    return write_tiny_model(tmp_path_factory.mktemp("products") / "f16.gguf", width=256)


@pytest.fixture(scope="module", params=OWN)
def quantized(request: pytest.FixtureRequest, f16: Path) -> Path:
    target = f16.with_name(f"{request.param}.gguf")
    quantize_here(f16, target, request.param, threads=2)
    return target


def logits(model: Model, pieces: Sequence[int], threads: int = 2, text: bytes = TEXT) -> NDArray[np.float32]:
    """Logits of every token of a text, read in pieces of so many tokens, over and over."""
    tokens = model.tokenize(text)
    found: list[NDArray[np.float32]] = []
    with Context(model, n_ctx=1024, threads=threads, layout="exact") as context:
        at = 0
        while at < len(tokens):
            size = pieces[len(found) % len(pieces)]
            part = tokens[at : at + size]
            context.decode(part, at=at, outputs=range(len(part)))
            found.append(np.stack([context.logits(row) for row in range(len(part))]))
            at += len(part)
    return np.concatenate(found)


def divergence(model: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence from the truth, in nats."""
    p, q = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (truth.astype(float), model.astype(float)))
    return float((np.exp(p) * (p - q)).sum(1).mean())


def test_they_are_as_exact_as_llama_cpps_own(quantized: Path, f16: Path) -> None:
    """Both models are in memory at once; the one of our own comes first, and again when the other one is gone."""
    with Model.load(f16) as original:
        truth = logits(original, [64])
    with Model.load(quantized) as own:
        with Model.load(quantized, own_products=False) as theirs:
            plain, found = logits(theirs, [64]), logits(own, [64])
        assert np.array_equal(logits(own, [64]), found)
    assert not np.array_equal(found, plain)  # both ran
    assert divergence(found, truth) <= 1.05 * divergence(plain, truth)


def test_threads_and_widths_of_passes_leave_the_bits(quantized: Path) -> None:
    """The attention is that of exact passes, whose bits do not depend on the number of rows either."""
    with Model.load(quantized) as model:
        whole = logits(model, [64])
        for pieces, threads in [([1], 1), ([2, 1, 3], 4), ([5, 4, 16, 9], 8), ([64], 3)]:
            assert np.array_equal(logits(model, pieces, threads), whole), (pieces, threads)


def test_tiers_and_wide_passes_leave_the_bits(quantized: Path) -> None:
    """Some tiers compute passes of many rows in another way. It is the first of these that runs by default."""
    best = products.product_tier()
    with Model.load(quantized) as model:
        whole = logits(model, [512], text=TEXT * 8)
        assert len(whole) > 512
        for pieces in ([64], [511, 1], [16, 17, 31], [8, 5, 4, 3, 2, 1]):
            assert np.array_equal(logits(model, pieces, text=TEXT * 8), whole), pieces
        try:
            ran = [tier for tier in ("amx", "avx512", "avxvnni", "avx2", "ref") if products.choose_tier(tier)]
            for tier in ran:
                assert products.choose_tier(tier) and products.product_tier() == tier
                assert np.array_equal(logits(model, [64, 7], text=TEXT), whole[: len(model.tokenize(TEXT))]), tier
        finally:
            products.choose_tier(best)
    assert ran[0] == best and not products.choose_tier("no such tier")


@pytest.fixture
def captured(quantized: Path) -> list[tuple[str, NDArray[np.float32]]]:
    """The outputs of layer 1 and of its last matrix in a pass, with our products and without."""
    found: list[tuple[str, NDArray[np.float32]]] = []
    names = frozenset({"ffn_out-1", "l_out-1"})
    for own in (True, False):
        with (
            Model.load(quantized, own_products=own) as model,
            Context(model, n_ctx=64, capture=Capture(names, lambda name, values: found.append((name, values)))) as run,
        ):
            run.decode(model.tokenize(TEXT[:9]), outputs=range(9))
    return found


def test_captured_tensors_are_those_of_llama_cpps_own(captured: list[tuple[str, NDArray[np.float32]]]) -> None:
    half = len(captured) // 2
    assert half >= 1
    for (name, found), (same, plain) in zip(captured[:half], captured[half:], strict=True):
        assert name == same and found.shape == plain.shape == (9, 256)
        assert np.abs(found - plain).mean() < 0.05 * plain.std()


def test_a_model_is_quantized_again_while_another_one_runs(quantized: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.gguf"
    with Model.load(quantized) as model:
        before = logits(model, [64])
        quantize_here(quantized, target, "q8_0", threads=2, allow_requantize=True)
        assert np.array_equal(logits(model, [64]), before)
    with Model.load(target) as model:
        assert np.isfinite(logits(model, [64])).all()


# Alone in a process, since threads of other models settle, too.
SETTLE = """
import sys
from pathlib import Path
from cgcli.engine import model
from cgcli.native import products
from tests.engine.test_products import logits

def huge_pages():
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages"))

model._SETTLE_AFTER_S = 600
with model.Model.load(Path(sys.argv[1])) as loaded:
    before, had = logits(loaded, [64]), huge_pages()
    while products.settle():
        pass
    assert (logits(loaded, [64]) == before).all()
    print(huge_pages() - had)
"""


def test_huge_pages_leave_the_bits(bundled_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SETTLE, bundled_model], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True
    )
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    if "[never]" not in setting and [int(part) for part in platform.release().split(".")[:2]] >= [6, 1]:
        assert int(done.stdout) >= 2048
