"""The engine on a small random CodeGen: determinism, the cache, scores, windows, banned tokens."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import ContextError, Interrupted, ModelFileError, UsageError
from cgcli.engine import engine as engine_module
from cgcli.engine.binding import gpu_devices
from cgcli.engine.context import Context
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.model import Model
from cgcli.engine.request import Request, TokenScore, perplexity
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from tests.native.reference import sample as reference_sample
from tests.support.draining import drain
from tests.support.engines import MakeEngine
from tests.support.tiny_model import END_OF_TEXT, VOCABULARY

HOT = Sampling(temperature=1.0, top_p=0.95, seed=11)


def request(context: bytes, **changes: object) -> Request:
    return replace(Request(context, HOT, Stops, max_tokens=24), **changes)  # type: ignore[arg-type]


def logprobs(scores: list[TokenScore]) -> list[float]:
    return [score.logprob for score in scores]


def test_the_pieces_are_the_text_and_the_seed_fixes_it(engine: LlamaEngine) -> None:
    said, first = drain(engine.stream(request(b"abc")))
    assert "".join(said) == first.text and first.tokens == 24 and first.finish_reason == "length"
    assert drain(engine.stream(request(b"abc")))[1] == first
    assert drain(engine.stream(request(b"abc", candidate=1)))[1].text != first.text
    assert drain(engine.stream(request(b"abc", sampling=replace(HOT, seed=12))))[1].text != first.text


def test_a_draw_is_the_reference_samplers(engine: LlamaEngine, tiny_model: Path) -> None:
    """Token by token: llama.cpp's logits through the NumPy reference give the text that the engine gave."""
    _, completion = drain(engine.stream(request(b"abc", max_tokens=8, turn=3, candidate=2)))
    drawn: list[int] = []
    with Model.load(tiny_model) as model, Context(model, n_ctx=256, threads=1) as context:
        tokens = model.tokenize(b"abc")
        banned = np.arange(VOCABULARY) > END_OF_TEXT
        total = 0.0
        for index in range(8):
            context.decode(tokens if not drawn else drawn[-1:], at=0 if not drawn else len(tokens) + len(drawn) - 1)
            logits = context.logits(len(tokens) - 1 if not drawn else 0)
            sampled = reference_sample(logits, HOT, turn=3, candidate=2, index=index, banned=banned)
            drawn.append(sampled.token)
            total += sampled.logprob
        assert b"".join(map(model.piece, drawn)).decode("utf-8", "replace") == completion.text
        assert completion.mean_logprob == pytest.approx(total / 8, abs=1e-4)


def test_padding_is_never_drawn_though_it_is_likeliest(engine: LlamaEngine) -> None:
    text = drain(engine.stream(request(b"abc", sampling=Sampling(temperature=0, seed=1))))[1].text
    assert "PAD" not in text and text


def test_end_of_text_ends_the_text(engine: LlamaEngine, tiny_model: Path) -> None:
    engine.token_table.ends = set(range(VOCABULARY))
    said, completion = drain(engine.stream(request(b"abc")))
    assert (said, completion.tokens, completion.finish_reason) == ([""], 1, "stop")


def test_only_what_differs_is_read_again(engine: LlamaEngine) -> None:
    drain(engine.stream(request(b"a" * 300)))
    before = engine.timings.prefill_tokens
    drain(engine.stream(request(b"a" * 300)))
    assert engine.timings.prefill_tokens == before
    drain(engine.stream(request(b"a" * 300 + b"b" * 20)))
    assert engine.timings.prefill_tokens == before + 20
    drain(engine.stream(request(b"a" * 100)))
    assert engine.timings.prefill_tokens == before + 20 + 1


def test_every_candidate_starts_from_the_same_bits(engine: LlamaEngine) -> None:
    """Nothing is read again for the second one, so the first draws differ by their candidate number alone."""
    first = drain(engine.stream(request(b"a" * 700, sampling=Sampling(temperature=0), max_tokens=1)))[1]
    again = drain(engine.stream(request(b"a" * 700, sampling=Sampling(temperature=0), max_tokens=1, candidate=1)))[1]
    assert again == replace(first, candidate=1)


def test_a_cache_that_was_reused_gives_the_text_of_a_fresh_one(engine: LlamaEngine, make_engine: MakeEngine) -> None:
    """The last token is read again alone, not with those before it: the last bits differ, the draws here do not."""
    drain(engine.stream(request(b"abcdefgh" * 10)))
    reused = drain(engine.stream(request(b"abcdefgh" * 5)))[1]
    anew = drain(make_engine().stream(request(b"abcdefgh" * 5)))[1]
    assert anew.text == reused.text and anew.mean_logprob == pytest.approx(reused.mean_logprob, abs=1e-3)


def test_scores_are_the_log_softmax_of_every_position(engine: LlamaEngine, tiny_model: Path) -> None:
    text = b"abc\n# def xyz"
    scores = logprobs(engine.score(text, 4))
    with Model.load(tiny_model) as model, Context(model, n_ctx=256, threads=1) as context:
        tokens = model.tokenize(text)
        context.decode(tokens, outputs=range(len(tokens)))
        expected = []
        for index in range(4, len(tokens)):
            logits = context.logits(index - 1).astype(np.float64)
            expected.append(logits[tokens[index]] - np.logaddexp.reduce(logits))
    assert scores == pytest.approx(expected, abs=1e-3)
    assert perplexity(scores) == pytest.approx(np.exp(-np.mean(expected)), rel=1e-3)


