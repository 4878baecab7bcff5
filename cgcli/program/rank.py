"""Which candidate of a turn comes first: the one order of candidates, for those that choose by it, run or not."""

from __future__ import annotations

import math
from typing import NamedTuple

from cgcli.program.program import Candidate


class Rank(NamedTuple):
    """What is known of a candidate; the greatest comes first, its fields counting in this order.

    whole: not interrupted; parses: it is Python, or no Python is wanted; complete: not cut; ran: without an error;
    held: how many checks; votes: how many candidates print the same, itself included, 0 where it prints nothing.
    A field that only running tells counts for nothing until then.
    """

    whole: bool
    parses: bool
    complete: bool
    ran: bool = False
    held: int = 0
    votes: int = 0
    logprob: float = -math.inf

    @classmethod
    def of(cls, candidate: Candidate, *, parses: bool) -> Rank:
        """Before it is run."""
        reason = candidate.finish_reason
        logprob = -math.inf if candidate.mean_logprob is None else candidate.mean_logprob
        return cls(reason != "interrupted", parses, reason not in ("length", "context"), logprob=logprob)

    def with_run(self, ran: bool, held: int, votes: int) -> Rank:
        """After it was run; one that failed has no votes."""
        return self._replace(ran=ran, held=held, votes=votes if ran else 0)
