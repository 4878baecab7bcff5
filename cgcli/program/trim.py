"""A completion while it streams, without what is no part of it: white space at its end, a beginning that stands."""

from __future__ import annotations

from cgcli.engine.stops import Cutter


class TrailingSpace:
    """Holds white space back until something else follows; what is held when the text ends is dropped."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """`text` and what was held before it, without the white space at the end."""
        text = self._held + text
        kept = text.rstrip()
        self._held = text[len(kept) :]
        return kept


class After:
    """What a cutter keeps of a text after its beginning `begun`, which stands already and has been fed to it."""

    def __init__(self, begun: str, cutter: Cutter) -> None:
        self._cutter = cutter
        self._owed = len(begun) - len(cutter.feed(begun))  # of the beginning; not given yet

    @property
    def finished(self) -> bool:
        return self._cutter.finished

    def feed(self, text: str) -> str:
        return self._beyond(self._cutter.feed(text))

    def finish(self) -> str:
        return self._beyond(self._cutter.finish())

    def _beyond(self, given: str) -> str:
        beyond = given[self._owed :]
        self._owed -= len(given) - len(beyond)
        return beyond
