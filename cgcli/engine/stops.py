"""Rules that end a completion by its text: cutters.

A cutter gets the completion in pieces, split anywhere, and returns text as soon as it is final: while text may still be
cut, it is held back. The whole of what it returns does not depend on how the text was split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cgcli.core.errors import UsageError


class Cutter(Protocol):
    """A rule that keeps a prefix of a text."""

    @property
    def finished(self) -> bool:
        """Whether the cut is known and all text before it was returned; further text is dropped."""
        ...

    def feed(self, text: str) -> str:
        """Take the next piece of the text; returns the text that is now final."""
        ...

    def finish(self) -> str:
        """End the text; returns the rest that is kept."""
        ...


class Stops:
    """Cuts before the first occurrence of any of the given strings; without strings, keeps everything.

    The occurrence that begins first counts: while the text may still grow into "abcd", a "bc" inside it waits. Raises
    UsageError for an empty string.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        if "" in stops:
            raise UsageError("a stop string is empty", hint="drop --stop, or give it a text")
        self._stops = tuple(stops)
        self._beginnings = {stop[:size] for stop in stops for size in range(1, len(stop))}
        self._longest = max(map(len, self._beginnings), default=0)
        self._held = ""  # may still become a stop, or is a stop that must wait
        self.finished = False

    def feed(self, text: str) -> str:
        if self.finished:
            return ""
        self._held += text
        cut = self._cut()
        begun = self._begun(cut)
        self.finished = cut < len(self._held) and begun == cut
        kept, self._held = self._held[:begun], self._held[begun:]
        return kept

    def finish(self) -> str:
        if self.finished:
            return ""
        self.finished = True
        return self._held[: self._cut()]

    def _cut(self) -> int:
        """Where the first stop in the held text begins, or the length of that text."""
        return min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=len(self._held))

    def _begun(self, cut: int) -> int:
        """Where the longest suffix of the held text that may grow into a stop begins, or `cut` if that comes first."""
        for start in range(max(0, len(self._held) - self._longest), cut):
            if self._held[start:] in self._beginnings:
                return start
        return cut


class Chain:
    """Several cutters over one text: the first of their cuts wins."""

    def __init__(self, *cutters: Cutter) -> None:
        self._cutters = cutters
        self._certain = [0] * len(self._cutters)  # characters that each cutter has returned
        self._given = 0
        self._held = ""  # not yet returned
        self.finished = False

    def feed(self, text: str) -> str:
        return "" if self.finished else self._advance(text, [cutter.feed(text) for cutter in self._cutters])

    def finish(self) -> str:
        return "" if self.finished else self._advance("", [cutter.finish() for cutter in self._cutters])

    def _advance(self, text: str, pieces: list[str]) -> str:
        self._held += text
        self._certain = [before + len(piece) for before, piece in zip(self._certain, pieces, strict=True)]
        upto = min(self._certain, default=self._given + len(self._held))
        kept, self._held = self._held[: upto - self._given], self._held[upto - self._given :]
        self._given = upto
        # A finished cutter that has returned no more than this cuts here, and no other can cut earlier.
        ended = zip(self._cutters, self._certain, strict=True)
        self.finished = any(cutter.finished and certain == upto for cutter, certain in ended)
        return kept
