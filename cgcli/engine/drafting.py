"""Speculative decoding: guesses tokens ahead, and decides how many guesses are worth a wider pass.

A guess is accepted if it equals the model's own draw, so guesses change the speed but never a draw (Leviathan et al.,
"Fast inference from transformers via speculative decoding", 2023, with exact match in place of rejection sampling;
Saxena, "Prompt lookup decoding", 2023). The number of guesses depends on how often such guesses were accepted in this
text, and on the cost of a wider pass. Neither is timed while decoding, so the same request gives the same passes.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile
from typing import Protocol

from cgcli.engine.request import Request
from cgcli.native.draft import CAPACITY_MAX, MATCH_MAX, Draft, KeptNgrams, NgramIndex

MAX_DRAFT = 15

# Costs of a pass by its number of rows, relative to one row. Measured on 2 cores with AVX2, models of 135M and 350M.
_COSTS: Mapping[str, Mapping[int, float]] = {
    "f16": {1: 1.0, 2: 1.35, 4: 1.6, 8: 2.15, 16: 3.5},
    "q8_0": {1: 1.0, 2: 1.6, 3: 2.1, 4: 2.1, 6: 2.6, 8: 2.9, 16: 5.2},
    "q4_0": {1: 1.0, 2: 1.3, 4: 1.85, 8: 3.3, 16: 5.0},
    "q4_k_m": {1: 1.0, 2: 1.6, 3: 2.25, 4: 2.25, 6: 2.95, 8: 3.9, 16: 6.8},
    "q5_k_m": {1: 1.0, 2: 1.65, 4: 2.7, 8: 4.6, 16: 8.5},
    "q6_k": {1: 1.0, 2: 1.8, 4: 2.45, 6: 2.9, 8: 4.0, 16: 5.7},
}
# The same with our products and attention, by their tier: q4_0 on 2 cores; q8_0 and q4_k_m have lower ones.
_AVX512: Mapping[int, float] = {1: 1.0, 2: 1.05, 4: 1.15, 8: 1.65, 16: 3.0}
_AVX2: Mapping[int, float] = {1: 1.0, 2: 1.15, 4: 1.5, 8: 2.75, 16: 5.0}
_OWN_COSTS = {"amx": _AVX512, "avx512": _AVX512, "avxvnni": _AVX2, "avx2": _AVX2}


@dataclass(frozen=True)
class PassCosts:
    """Costs of a pass by its number of rows, relative to a pass of one row. Interpolates between measured numbers."""

    measured: Mapping[int, float]

    @classmethod
    def usual(cls, quant: str, *, tier: str | None = None) -> PassCosts:
        """Costs measured elsewhere; for an unknown quantization, the highest.

        tier: of our products, where they run; None for llama.cpp's
        """
        return cls(_OWN_COSTS[tier] if tier else _COSTS.get(quant, _COSTS["q5_k_m"]))

    def padded(self, padded: Callable[[int], int]) -> PassCosts:
        """The same for exact passes, which may be padded to more rows (`Model.padded`)."""
        return PassCosts({rows: self.of(padded(rows)) for rows in range(1, MAX_DRAFT + 2)})

    @functools.cached_property
    def _points(self) -> list[tuple[int, float]]:
        return sorted(self.measured.items())

    def of(self, rows: int) -> float:
        low, high = self._points[-2:]
        for first, second in pairwise(self._points):
            if rows <= second[0]:
                low, high = first, second
                break
        return low[1] + (high[1] - low[1]) * (rows - low[0]) / (high[0] - low[0])


@dataclass(frozen=True)
class Prospect:
    """The guesses that a drafter could make now."""

    chances: Sequence[float] = ()  # that each guess and all before it are accepted, so they only fall
    cost: float = 0.0  # of a guess, in passes of the model


class Drafter(Protocol):
    """Guesses how one sequence continues."""

    def prospect(self) -> Prospect: ...

    def draft(self, count: int) -> list[int]:
        """At most `count` tokens to follow the sequence."""
        ...

    def extend(self, tokens: Sequence[int]) -> None:
        """The sequence continued with these tokens."""
        ...


class Rate:
    """How often something happens, with more weight on recent events; it starts at `usual`."""

    def __init__(self, usual: float, *, weight: float = 4.0, memory: float = 0.95) -> None:
        """weight: of `usual`, in events; memory: factor on the weight of older events at each event."""
        self._usual, self._weight, self._memory = usual, weight, memory
        self._happened = self._tried = 0.0

    @property
    def value(self) -> float:
        return (self._usual * self._weight + self._happened) / (self._weight + self._tried)

    def note(self, happened: bool) -> None:
        self._happened = self._happened * self._memory + happened
        self._tried = self._tried * self._memory + 1

    def fade(self) -> None:
        """Note that it was not tried, so that it is tried again at some time."""
        self._happened *= 0.98
        self._tried *= 0.98


_LEVELS = 10  # kinds of guesses, by how likely they usually come true
#: Chances are estimates, and those that barely pay for a wider pass are mostly too high: what drafts promise counts for
#: less, and for less still where less came true. With llama.cpp's products, guesses from other files cost 10 of 50
#: library files more than 3 % before this, and none since.
_TRUST = 0.85
_PRIOR, _MEMORY = 4.0, 0.9  # tokens that are taken to have come as promised; factor on older drafts at each draft


class _Source:
    """Guesses from one index, and how often they come true in this text."""

    def __init__(self, propose: Callable[[], Draft], doubt: float, fades: float) -> None:
        """doubt: how many places that go on otherwise a match of no token counts for; fades: tokens of match in which
        that falls to 1/e."""
        self._propose = propose
        self._doubt = [doubt * math.exp(-matched / fades) for matched in range(MATCH_MAX + 1)]
        self._rates = [Rate((level + 0.5) / _LEVELS) for level in range(_LEVELS)]
        self.look()

    def look(self) -> None:
        """Guess how the sequence goes on now."""
        self.guesses = self._propose()
        kinds = zip(self.guesses.matched, self.guesses.agree, self.guesses.of, strict=True)
        self._kinds = [self._rates[self._level(*kind)] for kind in kinds]
        self.chances = tuple(accumulate((rate.value for rate in self._kinds), operator.mul))

    def note(self, tokens: Sequence[int]) -> None:
        """Learn from the tokens that came instead."""
        for rate, guess, token in zip(self._kinds, self.guesses.tokens, tokens, strict=False):
            rate.note(guess == token)
            if guess != token:
                break

    def _level(self, matched: int, agree: int, of: int) -> int:
        # Absolute discounting (Ney, Essen and Kneser 1994), with a longer match in place of a shorter context.
        usual = (agree - 0.5 * (agree < of)) / (of + self._doubt[matched])
        return min(int(usual * _LEVELS), _LEVELS - 1)


class NgramDrafter:
    """Guesses that the last few tokens are followed by what mostly followed them before, in the text or in other ones.

    The longer the match and the more places agree, the likelier a guess is accepted. It learns how likely from every
    token, whether that was guessed or not.
    """

    def __init__(self, tokens: Sequence[int], capacity: int, kept: KeptNgrams | None = None) -> None:
        """capacity: tokens that the sequence will have, approximately. kept: of other texts."""
        index = self._index = NgramIndex(capacity)
        index.append(tokens)
        # How often guesses come true in the second halves of library files, from the first half and from other files.
        self._sources = [_Source(lambda: index.propose(MAX_DRAFT), 1.7, 4.5)]
        if kept:
            self._sources.append(_Source(lambda: kept.propose(index, MAX_DRAFT), 5.0, 3.0))
        self._drafted: list[int] = []
        self._promised = self._came = _PRIOR  # tokens of late: how many drafts promised, and how many came true

    @property
    def _best(self) -> _Source:
        """The source whose guesses promise the most tokens; the text itself where they promise the same."""
        return max(self._sources, key=lambda source: sum(source.chances))

    def prospect(self) -> Prospect:
        trust = _TRUST * min(1.0, self._came / self._promised)
        return Prospect(tuple(trust * chance for chance in self._best.chances))

    def draft(self, count: int) -> list[int]:
        self._drafted = list(self._best.guesses.tokens[:count])
        return self._drafted

    def extend(self, tokens: Sequence[int]) -> None:
        if self._drafted:
            right = map(operator.eq, self._drafted, tokens)
            promised, came = sum(self._best.chances[: len(self._drafted)]), len(list(takewhile(bool, right)))
            self._promised = _PRIOR + _MEMORY * (self._promised - _PRIOR) + promised
            self._came = _PRIOR + _MEMORY * (self._came - _PRIOR) + came
            self._drafted = []
        self._index.append(tokens)
        for source in self._sources:
            source.note(tokens)
            source.look()


def by_ngrams(
    tokens: Sequence[int], request: Request, kept: KeptNgrams | None = None, *, window: int = CAPACITY_MAX
) -> Drafter:
    """A drafter for a request. tokens: its context and first draws; kept: the n-grams of other texts.

    window: tokens that the text can have, whatever the request asks for.
    """
    return NgramDrafter(tokens, min(len(tokens) + request.max_tokens, window), kept)


def allot(prospects: Sequence[Prospect], costs: PassCosts, most: int, *, others: int = 0) -> list[int]:
    """How many tokens each sequence should draft, so that a pass gives the most tokens for its cost.

    A pass always has a row per sequence, and at most `most` rows, besides `others` that read contexts. Guesses join it
    in the order of their chance, as long as that gives more tokens for its cost.
    """
    rows = len(prospects)
    guesses = sorted(
        (-chance, index, prospect.cost) for index, prospect in enumerate(prospects) for chance in prospect.chances
    )
    best, taken = rows / costs.of(rows + others), 0
    tokens, cost = float(rows), 0.0
    for number, (minus_chance, _, own_cost) in enumerate(guesses[: max(0, most - rows)], 1):
        tokens -= minus_chance
        cost += own_cost
        if (rate := tokens / (costs.of(rows + others + number) + cost)) > best:
            best, taken = rate, number
    counts = [0] * rows
    for _, index, _ in guesses[:taken]:
        counts[index] += 1
    return counts
