"""The candidates of a turn as cards, and the choice between them."""

from __future__ import annotations

from cgcli.core.errors import UsageError
from cgcli.core.visible import clipped, visible
from cgcli.program.parsing import parsed
from cgcli.program.program import Program, digest
from cgcli.program.turn import Candidate, Turn
from cgcli.repl.reader import Card
from cgcli.repl.state import Repl

_TOLD = 60
"""Columns for what a candidate did when it was run."""


def choose(repl: Repl, before: Program, turn: Turn) -> Turn | None:
    """The turn with the candidate that the user takes; None where nobody is asked, or none is taken."""
    choices = cards(repl, before, turn)
    while (index := repl.reader.choose(choices)) is not None:
        try:
            return take(turn, index)
        except UsageError as error:
            repl.screen.error(error)
    return None


def take(turn: Turn, index: int) -> Turn:
    """The turn with that candidate. Raises UsageError for one without code."""
    if turn.candidates[index].blank:
        raise UsageError(f"candidate {index + 1} is empty", hint="take another one")
    return turn.choose(index)


def cards(repl: Repl, before: Program, turn: Turn) -> list[Card]:
    """What there is to choose from; `*` marks what stands."""
    count = len(turn.candidates)
    return [
        Card(
            f"{index + 1} of {count}{' *' * (index == turn.accepted)}",
            facts(repl, before, turn, index),
            candidate.text,
            index == turn.accepted,
        )
        for index, candidate in enumerate(turn.candidates)
    ]


def facts(repl: Repl, before: Program, turn: Turn, index: int) -> str:
    """What is known of a candidate, in a line: log-probability a token, whether it parses, what it did when run.

    Of one with the same text as an earlier one only that is said.
    """
    candidate = turn.candidates[index]
    same = next(number for number, other in enumerate(turn.candidates) if other.text == candidate.text)
    if candidate.text and same < index:
        return f"the same as {same + 1}"
    known = [] if candidate.mean_logprob is None else [f"log-probability {candidate.mean_logprob:.2f}"]
    if candidate.finish_reason in ("interrupted", "empty"):
        known.append(candidate.finish_reason)
    text = program_with(before, turn, candidate).source()
    if repl.language.name == "python" and candidate.text:
        known.append("parses" if parsed(text) else "does not parse")
    if run := repl.history.runs.get(digest(text)):
        lines = run.output.split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        told = f"prints {said}" if run.passed and said else run.words if run.passed else f"run: {run.words}"
        known.append(clipped(visible(told), _TOLD))
    return ", ".join(known)


def program_with(before: Program, turn: Turn, candidate: Candidate) -> Program:
    """The program up to the turn, with one of its candidates standing."""
    return before.add(turn.rewrite(candidate.text))