def test_the_first_token_of_all_is_not_scored(engine: LlamaEngine) -> None:
    assert len(engine.score(b"abcd", 0)) == 3
    assert engine.score(b"a", 0) == [] and perplexity([]) is None


def test_a_perplexity_too_large_for_a_number_is_infinite() -> None:
    assert perplexity([-709.0]) < math.inf and perplexity([-710.0]) == perplexity([-1e300, 0.0]) == math.inf  # type: ignore[operator]
    assert perplexity([-math.inf]) == math.inf


def test_a_long_text_is_scored_across_passes(engine: LlamaEngine) -> None:
    text = bytes(97 + i % 26 for i in range(700))
    whole = logprobs(engine.score(text, 100))
    assert len(whole) == 600
    assert logprobs(engine.score(text, 650)) == pytest.approx(whole[550:], abs=0.05)


def test_scoring_and_drawing_share_the_cache(engine: LlamaEngine) -> None:
    engine.score(b"a" * 200, 150)
    before = engine.timings.prefill_tokens
    drain(engine.stream(request(b"a" * 200)))
    assert engine.timings.prefill_tokens == before


def test_a_context_as_long_as_the_window_is_refused(engine: LlamaEngine) -> None:
    with pytest.raises(ContextError, match="2048"):
        drain(engine.stream(request(b"x" * 2048)))
    _, completion = drain(engine.stream(request(b"x" * 2040, sampling=replace(HOT, temperature=2.0))))
    assert (completion.tokens, completion.finish_reason) == (8, "context")


def test_nothing_at_all_starts_from_end_of_text(engine: LlamaEngine) -> None:
    assert drain(engine.stream(request(b"")))[1].tokens == 24


def test_blanks_at_the_end_are_not_repeated(engine: LlamaEngine) -> None:
    """What comes out continues the blanks; the tokens that spelt them again are not part of it."""
    _, completion = drain(engine.stream(request(b"abc\n  ", max_tokens=8)))
    assert completion.tokens == 8 and len(completion.text.encode()) < 8


def test_an_interrupt_keeps_what_was_drawn_and_a_sound_cache(engine: LlamaEngine) -> None:
    pieces = engine.stream(request(b"abc"))
    kept = [next(pieces) for _ in range(5)]
    Interrupt().set()
    said, completion = drain(pieces)
    assert completion.finish_reason == "interrupted" and completion.text == "".join(kept + said)
    Interrupt().clear()
    whole = drain(engine.stream(request(b"abc")))[1].text
    assert whole.startswith(completion.text) and len(whole) > len(completion.text)


def test_an_interrupt_before_the_start_draws_nothing(engine: LlamaEngine) -> None:
    Interrupt().set()
    _, completion = drain(engine.stream(request(b"abc")))
    assert (completion.text, completion.tokens, completion.mean_logprob) == ("", 0, None)
    Interrupt().clear()


def test_utf8_is_never_split(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of one character come as one piece; bytes that are none become U+FFFD, and half a one is dropped."""
    script = iter([*"é€".encode(), 0xFF, *b"a", *"🐍".encode()[:3]])
    monkeypatch.setattr(engine.token_table, "piece", lambda token: bytes([next(script)]))
    said, completion = drain(engine.stream(request(b"abc", max_tokens=10)))
    assert completion.text == "é€\ufffda"
    assert [piece for piece in said if piece] == ["é", "€", "\ufffd", "a"]


def test_an_interrupt_stops_the_loading(make_engine: MakeEngine, interrupt: Interrupt) -> None:
    interrupt.set()
    with pytest.raises(Interrupted):
        make_engine()


def test_demands_that_cannot_be_met_are_errors(tiny_model: Path, tmp_path: Path) -> None:
    if not gpu_devices():
        with pytest.raises(UsageError, match=r"needs a GPU, but llama\.cpp finds none"):
            Model.load(tiny_model, gpu_layers=3)
    empty = tmp_path / "empty.gguf"
    empty.touch()
    with pytest.raises(ModelFileError, match="empty"):
        Model.load(empty)


def test_special_tokens_are_never_parsed_out_of_text(tiny_model: Path) -> None:
    with Model.load(tiny_model) as model:
        tokens = model.tokenize(b"a<|endoftext|>")
        assert END_OF_TEXT not in tokens and b"".join(map(model.piece, tokens)) == b"a<|endoftext|>"


def test_a_model_whose_engine_cannot_be_made_is_closed(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Model] = []
    close = Model.close

    def noted(model: Model) -> None:
        closed.append(model)
        close(model)

    monkeypatch.setattr(Model, "close", noted)
    for part in ("TokenTable", "SharedCache", "Prefill", "Sampler", "Scheduler"):
        closed.clear()
        with monkeypatch.context() as broken:
            broken.setattr(engine_module, part, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                make_engine()
        assert len(closed) == 1, part
