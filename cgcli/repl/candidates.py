"""The candidates of a turn as cards, and the choice between them."""

from __future__ import annotations

from cgcli.core.errors import UsageError
from cgcli.program.languages import parse_python
from cgcli.program.program import Candidate, Program, Turn
from cgcli.program.source import digest
from cgcli.repl.reader import Card
from cgcli.repl.state import Repl
from cgcli.terminal.text import clipped, columns, visible

_TOLD = 100
"""Columns for what a candidate did when it was run: three rows of the narrowest card hold them."""
_TOLD_END = 30
"""Columns of its end, where an error tells its line."""


def choose(repl: Repl, before: Program, turn: Turn) -> Turn | None:
    """The turn with the candidate that the user takes; None where nobody is asked, or none is taken."""
    choices = cards(repl, before, turn)
    while (index := repl.reader.choose(choices)) is not None:
        try:
            return take(turn, choices[index].number - 1)
        except UsageError as error:
            repl.screen.error(error)
    return None


def take(turn: Turn, index: int) -> Turn:
    """The turn with that candidate. Raises UsageError for one without code."""
    if turn.candidates[index].blank:
        raise UsageError(f"candidate {index + 1} is empty", hint="take another one")
    return turn.choose(index)


def cards(repl: Repl, before: Program, turn: Turn) -> list[Card]:
    """What there is to choose from, each text once, by the number of the first candidate that has it; `*` marks what
    stands, by its own number."""
    alike: dict[str, list[int]] = {}
    for index, candidate in enumerate(turn.candidates):
        alike.setdefault(candidate.text, []).append(index)
    found = []
    for indices in alike.values():
        stands = turn.accepted in indices
        index = turn.accepted if stands and turn.accepted is not None else indices[0]
        title = f"{index + 1} of {len(turn.candidates)}"
        title += f", drawn {'twice' if len(indices) == 2 else f'{len(indices)} times'}" * (len(indices) > 1)
        text = turn.candidates[index].text
        found.append(Card(title + " *" * stands, facts(repl, before, turn, index), text, stands, index + 1))
    return found


def same_as(turn: Turn, index: int) -> int | None:
    """The index of an earlier candidate with the same text; None where there is none, or no text."""
    text = turn.candidates[index].text
    first = next(number for number, other in enumerate(turn.candidates) if other.text == text)
    return first if text and first < index else None


def facts(repl: Repl, before: Program, turn: Turn, index: int) -> str:
    """What is known of a candidate, in a line: what it did when run, log-probability a token, whether it parses."""
    candidate = turn.candidates[index]
    text = program_with(before, turn, candidate).source()
    known = []
    if run := repl.history.runs.get(digest(text)):
        lines = run.output.split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        told = f"prints {said}" if run.passed and said else run.words if run.passed else f"run: {run.words}"
        known.append(_shortened(visible(told)))
    if candidate.mean_logprob is not None:
        known.append(f"log-probability {candidate.mean_logprob:.2f}")
    if candidate.finish_reason in ("interrupted", "empty"):
        known.append(candidate.finish_reason)
    if repl.language.name == "python" and candidate.text:
        known.append("parses" if parse_python(text) else "does not parse")
    return ", ".join(known)


def _shortened(told: str) -> str:
    """Without its middle, where it is too long: an error begins with its kind and ends with its line."""
    if columns(told) <= _TOLD:
        return told
    end = len(told)
    while columns(told[end - 1 :]) <= _TOLD_END:
        end -= 1
    return clipped(told, _TOLD - _TOLD_END) + told[end:]


def program_with(before: Program, turn: Turn, candidate: Candidate) -> Program:
    """The program up to the turn, with one of its candidates standing."""
    return before.add(turn.rewrite(candidate.text))
