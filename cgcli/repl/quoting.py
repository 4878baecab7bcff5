"""The words of a line that is not typed to its end, as a shell would take them apart; and words in quotes again."""

from __future__ import annotations

import shlex
from typing import NamedTuple


class Unfinished(NamedTuple):
    """given: words before the last; begin: where that begins in the line; word: what it says, which may be nothing."""

    given: int
    begin: int
    word: str


def unfinished(line: str) -> Unfinished:
    """The last word of a line, whose quotes may be open yet. Behind a blank that is one without letters."""
    for at in (at for at in range(len(line), 0, -1) if line[at - 1].isspace()):
        try:
            return Unfinished(len(shlex.split(line[: at - 1])), at, _said(line[at:]))
        except ValueError:  # that blank stands within quotes
            continue
    return Unfinished(0, 0, _said(line))


def _said(word: str) -> str:
    for closed in (word, word.removesuffix("\\"), word + "'", word + '"'):
        try:
            return "".join(shlex.split(closed))
        except ValueError:
            continue
    return word


def quoted(word: str) -> str:
    """So that it is taken for one word. The `~/` of a home folder needs no quotes, and is not shown in them."""
    home = "~/" * word.startswith("~/")
    rest = word.removeprefix(home)
    return home + (shlex.quote(rest) if rest else "")
