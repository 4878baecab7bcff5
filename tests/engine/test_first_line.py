"""A first line that is drawn in its own way: where it ends, what may not begin it, and guesses after it; the trace."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.model import Model
from cgcli.engine.request import Completion, DrawnToken, FirstLine, Request
from cgcli.engine.stops import Stops
from cgcli.engine.tokens import Detokenizer, TokenTable
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampled, Sampling
from tests.engine.drawing import HOT, Make, finish, request
from tests.engine.test_follow import FREE

WARM = Sampling(temperature=2.5, seed=4)
LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz")
#: Has nearly every pair of letters, so that n-grams always have a guess, if seldom a right one.
CONTEXT = bytes(random.Random(1).choices(b"abcdefghijklmnopqrstuvwxyz =()\n", k=400)) + b"\n"


@pytest.fixture(scope="module")
def table(tiny_model: Path) -> TokenTable:
    return TokenTable(Model.load(tiny_model, vocab_only=True))


def stages(table: TokenTable, text: bytes, context: bytes = b"abc") -> str:
    """How the byte after each prefix of `text` is drawn: `-` where letters may not come, `1` in the rest of the first
    line, `.` after it."""
    one = request(context, first_line=FirstLine(WARM, LETTERS), continues_code=True, max_tokens=100)
    drawing = Detokenizer(one, table, 100)
    found = ""
    for byte in [*text, None]:
        banned = drawing.mask[ord("a")] != 0
        first = drawing.sampling is WARM
        assert first or drawing.sampling is HOT
        assert drawing.free is not first
        found += "-" if banned else "1" if first else "."
        if byte is not None:
            drawing.accept(Sampled(byte, -1.0, 1))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"x = 1\ny", "-11111.."),
        (b"\n\n  x\n\ty", "-----1..."),  # empty lines before it are not it
        (b"\r\n x\r\ny", "----1..."),
        (b"x\ry", "-1.."),
        ("é\n".encode(), "-11."),  # a part of a character is no blank
        ("\u00a0\n".encode(), "-11."),  # nor is a space that no tokenizer takes for one
    ],
)
def test_the_first_line_ends_after_the_first_that_is_not_blank(table: TokenTable, text: bytes, expected: str) -> None:
    assert stages(table, text) == expected


def test_what_healing_repeats_belongs_to_no_line(table: TokenTable) -> None:
    assert stages(table, b"\n    x\ny", b"abc\n    ") == "------1.."


def test_without_a_first_line_a_text_is_drawn_as_ever(table: TokenTable) -> None:
    drawing = Detokenizer(request(b"abc"), table, 100)
    assert drawing.free and drawing.sampling is HOT and drawing.mask is table.banned


def test_what_healing_repeats_is_never_guessed(table: TokenTable) -> None:
    drawing = Detokenizer(request(b"abc\n  "), table, 100)
    free = []
    for byte in b"\n  x":
        free.append(drawing.free)
        drawing.accept(Sampled(byte, -1.0, 1))
    assert free == [False, False, False, True] and drawing.free


def test_tokens_that_only_repeat_what_is_owed_are_not_avoided(embedded_model: Path) -> None:
    """Of a vocabulary with runs of blanks."""
    with Model.load(embedded_model, vocab_only=True) as model:
        table = TokenTable(model)
        number = {piece: token for token, piece in reversed(list(enumerate(table.pieces)))}
        blanks = [b"\n", b"\n   ", b"    ", b"   ", b" "]
        words = [b" return", b" x", b"   x"]
        known = [number[piece] for piece in [*blanks, *words] if piece in number]
        assert len(known) >= 6
        for owed in (b"\n    ", b"   ", b""):
            usual, mask = table.mask(owed), table.mask(owed, frozenset(known))
            changed = {table.piece(token) for token in range(model.n_vocab) if usual[token] != mask[token]}
            # Banned are all that may come next, except for beginnings of what is owed.
            allowed = {table.piece(token) for token in known if not usual[token]}
            assert changed == {piece for piece in allowed if not piece or not owed.startswith(piece)}
            assert all(mask[token] for token in range(model.n_vocab) if usual[token])
            assert changed != allowed or not owed
        assert table.mask(b"\n") is table.mask(b"\n", frozenset([number[b"\n"]]))  # nothing to copy


# Drawn.


def first_line_of(engine_text: str) -> str:
    begun = len(engine_text) - len(engine_text.lstrip())
    return engine_text[: engine_text.index("\n", begun) + 1]


@pytest.fixture(scope="module")
def one_line(tiny_model: Path) -> tuple[Request, Completion]:
    """A request with a first line of its own, of 8 to 30 characters, and its completion."""
    requests = [
        request(
            CONTEXT, sampling=replace(HOT, seed=seed), max_tokens=60, first_line=FirstLine(replace(WARM, seed=seed))
        )
        for seed in range(64)
    ]
    options = EngineOptions(threads=1, exact=True, speculate=False)
    with interruptible() as interrupt, LlamaEngine(tiny_model, options, interrupt=interrupt) as engine:
        texts = finish(engine, requests)
    return next((one, done) for one, done in zip(requests, texts, strict=True) if 8 < done.text.find("\n", 1) < 30)


def test_the_sampling_of_the_first_line_ends_with_it(make: Make, one_line: tuple[Request, Completion]) -> None:
    """Its text is that of its sampling up to the line end, and that of the request's own after it."""
    one, done = one_line
    assert one.first_line
    line = first_line_of(done.text)
    plain = replace(one, first_line=None)
    engine = make(speculate=False)
    warm, hot = finish(engine, [replace(plain, sampling=one.first_line.sampling), plain])
    assert warm.text.startswith(line) and warm.text != done.text and not hot.text.startswith(line)
    rest = replace(
        plain, context=one.context + line.encode(), first_draw=len(line), max_tokens=one.max_tokens - len(line)
    )
    assert done.text == line + finish(engine, [rest])[0].text


