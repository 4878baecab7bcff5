"""The order of a turn's candidates, before and after they are run."""

from __future__ import annotations

import math
from typing import NamedTuple

from cgcli.program.program import Candidate


class Rank(NamedTuple):
    """The criteria for a candidate, the most important first. The greatest rank is the best."""

    whole: bool  # not interrupted
    parses: bool  # it is Python, or the program is not
    complete: bool  # not cut off
    ran: bool = False  # without an error; this and the next two are known after running
    held: int = 0  # checks that hold
    votes: int = 0  # candidates that print the same, including itself; 0 if it prints nothing
    logprob: float = -math.inf  # mean, in nats

    @classmethod
    def of(cls, candidate: Candidate, *, parses: bool) -> Rank:
        """The rank before it is run."""
        reason = candidate.finish_reason
        logprob = -math.inf if candidate.mean_logprob is None else candidate.mean_logprob
        return cls(reason != "interrupted", parses, reason not in ("length", "context"), logprob=logprob)

    def with_run(self, ran: bool, held: int, votes: int) -> Rank:
        """The rank after it was run; a candidate that failed has no votes."""
        return self._replace(ran=ran, held=held, votes=votes if ran else 0)
