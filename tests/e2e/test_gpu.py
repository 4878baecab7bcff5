"""A model on a GPU, as far as that goes without one: the engine is told of a GPU, llama.cpp runs on the processor, and
libcgk_cuda is its own source, compiled for the processor (kernels/tests/cuda_runtime_on_host.h)."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cgcli.app.model import where
from cgcli.core.errors import CgcliError, UsageError
from cgcli.engine import binding
from cgcli.engine.context import Context
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.model import Model
from cgcli.engine.quantize import quantize_here
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native import cuda
from cgcli.native.products import product_tier
from cgcli.native.sample import Draw, Mask, Sampled, Sampler, Sampling
from tests.conftest import REPOSITORY
from tests.native.compiling import compile_cuda_on_host, find_cxx
from tests.support.cli import run as cgcli
from tests.support.engines import MakeEngine

FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
NAME = "a processor, as a GPU"
TEXT = b"def f(x):\n    return x\n"


@pytest.fixture(scope="session")
def library_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kernels, target = REPOSITORY / "kernels", tmp_path_factory.mktemp("cuda") / "libcgk_cuda.so"
    compile_cuda_on_host(find_cxx(), kernels, [kernels / "cuda" / "cgk_cuda.cu"], "-shared", "-fPIC", "-o", target)
    return target


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with room for every layer, and llama.cpp with CUDA; libcgk_cuda was not built."""
    from cgcli.engine import cache, engine, model, pass_costs

    for module in (binding, cache, engine, model, pass_costs):
        monkeypatch.setattr(module, "gpu_devices", lambda: [(NAME, 1 << 33, 1 << 34)])
    monkeypatch.setattr(binding, "back_ends", lambda: ["CUDA", "CPU"])
    monkeypatch.setattr(cuda, "cuda_library", lambda: None)


@pytest.fixture
def library(gpu: None, library_file: Path, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """The same with libcgk_cuda."""
    found = cuda.load_cuda_library(library_file)
    monkeypatch.setattr(cuda, "cuda_library", lambda: found)
    return found


@pytest.fixture(scope="session")
def tiny_q8(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if product_tier() == "ref":
        pytest.skip("our products have no tier for this processor")
    target = tmp_path_factory.mktemp("model") / "q8_0.gguf"
    quantize_here(tiny_model, target, "q8_0", threads=1)
    return target


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, bool]]]:
    """How many rows were sampled each time, and whether on the GPU."""
    seen: list[tuple[int, bool]] = []
    plain = Sampler._run

    def run(self: Sampler, n_rows: int, on_gpu: bool) -> int:
        seen.append((n_rows, on_gpu))
        return plain(self, n_rows, on_gpu)

    monkeypatch.setattr(Sampler, "_run", run)
    yield seen


def texts(engine: LlamaEngine, count: int = 80) -> list[tuple[str, float | None]]:
    sampling = Sampling(temperature=0.8, seed=5)
    requests = (Request(TEXT, sampling, Stops, max_tokens=12, candidate=each) for each in range(count))
    return [(one.text, one.mean_logprob) for _, one in sorted(engine.complete(requests))]