@pytest.mark.parametrize("drafted", [False, True])
def test_guesses_begin_after_the_first_line_and_change_no_text(
    make: Make, tiny_model: Path, one_line: tuple[Request, Completion], drafted: bool
) -> None:
    """By n-grams and by a model, which is the same here and thus always right: in the first line it would not be."""
    one, done = one_line
    engine = make(costs=FREE, **({"draft": tiny_model} if drafted else {}))
    if engine._guesser:
        engine._guesser.cost = 0.0
    stream = engine.submit(one)
    line = len(first_line_of(done.text))
    while stream.completion is None:
        engine.scheduler.step()
        assert engine.timings.drafted == 0 or stream.text.drawn > line
    assert stream.completion == done
    assert engine.timings.drafted > 0 and (not drafted or engine.timings.acceptance == 1.0)


def test_what_is_avoided_does_not_begin_the_line(make: Make) -> None:
    engine = make()
    cold = Sampling(temperature=0)
    avoid: set[int] = set()
    for _ in range(8):  # as tries of a line do: each avoids what the others began with
        one = request(b"abc\n    ", sampling=cold, continues_code=True, max_tokens=30)
        (done,) = finish(engine, [replace(one, first_line=FirstLine(cold, frozenset(avoid)))])
        # The line end and the blanks of the context are drawn again, though ...
        assert bytes(token.token for token in done.trace[:5]) == b"\n    " and done.trace[4].end == 0
        first = next(token.token for token in done.trace if bytes([token.token]).strip())
        assert first not in avoid
        avoid |= {first, *b"\n "}  # ... they are avoided now.
    assert len(avoid) == 10
    assert any(token.token in avoid for token in done.trace[6:])  # only the first one is avoided


def test_what_would_not_be_drawn_is_avoided_without_a_trace(make: Make) -> None:
    one = request(b"abc", sampling=Sampling(temperature=0))
    usual, same = finish(make(), [one, replace(one, first_line=FirstLine(one.sampling, frozenset(b"\0\1")))])
    assert same == usual


# The trace.


def test_the_trace_counts_every_token_and_its_log_probability(make: Make) -> None:
    engine = make()
    table = engine.token_table
    whole, cut, healed = finish(
        engine,
        [
            request(b"abc", max_tokens=40),
            request(b"abc", max_tokens=40, cutter=lambda: Stops(["g="])),
            request(b"abc\n  ", max_tokens=40, continues_code=True),
        ],
    )
    assert cut.finish_reason == "stop" and 0 < cut.tokens < 40
    for done in (whole, cut, healed):
        assert len(done.trace) == done.tokens
        assert sum(token.logprob for token in done.trace) / done.tokens == pytest.approx(done.mean_logprob)
    assert b"".join(table.piece(token.token) for token in whole.trace).decode() == whole.text
    assert [token.end for token in whole.trace] == list(range(1, 41))
    assert cut.trace == whole.trace[: cut.tokens]  # with what was cut
    assert cut.text + "g=" == whole.text[: cut.tokens]
    assert [token.end for token in healed.trace] == [0, 0, 0, *range(1, 38)]


def test_the_trace_has_the_token_that_ended_the_text(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make()
    (usual,) = finish(engine, [request(b"abc")])
    end = usual.trace[5].token
    monkeypatch.setattr(engine.token_table, "ends", {end})
    (done,) = finish(engine, [request(b"abc")])
    assert done.trace[-1].token == end and end not in [token.token for token in done.trace[:-1]]
    assert done.trace[-1].end == len(done.text) == done.tokens - 1


def test_characters_count_once_they_are_whole(table: TokenTable) -> None:
    drawing = Detokenizer(request(b"abc", max_tokens=20), table, 20)
    for byte in [*"é€".encode(), 0xFF, *b"a", *"🐍".encode()[:3]]:
        drawing.accept(Sampled(byte, -1.0, 1))
    drawing.end("interrupted")
    assert drawing.completion and drawing.completion.text == "é€\ufffda"
    assert [token.end for token in drawing.completion.trace] == [0, 1, 1, 1, 2, 3, 4, 4, 4, 4]
    assert drawing.completion.trace[0] == DrawnToken("é".encode()[0], 0, -1.0)
