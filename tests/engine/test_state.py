"""Saved states: they replace reading, and are only accepted by the same model."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from tests.engine.drawing import Make

TEXT = bytes(random.Random(7).choices(b"abcdefgh", k=200))
HASH = "ab" * 32


@pytest.fixture
def engine(make: Make) -> LlamaEngine:
    return make()


@pytest.fixture
def kept(make: Make, tmp_path: Path) -> Path:
    """The state of TEXT, kept by another engine."""
    path, other = tmp_path / "state", make()
    other.score(TEXT, 0)
    # A second branch shares cells with the first: they are kept all the same.
    complete(other, TEXT)
    assert other.save_state(TEXT + b"more", path, model=HASH)
    return path


def complete(engine: LlamaEngine, text: bytes) -> str:
    request = Request(text, Sampling(temperature=1.0, seed=5), Stops, max_tokens=20)
    return dict(engine.complete([request]))[0].text


def test_a_saved_text_is_not_read_again(engine: LlamaEngine, kept: Path) -> None:
    fresh = complete(engine, TEXT)
    engine.cache.restart()
    before = engine.timings.prefill_tokens
    assert engine.load_state(kept, model=HASH) == len(TEXT)
    assert complete(engine, TEXT) == fresh
    # The last token alone: a state has no logits.
    assert engine.timings.prefill_tokens == before + 1


def test_a_program_continues_from_a_saved_state(engine: LlamaEngine, kept: Path) -> None:
    engine.load_state(kept, model=HASH)
    before = engine.timings.prefill_tokens
    longer = complete(engine, TEXT + b"abc")
    assert engine.timings.prefill_tokens == before + 3
    engine.cache.restart()
    assert complete(engine, TEXT + b"abc") == longer


def test_another_model_is_refused(engine: LlamaEngine, make: Make, kept: Path) -> None:
    with pytest.raises(CgcliError, match="another model"):
        engine.load_state(kept, model="cd" * 32)
    with pytest.raises(CgcliError, match="another model"):
        make(exact=False).load_state(kept, model=HASH)
    other = make(own_products=False)
    if engine.model.own_attention:  # whose cells lie differently
        with pytest.raises(CgcliError, match="another model"):
            other.load_state(kept, model=HASH)
    else:
        assert other.load_state(kept, model=HASH) == len(TEXT)


@pytest.mark.parametrize("place", [0, 20, 400, -1])
def test_a_damaged_state_is_refused(engine: LlamaEngine, kept: Path, place: int) -> None:
    data = bytearray(kept.read_bytes())
    data[place] ^= 0x10
    kept.write_bytes(data)
    with pytest.raises(CgcliError):
        engine.load_state(kept, model=HASH)
    assert complete(engine, TEXT)


def test_half_a_state_is_refused(engine: LlamaEngine, kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-100])
    with pytest.raises(CgcliError, match="damaged"):
        engine.load_state(kept, model=HASH)


def test_a_short_text_is_not_worth_a_file(engine: LlamaEngine, tmp_path: Path) -> None:
    engine.score(TEXT[:30], 0)
    assert not engine.save_state(TEXT[:30], tmp_path / "state", model=HASH)
    assert not (tmp_path / "state").exists()
