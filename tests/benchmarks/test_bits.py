"""Bits per byte of a model, and of what it must at least beat."""

from __future__ import annotations

import json
import lzma
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import CgcliError
from tests.benchmarks.bits import Bits, bits, read_texts, xz
from tests.benchmarks.ngram import NGram
from tests.support.engines import MakeEngine

TEXT = "for x in numbers:\n    print(x)\nfor y in others:\n    print(y, x)\n"


def test_bits_are_those_of_the_models_probabilities(make_engine: MakeEngine) -> None:
    """Of a text longer than the window every byte but the first token's is counted once."""
    texts = ["abcdefg", "".join(random.Random(0).choices("abcdef", k=150))]
    engine = make_engine(ctx=64)
    short = engine.surprise(texts[0].encode())
    found = [bits(engine, [text]) for text in texts]
    both = bits(engine, texts)
    assert found[0].bits == pytest.approx(-sum(score.logprob for score in short) / math.log(2), rel=1e-4)
    assert [one.bytes for one in found] == [len(text) - 1 for text in texts]  # a letter is a token
    assert both.bits == pytest.approx(found[0].bits + found[1].bits, rel=1e-4) and both.bytes == 155


def test_nothing_scored_has_no_bits_per_byte() -> None:
    assert math.isnan(Bits(0.0, 0).per_byte)
    assert Bits(12.0, 8).per_byte == 1.5


def test_xz_is_what_xz_makes() -> None:
    assert xz([TEXT, TEXT]) == Bits(8.0 * len(lzma.compress((TEXT + TEXT).encode(), preset=9 | 1 << 31)), 2 * len(TEXT))


def reference(trained: str, order: int, history: bytes, byte: int) -> float:
    """P(byte | history) by the formula, counted with dictionaries."""
    data = b"\n" * (order - 1) + trained.encode()
    grams = Counter(data[i : i + order] for i in range(len(data) - order + 1))
    tables = {order: grams}
    for length in range(order - 1, 0, -1):
        tables[length] = Counter(gram[1:] for gram in tables[length + 1])
    found = 1 / 256
    for length in range(1, order + 1):
        table, context = tables[length], history[len(history) - length + 1 :]
        of = {gram: count for gram, count in table.items() if gram[:-1] == context}
        if of:
            counts = Counter(table.values())
            once, twice = counts[1], counts[2]
            discount = once / (once + 2 * twice) if once and twice else 0.5
            seen = sum(of.values())
            own = max(of.get(context + bytes([byte]), 0) - discount, 0)
            found = (own + discount * len(of) * found) / seen
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_is_the_formula(order: int) -> None:
    model = NGram([TEXT], order)
    other = "for z in x:\n"
    data = b"\n" * (order - 1) + other.encode()
    histories = [data[i : i + order - 1] for i in range(len(other))]
    expected = [reference(TEXT, order, history, byte) for history, byte in zip(histories, other.encode(), strict=True)]
    assert model.bits([other]).bits == pytest.approx(-np.log2(expected).sum(), rel=1e-9)
    assert model.bits([other]).bytes == len(other)


def test_its_probabilities_sum_to_one() -> None:
    model = NGram([TEXT], 3)
    codes = np.array([int.from_bytes(b"fo" + bytes([byte])) for byte in range(256)], np.uint64)
    assert model.probabilities(codes).sum() == pytest.approx(1)


def test_in_pieces_it_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT[begin : begin + 9] for begin in range(0, len(TEXT), 9)]
    whole = NGram(texts).bits([TEXT])
    monkeypatch.setattr("tests.benchmarks.ngram._PIECE", 10)
    assert NGram(texts).bits([TEXT]) == whole
    assert whole.per_byte < xz([TEXT]).per_byte


def test_texts_are_drawn_whole_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "held_out.jsonl"
    path.write_text("".join(json.dumps({"path": str(i), "source": "s", "text": f"{i}" * 10}) + "\n" for i in range(9)))
    assert read_texts(path) == [f"{i}" * 10 for i in range(9)]
    some = read_texts(path, 35, seed=1)
    assert len(some) == 3 and some == read_texts(path, 35, seed=1) != read_texts(path, 35, seed=2)
    path.write_text("[]\n")
    with pytest.raises(CgcliError, match="is not JSON lines"):
        read_texts(path)
