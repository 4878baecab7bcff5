"""Token healing, on a small vocabulary and on models."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import pytest

from cgcli.engine import tokens as tokens_module
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.engine.tokens import Healing, healing_mask, split_blanks
from cgcli.native.sample import Mask, Sampling
from tests.support.engines import MakeEngine

PIECES = [b"", b" ", b"  ", b"    ", b"    return", b"  x", b"y", b"\t", b" \n"]
BANNED = (ctypes.c_uint8 * len(PIECES))(*[0] * len(PIECES))


def allowed(owed: bytes, never: Mask = BANNED) -> set[bytes]:
    return {piece for piece, banned in zip(PIECES, healing_mask(owed, PIECES, never), strict=True) if not banned}


@pytest.mark.parametrize(
    ("text", "head", "blanks"),
    [
        (b"def f():\n    ", b"def f():", b"\n    "),
        (b"a\r\n\n\t ", b"a", b"\r\n\n\t "),
        (b"a \n", b"a \n", b""),
        (b"  ", b"", b"  "),
    ],
)
def test_blanks_at_the_end_are_split_off(text: bytes, head: bytes, blanks: bytes) -> None:
    assert split_blanks(text) == (head, blanks)


def test_tokens_must_spell_what_is_owed_and_may_go_beyond() -> None:
    healing = Healing(b"  ")
    assert allowed(healing.owed) == {b" ", b"  ", b"    ", b"    return", b"  x"}
    assert healing.accept(b" ") == b""
    assert allowed(healing.owed) == {b" ", b"  ", b"    ", b"    return", b"  x", b" \n"}
    assert healing.accept(b"    return") == b"   return"
    assert healing.owed == b""


def test_banned_ids_stay_banned() -> None:
    banned = (ctypes.c_uint8 * len(PIECES))(*[piece == b"  x" for piece in PIECES])
    assert b"  x" not in allowed(b"  ", banned)


def test_candidates_share_their_masks(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one reads the bytes of every token."""
    made: list[bytes] = []

    def counted(owed: bytes, pieces: Sequence[bytes], banned: Mask) -> Mask:
        made.append(owed)
        return healing_mask(owed, pieces, banned)

    monkeypatch.setattr(tokens_module, "healing_mask", counted)
    requests = [Request(b"ab ", Sampling(0.9, seed=1), Stops, max_tokens=2, candidate=n) for n in range(16)]
    assert len(dict(engine.complete(requests))) == 16
    assert made == [b" "]


# Code that continues after a line end: the first tokens may repeat that, merged with the indentation that follows.

BEGUN = b'def total(a, b):\n    """Add."""\n    total = a + b\n'


def test_the_first_tokens_spell_the_line_ends(engine: LlamaEngine) -> None:
    text = "".join(engine.stream(Request(b"abc\r\n\n", Sampling(), Stops, 20, continues_code=True)))
    # One token a byte: three of the twenty are the line ends.
    assert len(text.encode()) == 17


@pytest.mark.parametrize("context", [b"\n", b""])
def test_nothing_but_line_ends_is_a_context_too(engine: LlamaEngine, context: bytes) -> None:
    assert "".join(engine.stream(Request(context, Sampling(), Stops, 5, continues_code=True)))


def test_a_model_whose_tokens_merge_them_keeps_the_indentation(make_engine: MakeEngine, embedded_model: Path) -> None:
    engine = make_engine(embedded_model)
    continues_code, starts_anew = (
        "".join(engine.stream(Request(BEGUN, Sampling(temperature=0), Stops, 8, continues_code=on)))
        for on in (True, False)
    )
    assert continues_code.startswith("    return total")
    assert not starts_anew.startswith(" ")
