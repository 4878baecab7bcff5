"""Text coloured by surprise, as a terminal gets it."""

from __future__ import annotations

import math

import pytest

from cgcli.core.heat import heated, legend


def shown(*pieces: tuple[bytes, float | None]) -> str:
    return "".join(heated(pieces))


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (1.0, "x"),
        (0.5, "x"),
        (0.499, "\x1b[36mx\x1b[0m"),
        (0.101, "\x1b[36mx\x1b[0m"),
        (0.099, "\x1b[35mx\x1b[0m"),
        (0.0101, "\x1b[35mx\x1b[0m"),
        (0.0099, "\x1b[31mx\x1b[0m"),
        (0.000101, "\x1b[31mx\x1b[0m"),
        (0.000099, "\x1b[7;31mx\x1b[0m"),
        (0.0, "\x1b[7;31mx\x1b[0m"),
        (None, "\x1b[90mx\x1b[0m"),
    ],
)
def test_the_less_probable_the_hotter(probability: float | None, expected: str) -> None:
    logprob = probability and math.log(probability + 1e-12)
    assert shown((b"x", -math.inf if probability == 0 else logprob)) == expected


def test_white_space_that_surprises_can_be_seen() -> None:
    assert shown((b"a\n\n  ", -0.1)) == "a\n\n  "
    assert shown((b"a\n  ", -6)) == "\x1b[31ma⏎\x1b[0m\n\x1b[4;31m  \x1b[0m"


def test_a_character_across_tokens_comes_whole() -> None:
    assert shown((b"\xc3", -0.1), (b"\xa9b", -3)) == "\x1b[35méb\x1b[0m"


def test_nothing_drives_the_terminal() -> None:
    assert shown((b"\x1b]0;x\x07", -0.1), (b"\r", -9.9)) == "\\x1b]0;x\\x07\x1b[4;7;31m\\x0d\x1b[0m"


def test_the_legend_has_every_colour() -> None:
    assert all(f"\x1b[{colour}m" in legend() for colour in ("36", "35", "31", "7;31", "90"))