@pytest.mark.parametrize("many", [False, True])
def test_its_sampler_draws_what_the_processors_draws(
    many: bool,
    make_engine: MakeEngine,
    library: ctypes.CDLL,
    passes: list[tuple[int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_gpu = make_engine(many=many)
    assert on_gpu.placement.sampler == "libcgk_cuda" and on_gpu.placement.gpu == NAME
    drawn = texts(on_gpu)
    context = on_gpu.cache.context
    assert context.gpu_logits_address() not in (None, context.logits_address(0))  # another copy
    assert context.gpu_logits_address() == on_gpu.scheduler._sampler._logits[0]
    wide = [n_rows for n_rows, there in passes if there]
    assert max(wide) == 64  # are drawn together
    assert {n_rows for n_rows, there in passes if not there} == {1}  # the first token of each text, from its prefill
    passes.clear()
    monkeypatch.setattr(cuda, "cuda_library", lambda: None)
    on_cpu = make_engine(many=many)
    assert on_cpu.placement.sampler.startswith("libcgk (") and texts(on_cpu) == drawn
    assert not any(there for _, there in passes)


def test_guesses_are_checked_there_too(
    make_engine: MakeEngine,
    library: ctypes.CDLL,
    passes: list[tuple[int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = Request(b"ab" * 60, Sampling(temperature=0.0), Stops, max_tokens=60)
    drawn = list(make_engine().complete([request]))
    assert any(there and n_rows > 1 for n_rows, there in passes)
    monkeypatch.setattr(cuda, "cuda_library", lambda: None)
    assert list(make_engine().complete([request])) == drawn


@pytest.mark.parametrize("what", ["elsewhere", "none"])
def test_logits_that_are_elsewhere_are_sampled_by_the_processor(
    what: str,
    make_engine: MakeEngine,
    library: ctypes.CDLL,
    passes: list[tuple[int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = texts(make_engine(), 3)
    passes.clear()
    monkeypatch.setenv("CGK_CUDA_ON_HOST", what)
    assert library.cgk_cuda_device() == (None if what == "none" else NAME.encode())
    if what == "none":
        monkeypatch.setattr(cuda, "cuda_library", lambda: None)
    assert texts(make_engine(), 3) == drawn and not any(there for _, there in passes)


def logits(path: Path, *, gpu_layers: int | None = None, own_products: bool = True) -> NDArray[np.float32]:
    loaded = Model.load(path, gpu_layers=gpu_layers, own_products=own_products)
    with loaded as model, Context(model, n_ctx=64, threads=1) as context:
        context.decode(model.tokenize(TEXT))
        return np.array(context.logits(-1))


def test_our_products_stay_out_unless_the_cpu_does_all_the_work(tiny_q8: Path, gpu: None) -> None:
    with Model.load(tiny_q8) as model:
        assert (model.gpu_layers, model.own_kernels, model.wholly_on_gpu) == (3, False, True)
    assert np.array_equal(logits(tiny_q8), logits(tiny_q8, own_products=False))
    with Model.load(tiny_q8, gpu_layers=0) as model:
        assert model.own_kernels and not model.gpu_sampling
    assert not np.array_equal(logits(tiny_q8, gpu_layers=0), logits(tiny_q8, gpu_layers=0, own_products=False))


def test_what_is_exact_uses_no_gpu(make_engine: MakeEngine, library: ctypes.CDLL) -> None:
    placement = make_engine(exact=True).placement
    assert (placement.gpu_layers, placement.gpu) == (0, "") and placement.sampler.startswith("libcgk (")
    with pytest.raises(UsageError, match="--exact needs the CPU"):
        make_engine(exact=True, gpu_layers=1)


def test_a_text_longer_than_the_gpus_memory_is_refused(
    make_engine: MakeEngine, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgcli.engine import cache

    engine = make_engine()
    monkeypatch.setattr(cache, "gpu_devices", lambda: [(NAME, 1 << 16, 1 << 34)])
    with pytest.raises(CgcliError, match="0 MiB are free"):
        engine.reserve(2048)


def test_commands_say_what_ran_where(tiny_model: Path, library: ctypes.CDLL) -> None:
    ran = cgcli("gen", "x", "-m", str(tiny_model), "--json", "-v", "--max-tokens", "4", "--threads", "1")
    found = json.loads(ran.out)["ran_on"]
    assert (found["layers"], found["gpu_layers"], found["gpu"], found["sampler"]) == (3, 3, NAME, "libcgk_cuda")
    assert f"3 of 3 layers on {NAME}, 1 thread; products: llama.cpp, sampling: libcgk_cuda" in ran.err
    ran = cgcli("gen", "x", "-m", str(tiny_model), "-v", "--gpu-layers", "0", "--max-tokens", "4", "--threads", "1")
    assert "all layers on the CPU, 1 thread; products: " in ran.err


def test_doctor_names_the_gpu_and_its_kernels(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    def doctor() -> dict[str, tuple[str, str | None]]:
        return {one["name"]: (one["value"], one["hint"]) for one in json.loads(cgcli("doctor", "--json").out)}

    found = doctor()
    assert found["GPU"] == (f"{NAME}, 8.6 GB of 17.2 GB free", None) and found["GPU kernels"] == ("libcgk_cuda", None)
    monkeypatch.setattr(cuda, "cuda_library", lambda: None)
    assert doctor()["GPU kernels"] == ("none; the CPU samples", "make cuda")
    monkeypatch.setattr(binding, "gpu_devices", list)
    assert doctor()["GPU"] == ("none found, although llama.cpp was built with CUDA", "see what nvidia-smi says")


# The sampler alone: masks and settings are the host's, logits the device's


def drawn(sampler: Sampler, rows: NDArray[np.float32], masks: list[Mask | None], on_gpu: bool) -> list[Sampled]:
    draws = [
        Draw(row.ctypes.data, Sampling(0.5 + index % 3, seed=index), turn=index, candidate=2, index=3, banned=mask)
        for index, (row, mask) in enumerate(zip(rows, masks, strict=True))
    ]
    return sampler.sample_rows(draws, on_gpu=on_gpu)


def test_rows_with_and_without_masks_in_calls_of_many_sizes(library: ctypes.CDLL) -> None:
    draw = np.random.default_rng(1)
    rows = draw.normal(0, 2, (130, 300)).astype(np.float32)
    kinds: list[Mask | None] = [None]
    for share in (0.1, 0.5, 0.9):
        kinds.append((ctypes.c_uint8 * 300).from_buffer_copy((draw.random(300) < share).astype(np.uint8).tobytes()))
    sampler = Sampler(300)
    for n_rows in (1, 64, 2, 130, 7):
        masks = [kinds[which] for which in draw.integers(0, len(kinds), n_rows)]
        found = drawn(sampler, rows[:n_rows], masks, on_gpu=True)
        assert found == drawn(sampler, rows[:n_rows], masks, on_gpu=False)
        assert not any(mask and mask[one.token] for mask, one in zip(masks, found, strict=True))


def test_rows_that_cannot_be_sampled(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((3, 8), np.float32)
    everything = (ctypes.c_uint8 * 8)(*[1] * 8)
    with pytest.raises(CgcliError, match="no token left"):
        drawn(Sampler(8), rows, [None, everything, None], on_gpu=True)
    rows[2, 5] = np.nan
    with pytest.raises(CgcliError, match="not a number"):
        drawn(Sampler(8), rows, [None] * 3, on_gpu=True)
    monkeypatch.setenv("CGK_CUDA_ON_HOST", "elsewhere")  # not in a GPU's memory
    with pytest.raises(CgcliError, match="status 1"):
        drawn(Sampler(8), rows, [None] * 3, on_gpu=True)


def test_no_gpu_in_words(make_engine: MakeEngine) -> None:
    assert cuda.cuda_library() is None
    assert where(make_engine(gpu_layers=0).placement).startswith("all layers on the CPU, 1 thread; products: ")
