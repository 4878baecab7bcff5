"""Text coloured by surprise: the less probable a piece of it was to the model, the hotter its colour."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator

from cgcli.core.visible import visible

# From each probability on its colour, which can be read on a dark and on a light background.
_LEVELS = ((0.5, ""), (0.1, "36"), (0.01, "35"), (0.0001, "31"), (0.0, "7;31"))
_UNSCORED = "90"


def heated(pieces: Iterable[tuple[bytes, float | None]]) -> Iterator[str]:
    """The text of `pieces` as a terminal shows it, piece by piece: (bytes, log-probability in nats; None: not scored).

    A character that lies across pieces comes with its last one. White space that surprises is underlined, a line end
    that does is preceded by ⏎.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    for piece, logprob in pieces:
        colour = _UNSCORED if logprob is None else _colour(logprob)
        *lines, rest = utf8.decode(piece).split("\n")
        yield "".join(_painted(line + "⏎", colour) + "\n" if colour else visible(line) + "\n" for line in lines)
        yield _painted(rest, colour)


def legend() -> str:
    """What the colours mean, in one line."""
    levels = ", ".join(_painted(f"{100 * least:g} %", colour) for least, colour in _LEVELS[:-1])
    return f"probability at least {levels}, {_painted('less', _LEVELS[-1][1])}; {_painted('not scored', _UNSCORED)}"


def _colour(logprob: float) -> str:
    return next(colour for least, colour in _LEVELS if math.exp(logprob) >= least)


def _painted(text: str, colour: str) -> str:
    if not text or not colour:
        return visible(text)
    blank = "4;" if text.isspace() else ""
    return f"\x1b[{blank}{colour}m{visible(text)}\x1b[0m"
