"""Perplexities of a program: the tokens of each part, and words for a prompt's perplexity."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import perplexity
from cgcli.hub.catalog import load_catalog
from cgcli.program.score import Measure, clarity, score_program

HEAD, FIRST, SECOND = "import os\n\n", ("# one\n", "x = 1\n\n"), ("# two\n", "\ty = 2 é\n")
TEXT = HEAD + "".join(FIRST + SECOND)


def test_every_token_belongs_to_one_part(engine: LlamaEngine) -> None:
    scored = score_program(engine, TEXT, "#")
    assert scored.first == b"i" and [piece for piece, _ in scored.pieces[:2]] == [b"i", b"m"]
    assert b"".join(piece for piece, _ in scored.pieces) == TEXT.encode()
    assert scored.pieces[0][1] is None and None not in [logprob for _, logprob in scored.pieces[1:]]
    first, second = scored.turns
    assert scored.prefix.tokens == len(HEAD) - 1
    assert (first.prompt.tokens, first.code.tokens, first.whole.tokens) == (6, 7, 13)
    assert (second.prompt.tokens, second.code.tokens) == (6, len("\ty = 2 é\n".encode()))
    assert scored.prompts.tokens == 12 and scored.whole.tokens == len(scored.tokens)
    assert scored.code.tokens == first.code.tokens + second.code.tokens


def test_the_perplexities_are_those_of_the_parts(engine: LlamaEngine) -> None:
    scored = score_program(engine, TEXT, "#")
    logprobs = [score.logprob for score in scored.tokens]
    begin = len(HEAD) - 1
    assert scored.prefix.perplexity == perplexity(logprobs[:begin])
    assert scored.turns[0].prompt.perplexity == perplexity(logprobs[begin : begin + 6])
    assert scored.turns[0].code.perplexity == perplexity(logprobs[begin + 6 : begin + 13])
    assert scored.turns[1].whole.perplexity == perplexity(logprobs[begin + 13 :])
    assert scored.prompts.perplexity == perplexity(logprobs[begin : begin + 6] + logprobs[begin + 13 : begin + 19])
    assert scored.whole.perplexity == perplexity(logprobs)


def test_a_token_across_two_parts_belongs_to_the_later(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.token_table, "_tokenize", lambda text: list(b"#ab"))
    monkeypatch.setattr(engine.model, "piece", {35: b"# a", 97: b"\nx ", 98: b"= 1\n"}.__getitem__)
    (turn,) = score_program(engine, "# a\nx = 1\n", "#").turns
    assert (turn.prompt.tokens, turn.code.tokens) == (0, 2)
    assert turn.prompt == Measure(0, None)


def test_a_program_without_prompts_is_all_prefix(engine: LlamaEngine) -> None:
    scored = score_program(engine, "x = 1\n", "#")
    assert scored.turns == () and scored.prefix == scored.whole and scored.prompts == Measure(0, None)


def test_one_token_alone_has_no_perplexity(engine: LlamaEngine) -> None:
    scored = score_program(engine, "x", "#")
    assert scored.first == b"x" and scored.whole == Measure(0, None) and scored.pieces == [(b"x", None)]


CARD = replace(load_catalog().cards["codegen-350m-mono"], prompt_perplexity=(5.0, 8.0, 12.0))


def test_the_quartiles_of_the_model_decide() -> None:
    said = [clarity(perplexity, CARD) for perplexity in (1.0, 5.0, 5.1, 12.0, 12.1)]
    assert said == ["clear", "clear", "fair", "fair", "unclear"]


def test_without_a_measure_there_are_no_words() -> None:
    assert clarity(None, CARD) is None and clarity(5.0, None) is None
    assert clarity(5.0, replace(CARD, prompt_perplexity=None)) is None
