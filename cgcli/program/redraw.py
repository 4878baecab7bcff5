"""Drawing a turn again as it was drawn: from its facts, and from the candidate that was chosen then.

What was chosen by running programs or by the user is taken from the record.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from cgcli.core.config import CANDIDATES, RULES, Rule
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.languages import language
from cgcli.program.program import RAW, Candidate, Picked, Program, Turn, TurnFacts
from cgcli.program.session import Option, Plan, Reading, Session
from cgcli.program.source import digest
from cgcli.program.truncate import NONE

_DRAW = Rule(int, "an integer from 0 to 2^32 - 1", lambda n: 0 <= n < 1 << 32)


def why_not(program: Program, index: int) -> str | None:
    """Why a turn cannot be drawn again, in words; None if it can."""
    turn = program.turns[index]
    if turn.accepted is None or turn.facts is None or not turn.candidates:
        return "was written by hand"
    if turn.candidates[turn.accepted].finish_reason == "interrupted":
        return "was interrupted"
    text = program.source()[: list(program.spans())[index].code]
    return None if turn.facts.context == digest(text) else "was written after another text"


def check_record(turn: Turn) -> None:
    """Raise UsageError if what the record says of a turn is nothing that the options allow."""
    facts = turn.facts
    assert facts
    for name in ("model", "temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"):
        RULES[name].of_value(getattr(facts, name), name)
    CANDIDATES.of_value(facts.batch, "batch")
    if facts.others is not None:
        RULES["temperature"].of_value(facts.others, "others")
    for one in turn.candidates:
        _DRAW.of_value(one.draw, "draw")
        if one.temperature is not None:
            RULES["temperature"].of_value(one.temperature, "temperature")
    if setup := facts.setup:
        RULES["ctx"].of_value(setup.window, "window")
        for name in ("threads", "gpu_layers", "draft"):
            RULES[name].of_value(getattr(setup, name), name)
        if setup.file:
            RULES["model"].of_value(setup.file, "file")


def generation_of(facts: TurnFacts, program: Program, language_name: str) -> Generation:
    """How a turn was drawn."""
    sampling = Sampling(facts.temperature, facts.top_p, facts.top_k, facts.min_p, facts.seed)
    raw = program.layout == RAW
    rules = NONE if raw else language(language_name).rules
    redraws = 0 if raw else Generation.redraws
    guard = bool(facts.guard)
    return Generation(sampling, facts.max_tokens, rules, facts.stops, facts.batch, redraws, guard, facts.others)


@dataclass(frozen=True)
class Redraw:
    """Draws a turn of a session again; `draw` takes the place of `Session.draw`."""

    session: Session  # its program is the one before the turn
    turn: Turn  # as it was drawn

    def draw(self, reading: Reading) -> Generator[str, None, Turn]:
        """Draw the candidate that was chosen; together with the others, where that may change its text."""
        session, chosen, facts = self.session, self._chosen, self.turn.facts
        assert facts
        generation = generation_of(facts, session.program, session.language)
        exact = facts.setup is not None and facts.setup.exact
        start, keep = self.turn.start, chosen.text[: chosen.kept]
        as_drawn = keep == start and chosen.temperature in (None, facts.others)
        together = facts.batch > 1 and as_drawn and not exact
        if together:
            session.generation, session.prefer = generation, self._prefer
            return (yield from session.draw(reading, chosen.draw - chosen.draw % facts.batch))
        if chosen.temperature is not None:
            sampling = replace(generation.sampling, temperature=chosen.temperature)
            generation = replace(generation, sampling=sampling)
        session.generation = replace(generation, candidates=1, redraws=0, others=None)
        if keep != start:
            reading = session.read(session.plan(self.turn.prompt, keep))
        return (yield from session.draw(reading, chosen.draw))

    @property
    def _chosen(self) -> Candidate:
        assert self.turn.accepted is not None
        return self.turn.candidates[self.turn.accepted]

    def _prefer(self, session: Session, plan: Plan, options: Sequence[Option]) -> tuple[int, Picked]:
        index = next((one.index for one in options if one.candidate.draw == self._chosen.draw), options[0].index)
        return index, self.turn.picked or Picked("probable")
