"""Speculative decoding: guesses tokens ahead, and decides how many guesses are worth a wider pass.

A guess is accepted if it equals the model's own draw, so guesses change the speed but never a draw (Leviathan et al.,
"Fast inference from transformers via speculative decoding", 2023, with exact match in place of rejection sampling;
Saxena, "Prompt lookup decoding", 2023). The number of guesses depends on how often such guesses were accepted in this
text, and on the cost of a wider pass. Neither is timed while decoding, so the same request gives the same passes.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar, Protocol

from cgcli.engine.context import padded
from cgcli.engine.request import Request
from cgcli.native.draft import MATCH_MAX, NgramIndex

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


@dataclass(frozen=True)
class PassCosts:
    """Costs of a pass by its number of rows, relative to a pass of one row. Interpolates between measured numbers."""

    measured: Mapping[int, float]

    @classmethod
    def usual(cls, quant: str) -> PassCosts:
        """Costs measured elsewhere; for an unknown quantization, the highest."""
        return cls(_COSTS.get(quant, _COSTS["q5_k_m"]))

    def padded(self, quant: str) -> PassCosts:
        """The same for exact passes, which may be padded to more rows."""
        return PassCosts({rows: self.of(padded(quant, rows)) for rows in range(1, MAX_DRAFT + 2)})

    def of(self, rows: int) -> float:
        points = sorted(self.measured.items())
        low, high = points[-2:]
        for first, second in pairwise(points):
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


class NgramDrafter:
    """Guesses that the last few tokens are followed by what followed them before.

    The longer the match with the earlier place, the likelier a guess is accepted. It learns how likely from every
    token, whether that was guessed or not.
    """

    #: Minimum length of the match in tokens: share of guesses that are usually accepted.
    USUAL: ClassVar[Mapping[int, float]] = {1: 0.3, 2: 0.42, 3: 0.5, 4: 0.62, 6: 0.72, 9: 0.8, 14: 0.88, 22: 0.94}

    def __init__(self, tokens: Sequence[int], capacity: int) -> None:
        """capacity: tokens that the sequence will have, approximately."""
        self._index = NgramIndex(capacity)
        self._index.append(tokens)
        rates = {length: Rate(usual) for length, usual in self.USUAL.items()}
        self._rates = [  # by the length of the match
            rates[max(one for one in rates if one <= max(1, length))] for length in range(MATCH_MAX + 1)
        ]
        self._proposal = self._index.propose(MAX_DRAFT)

    def _rate(self, depth: int) -> Rate:
        """Rate of the guess after `depth` accepted ones, which make the match so much longer."""
        return self._rates[min(self._proposal.matched + depth, MATCH_MAX)]

    def prospect(self) -> Prospect:
        rates = (self._rate(depth).value for depth in range(len(self._proposal.tokens)))
        return Prospect(tuple(accumulate(rates, operator.mul)))

    def draft(self, count: int) -> list[int]:
        return list(self._proposal.tokens[:count])

    def extend(self, tokens: Sequence[int]) -> None:
        for depth, (guess, token) in enumerate(zip(self._proposal.tokens, tokens, strict=False)):
            self._rate(depth).note(guess == token)
            if guess != token:
                break
        self._index.append(tokens)
        self._proposal = self._index.propose(MAX_DRAFT)


def by_ngrams(tokens: Sequence[int], request: Request) -> Drafter:
    """A drafter for a request. tokens: its context and first draws."""
    return NgramDrafter(tokens, len(tokens) + request.max_tokens)


def allot(prospects: Sequence[Prospect], costs: PassCosts, most: int) -> list[int]:
    """How many tokens each sequence should draft, so that a pass gives the most tokens for its cost.

    A pass always has a row per sequence, and at most `most` rows. Guesses join it in the order of their chance, as long
    as that gives more tokens for its cost.
    """
    rows = len(prospects)
    guesses = sorted(
        (-chance, index, prospect.cost) for index, prospect in enumerate(prospects) for chance in prospect.chances
    )
    best, taken = rows / costs.of(rows), 0
    tokens, cost = float(rows), 0.0
    for number, (minus_chance, _, own_cost) in enumerate(guesses[: max(0, most - rows)], 1):
        tokens -= minus_chance
        cost += own_cost
        if (rate := tokens / (costs.of(rows + number) + cost)) > best:
            best, taken = rate, number
    counts = [0] * rows
    for _, index, _ in guesses[:taken]:
        counts[index] += 1
    return counts
