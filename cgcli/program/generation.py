"""How a turn is drawn: sampler settings, limits, and what ends a completion or is trimmed off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgcli.engine.stops import Chain, Cutter, Stops
from cgcli.native.sample import Sampling
from cgcli.program.source import encode
from cgcli.program.truncate import NONE, Rules, Truncator

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.hub.catalog import Card


@dataclass(frozen=True)
class Generation:
    """How a turn is drawn. candidates: how many to draw and choose from; redraws: further tries where all are empty."""

    sampling: Sampling
    max_tokens: int = 256
    rules: Rules = NONE
    stops: tuple[str, ...] = ()
    candidates: int = 1
    redraws: int = 3

    @classmethod
    def of(
        cls,
        settings: Settings,
        card: Card | None,
        rules: Rules,
        *,
        stops: Sequence[str] = (),
        candidates: int = 1,
        redraws: int = 3,
    ) -> Generation:
        """How the settings say that a turn is drawn; a seed that is not set is 0.

        card: the model's, whose stop strings come after `stops`.
        """
        sampling = Sampling(settings.temperature, settings.top_p, settings.top_k, settings.min_p, settings.seed or 0)
        stops = (*stops, *(card.stop if card else ()))
        return cls(sampling, settings.max_tokens, rules, stops, candidates, redraws)

    def cutter(self, context: bytes, keep: str = "") -> Cutter:
        """A new automaton for the truncation rules and the stop strings; the earliest cut ends a completion.

        keep: the beginning of the completion that stands already, which counts but is not given; where it has what ends
        a completion, the rules begin after it. They take the first character of a completion for the start of a line.
        One that goes on inside a line of `context` is made to look so by a character before it, which matches no rule
        and is not part of the text.
        """
        truncator = Truncator(self.rules)
        if context and not context.endswith(b"\n"):
            truncator.feed("\0")
        cutter = Chain(truncator, Stops(self.stops))
        if not keep:
            return cutter
        after = After(keep, cutter)
        return self.cutter(context + encode(keep)) if after.finished else after


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
