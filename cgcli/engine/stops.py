"""Where a completion ends by its text: cutters, which hold back what may still be cut while text arrives.

A cutter is fed the completion in pieces, split anywhere, and gives back the text that is certain, so nothing is printed
and then taken back. What it gives in all is the same however the text is split. It knows nothing of tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cgcli.core.errors import UsageError


class Cutter(Protocol):
    """A rule that keeps a prefix of a text."""

    @property
    def finished(self) -> bool:
        """Whether the cut is known and all before it has been given; further text is dropped."""
        ...

    def feed(self, text: str) -> str:
        """Take the next piece of the text; give what is now certain to be kept."""
        ...

    def finish(self) -> str:
        """The text is at its end: give the rest of what is kept, and be finished."""
        ...


class Stops:
    """Cuts before the earliest occurrence of any of some strings (with none, keeps all).

    Earliest is where an occurrence begins: of "ab" and "abc" at one place it does not matter which, and "bc" inside a
    longer stop that began before it waits until that one is decided. Raises UsageError for an empty string.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        if "" in stops:
            raise UsageError("a stop string is empty", hint="leave --stop out")
        self._stops = tuple(stops)
        self._held = ""  # may still become a stop, or is one that must wait
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
        """Where the earliest stop in the held text begins, else the length of that text."""
        return min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=len(self._held))

    def _begun(self, cut: int) -> int:
        """Where the longest end of the held text that could grow into a stop begins, if before `cut`, else `cut`."""
        size = len(self._held)
        longest = max(map(len, self._stops), default=0)
        for start in range(max(0, size - longest + 1), cut):
            if any(len(stop) > size - start and self._held.endswith(stop[: size - start]) for stop in self._stops):
                return start
        return cut


class Chain:
    """Several cutters over one text: the earliest of their cuts wins."""

    def __init__(self, *cutters: Cutter) -> None:
        self._cutters = cutters
        self._certain = [0] * len(self._cutters)  # characters of the text that each one has given
        self._given = 0
        self._held = ""  # fed, not yet given
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
        # A cutter that is finished and has given no more than this has its cut here, and nobody can cut earlier.
        ended = zip(self._cutters, self._certain, strict=True)
        self.finished = any(cutter.finished and certain == upto for cutter, certain in ended)
        return kept
