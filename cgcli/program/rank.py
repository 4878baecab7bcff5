"""The order of a turn's candidates, before and after they are tested."""

from __future__ import annotations

import math
from typing import NamedTuple

from cgcli.program.faults import asks_for_stub, visible_fault
from cgcli.program.languages import parse_python
from cgcli.program.program import Candidate, Program


class Rank(NamedTuple):
    """The criteria for a candidate, the most important first. The greatest rank is the best."""

    whole: bool  # not interrupted
    sound: bool  # without a visible fault (faults.py), or in a language in which none is known
    parses: bool  # it is Python, or the program is not
    complete: bool  # not cut off
    ran: bool = False  # without an error; this and the next two are known after running
    held: int = 0  # checks that hold
    votes: int = 0  # candidates that return or print the same, including itself; 0 if it returns or prints nothing
    review: float = -math.inf  # log p(prompt | code), in nats; known after a review
    logprob: float = -math.inf  # of the whole completion, in nats

    @classmethod
    def of(cls, candidate: Candidate, before: Program, prompt: str | None, *, language: str) -> Rank:
        """The rank of a candidate for `prompt` behind the program `before`, before it is tested."""
        reason = candidate.finish_reason
        parses = sound = True
        if language == "python":
            text = before.source() + before.opening(prompt)
            parses = parse_python(text + candidate.text) is not None
            if before.layout.tidy:
                sound = visible_fault(text, candidate.text, stub=asks_for_stub(prompt)) is None
        logprob = -math.inf if candidate.logprob is None else candidate.logprob
        return cls(reason != "interrupted", sound, parses, reason not in ("length", "context"), logprob=logprob)

    def with_run(self, ran: bool, held: int, votes: int) -> Rank:
        """The rank after it was run or tested; a candidate that failed has no votes."""
        return self._replace(ran=ran, held=held, votes=votes if ran else 0)

    @property
    def level(self) -> Rank:
        """The rank without the log-probability, which always tells candidates apart."""
        return self._replace(logprob=0.0)
