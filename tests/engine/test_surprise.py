"""`LlamaEngine.surprise`: log-probability, rank and entropy of every token, in one window or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.errors import ContextError
from cgcli.core.progress import Silent
from cgcli.engine.cache import Step
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import TokenScore, perplexity
from tests.support.engines import MakeEngine

NLL_TOLERANCE = 0.01
PASS_TOLERANCE = 0.05  # passes of another shape, in float16


@pytest.fixture
def engine(make_engine: MakeEngine) -> LlamaEngine:
    return make_engine(ctx=64)


def letters(count: int) -> bytes:
    return bytes(97 + (7 * i + i // 5) % 26 for i in range(count))


def logprobs(scores: list[TokenScore]) -> list[float]:
    return [score.logprob for score in scores]


@pytest.mark.parametrize("name", ["own", "head64", "head80", "head256"])
def test_a_golden_text_has_the_references_losses(
    name: str, golden: Callable[[str], Path], make_engine: MakeEngine, tmp_path: Path
) -> None:
    """Of every token, the perplexity made of them, and ranks and entropies from the reference's logits."""
    source = golden(name)
    convert(source, tmp_path / "f16.gguf", quant="f16", provenance=Provenance(name), progress=Silent(), threads=2)
    expected = np.load(source / "expected.npz")
    text = (source / "prompt.txt").read_bytes()
    scores = make_engine(tmp_path / "f16.gguf", threads=2).surprise(text)
    assert [score.token for score in scores] == expected["ids"].tolist()[1:]
    assert text.endswith(b"".join(score.piece for score in scores))
    assert logprobs(scores) == pytest.approx((-expected["nll"]).tolist(), abs=NLL_TOLERANCE)
    assert perplexity(logprobs(scores)) == pytest.approx(np.exp(expected["nll"].mean()), rel=NLL_TOLERANCE)
    logits = expected["logits"][:-1].astype(np.float64)
    rows = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    own = rows[np.arange(len(scores)), expected["ids"][1:]][:, None]
    above, near = (rows > own).sum(-1), (abs(rows - own) <= 2 * NLL_TOLERANCE).sum(-1)
    assert all(abs(score.rank - rank) <= close for score, rank, close in zip(scores, above, near, strict=True))
    entropies = -(np.exp(rows) * rows).sum(-1)
    assert [score.entropy for score in scores] == pytest.approx(entropies.tolist(), abs=2 * NLL_TOLERANCE)


def test_score_is_its_logprobs_without_the_blanks_at_the_end(engine: LlamaEngine) -> None:
    expected = pytest.approx(logprobs(engine.surprise(b"abc", 1)), abs=PASS_TOLERANCE)
    assert logprobs(engine.score(b"abc\n  ", 1)) == expected
    assert len(engine.surprise(b"abc\n  ", 1)) > len(engine.score(b"abc\n  ", 1))


def test_the_first_token_is_not_scored(engine: LlamaEngine) -> None:
    assert engine.surprise(b"") == engine.surprise(b"a") == engine.surprise(b"", stride=3) == []
    assert [score.piece for score in engine.surprise(b"abc")] == [b"b", b"c"]
    assert engine.surprise(b"abc", 3) == []


def test_a_text_may_fill_the_window_and_not_more(engine: LlamaEngine) -> None:
    assert len(engine.surprise(letters(64))) == 63
    with pytest.raises(ContextError, match="65"):
        engine.surprise(letters(65))


@pytest.mark.parametrize("length", [65, 128, 150])
@pytest.mark.parametrize("stride", [1, 24, 63])
@pytest.mark.parametrize("start", [0, 1, 100])
def test_windows_score_every_token_once_given_what_their_window_has(
    engine: LlamaEngine, length: int, stride: int, start: int
) -> None:
    text = letters(length)
    scores = engine.surprise(text, start, stride=stride)
    first = max(start, 1)
    assert b"".join(score.piece for score in scores) == text[first:]
    for at in range(first, length, 29):
        begin = max(0, -(-(at + 1 - 64) // stride) * stride)  # the first window that reaches it
        alone = engine.surprise(text[begin : at + 1], at - begin)
        assert logprobs(alone) == pytest.approx([scores[at - first].logprob], abs=PASS_TOLERANCE)


def test_a_stride_changes_nothing_where_the_text_fits(engine: LlamaEngine) -> None:
    strode, whole = engine.surprise(letters(60), stride=7), engine.surprise(letters(60))
    assert [score.token for score in strode] == [score.token for score in whole]
    assert [score.logprob for score in strode] == pytest.approx([score.logprob for score in whole], abs=0.01)


@pytest.mark.parametrize("options", [{"exact": True}, {}, {"many": True, "own_products": False}])
def test_texts_scored_together_have_the_scores_that_each_has_alone(
    make_engine: MakeEngine, options: dict[str, bool]
) -> None:
    engine, other = make_engine(ctx=64, **options), make_engine(ctx=64, **options)
    texts = [letters(20 + index) + b"()" + letters(38 - index) for index in range(24)]
    starts = [(7 * index) % 70 for index in range(24)]
    found = engine.surprise_all(texts, starts)
    for text, start, scores in zip(texts, starts, found, strict=True):
        alone = other.surprise(text, start)
        assert [score.token for score in scores] == [score.token for score in alone] == list(text)[max(start, 1) :]
        assert logprobs(scores) == pytest.approx(logprobs(alone), abs=0 if "exact" in options else PASS_TOLERANCE)
    assert not engine.cache.held
    assert engine.surprise_all([], []) == []
    with pytest.raises(ContextError, match="65"):
        engine.surprise_all([b"a", letters(65)], [0, 0])


def test_what_texts_begin_with_is_read_once_and_the_rest_in_full_passes(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    engine.reserve(2000)
    passes: list[int] = []
    run = engine.cache.run

    def counted(steps: Sequence[Step]) -> bool:
        passes.append(sum(len(step.tokens) for step in steps))
        return run(steps)

    monkeypatch.setattr(engine.cache, "run", counted)
    begun = letters(300)
    engine.surprise_all([begun + bytes([97 + index]) * 100 for index in range(8)], [350] * 8)
    assert passes == [300, 500, 300]
    assert len(engine.cache.branches) == 1  # with the beginning
