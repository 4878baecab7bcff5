"""The numbers of `cgcli bench` are consistent, nothing ends early, and pass costs survive in a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.core.progress import Silent
from cgcli.engine import bench as bench_module
from cgcli.engine import pass_costs
from cgcli.engine.bench import QUICK, Bench, _Measuring, bytes_per_pass, run_bench
from cgcli.engine.binding import llama
from cgcli.engine.drafting import PassCosts
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.gguf import Tensor
from cgcli.engine.gguf_check import read_header
from cgcli.native.interrupt import Interrupt
from tests.support.engines import MakeEngine
from tests.support.tiny_model import write_tiny_model

BRIEF = replace(
    QUICK, rounds=1, tokens=8, streams=(1, 3), pass_rounds=3, texts=1, guessed_tokens=16, contexts=(0, 100, 700)
)


@pytest.fixture
def measured(tiny_model: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(bench_module, "memory_bandwidth", lambda threads: 1e9 * threads)
    return run_bench(tiny_model, BRIEF, interrupt=interrupt, progress=Silent(), threads=1)


def test_the_numbers_fit_together(measured: Bench, tiny_model: Path) -> None:
    assert (measured.quant, measured.ran_on.threads, measured.ran_on.gpu_layers) == ("f16", 1, 0)
    assert measured.prefill_tokens == 512 and measured.prefill_tokens_per_s > 0 and measured.load_s > 0
    assert [one.streams for one in measured.together] == [1, 3]
    assert all(one.tokens_per_s > 0 and 0 < one.sampler_share < 1 for one in measured.together)
    assert measured.decode_tokens_per_s == measured.together[0].tokens_per_s
    assert measured.pass_costs and tuple(measured.pass_costs.measured) == pass_costs.ROWS
    assert measured.guessing and measured.guessing.speedup > 0 and measured.guessing.tokens_per_pass >= 1
    assert measured.peak_bytes is None or measured.peak_bytes > tiny_model.stat().st_size
    assert [one.context for one in measured.over_context] == [0, 100, 700]
    assert all(one.tokens_per_s > 0 for one in measured.over_context)
    limit = measured.limit
    assert limit and limit.bandwidth == 1e9
    assert limit.share == pytest.approx(limit.bytes_per_token * measured.decode_tokens_per_s / 1e9)
    # Two layers of keys and values of 64 numbers in f16, for 128 tokens and half of the eight that are drawn.
    cache = limit.bytes_per_token - bytes_per_pass(read_header(tiny_model).tensors.values())
    assert cache == (128 + 4) * 2 * 2 * 64 * 2


def test_a_pass_reads_all_weights_but_the_embeddings_unless_they_are_the_output_too() -> None:
    def tensor(name: str, size: int) -> Tensor:
        return Tensor(name, (size,), "F16", 0, size)

    tied = [tensor("token_embd.weight", 100), tensor("blk.0.ffn_up.weight", 10)]
    assert bytes_per_pass(tied) == 110
    assert bytes_per_pass([*tied, tensor("output.weight", 100)]) == 110


def test_no_end_of_text_ends_a_completion(make_engine: MakeEngine, interrupt: Interrupt, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "over.gguf")
    kinds = gguf.GGUFReader(path, "r+").fields["tokenizer.ggml.token_type"]
    for index in kinds.data[97:123]:  # the letters
        kinds.parts[index][0] = gguf.TokenType.CONTROL
    drawn = _Measuring(make_engine(path), BRIEF, interrupt, Silent()).draw([b"12"] * 3, 20)
    assert drawn.timings.decode_tokens == 60 and drawn.timings.passes == 19


def test_as_many_streams_as_the_engine_draws_together(
    make_engine: MakeEngine, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, effort = make_engine(), replace(BRIEF, streams=(1, 32, 64))
    assert _Measuring(engine, effort, interrupt, Silent()).effort.streams == (1, 32)
    monkeypatch.setattr(engine, "sequences", 64)
    assert _Measuring(engine, effort, interrupt, Silent()).effort.streams == (1, 32, 64)


def test_ctrl_c_ends_it(tiny_model: Path, interrupt: Interrupt) -> None:
    class Watched(Silent):
        def advance(self, amount: int) -> None:
            interrupt.set()

        def task(self, *_: object, **__: object) -> Watched:
            return self

    with pytest.raises(Interrupted):
        run_bench(tiny_model, BRIEF, interrupt=interrupt, progress=Watched(), threads=1)


def test_memory_is_read_at_a_possible_speed() -> None:
    assert 1e8 < bench_module.memory_bandwidth(1, buffer_bytes=1 << 24, rounds=2) < 1e13


def test_costs_of_passes_never_fall_and_leave_the_cache_as_it_was(engine: LlamaEngine) -> None:
    engine.reserve(64)
    costs = pass_costs.measure(engine.cache, list(range(97, 113)) * 4, rounds=3)
    assert engine.cache.branches == []
    values = [costs.measured[rows] for rows in pass_costs.ROWS]
    assert values[0] == 1.0 and values == sorted(values)


COSTS = PassCosts({1: 1.0, 2: 1.25, 16: 5.5})


def test_a_file_keeps_the_costs_of_every_place(tmp_path: Path) -> None:
    file = tmp_path / "q8_0.passes"
    assert pass_costs.load_costs(file, "here") is None
    pass_costs.store_costs(file, "here", COSTS)
    pass_costs.store_costs(file, "there", PassCosts({1: 1.0, 4: 2.0}))
    assert pass_costs.load_costs(file, "here") == COSTS and pass_costs.load_costs(file, "elsewhere") is None
    file.write_bytes(b"{")
    pass_costs.store_costs(file, "here", COSTS)  # what is damaged is measured anew
    assert pass_costs.load_costs(file, "here") == COSTS and pass_costs.load_costs(file, "there") is None


def test_a_place_is_a_processor_and_how_it_is_used() -> None:
    places = {
        pass_costs.place(processor, threads, layers, own_products=own)
        for processor in ("A", "B")
        for threads in (1, 2)
        for layers in (None, 0)
        for own in (True, False)
    }
    assert len(places) == (16 if llama().without_own_products is None else 8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"here": 3}',
        b'{"here": {}}',
        b'{"here": {"1": 1.0}}',
        b'{"here": {"1": 1.0, "2": 0.9}}',
        b'{"here": {"1": 1.0, "2": NaN}}',
        b'{"here": {"1": 1.0, "2": Infinity}}',
        b'{"here": {"1": 2.0, "2": 3.0}}',
        b'{"here": {"0": 1.0, "1": 1.0}}',
        b'{"here": {"1": 1.0, "x": 3.0}}',
        b'{"here": {"1": 1.0, "2": null}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_reported(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "q8_0.passes"
    file.write_bytes(content)
    with pytest.raises(CgcliError, match=r"q8_0.passes is damaged") as caught:
        pass_costs.load_costs(file, "here")
    assert caught.value.hint == "cgcli bench" and "\n" not in caught.value.message
