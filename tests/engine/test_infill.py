"""Models that were trained to infill. CodeGen2's tokenizer is not at hand, so one is made with its special tokens; in
it, a token of text is a byte, and the ids can be written down."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from tests.support.draining import drain
from tests.support.tiny_model import END_OF_TEXT, write_tiny_model

CONTROL, USER_DEFINED = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
MASK_1, MASK_2, SEP, EOM = 257, 258, 259, 260
BEFORE, AFTER = b"def f():\n    ", b"\n    return x\n"


def codegen2(path: Path, kind: gguf.TokenType) -> LlamaEngine:
    special = dict.fromkeys(("<mask_1>", "<mask_2>", "<sep>", "<eom>"), kind)
    return LlamaEngine(write_tiny_model(path / "codegen2.gguf", special=special), interrupt=Interrupt())


def around(before: bytes, after: bytes, max_tokens: int = 64) -> Request:
    return Request(before, Sampling(1.0), Stops, max_tokens, continues_code=True, suffix=after)


@pytest.fixture(params=[CONTROL, USER_DEFINED], ids=["control", "user-defined"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> LlamaEngine:
    return codegen2(tmp_path, request.param)


def test_the_layout_of_codegen2(engine: LlamaEngine) -> None:
    golden = [
        *(100, 101, 102, 32, 102, 40, 41, 58, 10, 32, 32, 32, 32),  # def f():, and the indentation of the hole
        257,  # <mask_1>
        *(10, 32, 32, 32, 32, 114, 101, 116, 117, 114, 110, 32, 120, 10),  # return x
        *(256, 259, 257),  # <|endoftext|> <sep> <mask_1>
    ]
    with engine:
        assert engine.infill == "codegen2"
        assert engine.read_tokens(around(BEFORE, AFTER)) == golden


def test_a_text_that_spells_a_mask_token_stays_text(engine: LlamaEngine) -> None:
    spelt = b"print('<mask_1>') # <sep><eom><mask_2><|endoftext|>"
    with engine:
        ids = engine.read_tokens(around(spelt, spelt))
        assert ids == [*spelt, MASK_1, *spelt, END_OF_TEXT, SEP, MASK_1]
        assert engine.tokens(spelt) == [*spelt]


def test_a_hole_is_filled_until_the_end_of_its_mask(engine: LlamaEngine) -> None:
    with engine:
        done: Completion = drain(engine.stream(around(BEFORE, AFTER, 2000)))[1]
    assert done.finish_reason == "stop"
    assert done.trace[-1].token in (EOM, END_OF_TEXT)
    assert any(draw.token == EOM for draw in done.trace) == (done.trace[-1].token == EOM)
    assert "<eom>" not in done.text
    assert len(done.text) == done.tokens - 1  # no draw only repeats the blanks before the hole


def test_fim_tokens_that_a_file_names_are_used(tmp_path: Path) -> None:
    special = dict.fromkeys(("<P>", "<S>", "<M>", "<E>"), CONTROL)
    named = {"fim_pre": 257, "fim_suf": 258, "fim_mid": 259}
    path = write_tiny_model(tmp_path / "fim.gguf", special=special, named=named)
    with LlamaEngine(path, interrupt=Interrupt()) as engine:
        assert engine.infill == "fim"
        assert engine.read_tokens(around(BEFORE, b"<S>")) == [257, *BEFORE, 258, *b"<S>", 259]


def test_words_of_the_base_vocabulary_are_no_mask_tokens(tmp_path: Path) -> None:
    with codegen2(tmp_path, gguf.TokenType.NORMAL) as engine:
        assert engine.infill == ""


def test_a_model_without_such_tokens_does_not_infill(tiny_model: Path) -> None:
    with LlamaEngine(tiny_model, interrupt=Interrupt()) as engine:
        assert engine.infill == ""
