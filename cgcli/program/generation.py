"""How a turn is drawn: sampling, limits, stop rules, and the trimming of a completion while it streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cgcli.core.config import OTHER_TEMPERATURE, TEMPERATURE
from cgcli.engine.stops import Chain, Cutter, Stops
from cgcli.native.sample import Sampling
from cgcli.program.faults import BarEnd
from cgcli.program.source import decode, encode
from cgcli.program.truncate import NONE, Rules, Truncator

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.hub.catalog import Card


@dataclass(frozen=True)
class Generation:
    """How a turn is drawn."""

    sampling: Sampling
    max_tokens: int = 256  # per completion
    rules: Rules = NONE  # of truncation
    stops: tuple[str, ...] = ()
    candidates: int = 1  # to draw and choose from
    redraws: int = 3  # attempts more if all candidates are empty
    guard: bool = False  # cut what cannot run while it is drawn, and draw it again
    others: float | None = None  # temperature of the candidates after the first one; None: the same
    end_bars: bool = False  # end a completion at a bar of more than 88 equal characters inside a comment; Python only

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
        end_bars: bool = False,
    ) -> Generation:
        """The generation that the settings ask for; an unset seed is 0. Without rules, there are no guards.

        card: of the model; its stop strings are added to `stops`.
        """
        temperature = TEMPERATURE if settings.temperature is None else settings.temperature
        others = OTHER_TEMPERATURE if settings.temperature is None and candidates > 1 else None
        sampling = Sampling(temperature, settings.top_p, settings.top_k, settings.min_p, settings.seed or 0)
        stops = (*stops, *(card.stop if card else ()))
        guard = settings.guard == "on" and rules != NONE
        bars = end_bars and not guard  # guards cut a bar where it begins
        return cls(sampling, settings.max_tokens, rules, stops, candidates, redraws, guard, others, bars)

    def at(self, temperature: float) -> Generation:
        """The same at another temperature, for all candidates that are not hotter than that."""
        others = self.others if self.others and self.others > temperature else None
        return replace(self, sampling=replace(self.sampling, temperature=temperature), others=others)

    def within(self, begun: str) -> Generation:
        """The same for a completion that begins with `begun`. Blanks alone begin a block, and the rules are its own."""
        return replace(self, rules=self.rules.within(begun)) if begun.isspace() and self.rules != NONE else self

    @property
    def eval_facts(self) -> dict[str, object]:
        """How an evaluation's completions may differ from the published protocol."""
        return {"guard": "on" if self.guard else "off", "end_bars": self.end_bars}

    def cutter(self, context: bytes, keep: str = "") -> Cutter:
        """A new cutter for the truncation rules and the stop strings; the earliest cut ends a completion.

        keep: completion prefix that exists already. The rules see it, but the cutter does not return it; if the rules
        or the stop strings cut it, they begin after it.
        """
        truncator = Truncator(self.rules)
        if context and not context.endswith(b"\n"):
            truncator.feed("\0")  # the completion continues a line; rules match only at the start of one
        cutter = Chain(truncator, Stops(self.stops), *([BarEnd(decode(context))] if self.end_bars else []))
        if not keep:
            return cutter
        after = After(keep, cutter)
        return self.cutter(context + encode(keep)) if after.finished else after


class TrailingSpace:
    """Drops the white space at the end of a streamed text: holds white space back until something else follows."""

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        """Return the held text and `text`, without trailing white space."""
        text = self.held + text
        kept = text.rstrip()
        self.held = text[len(kept) :]
        return kept


class After:
    """A cutter that returns only what follows `begun`, the beginning of the text, which exists already."""

    def __init__(self, begun: str, cutter: Cutter) -> None:
        self._cutter = cutter
        self._owed = len(begun) - len(cutter.feed(begun))  # characters of the beginning that the cutter still holds

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
