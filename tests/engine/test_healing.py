"""Token healing on a vocabulary small enough to see through."""

from __future__ import annotations

import ctypes

import pytest

from cgcli.engine.healing import Healing, split_blanks

PIECES = [b"", b" ", b"  ", b"    ", b"    return", b"  x", b"y", b"\t", b" \n"]
BANNED = (ctypes.c_uint8 * len(PIECES))(*[0] * len(PIECES))


def allowed(healing: Healing) -> set[bytes]:
    return {piece for piece, banned in zip(PIECES, healing.mask(), strict=True) if not banned}


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
    healing = Healing(b"  ", PIECES, BANNED)
    assert allowed(healing) == {b" ", b"  ", b"    ", b"    return", b"  x"}
    assert healing.accept(b" ") == b""
    assert allowed(healing) == {b" ", b"  ", b"    ", b"    return", b"  x", b" \n"}
    assert healing.accept(b"    return") == b"   return"
    assert allowed(healing) == set(PIECES)


def test_banned_ids_stay_banned() -> None:
    banned = (ctypes.c_uint8 * len(PIECES))(*[piece == b"  x" for piece in PIECES])
    assert b"  x" not in allowed(Healing(b"  ", PIECES, banned))
