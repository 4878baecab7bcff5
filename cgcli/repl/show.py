"""What `/show` shows: the turns in a table, and one of them with all that is known of it."""

from __future__ import annotations

from pathlib import Path

from cgcli.core.units import plural
from cgcli.program import languages
from cgcli.program.program import Program, Turn
from cgcli.repl.candidates import facts, same_as
from cgcli.repl.state import Repl
from cgcli.terminal.text import clipped, columns


def greeting(repl: Repl) -> None:
    """What there is at the start: the model, the seed, and a program that goes on."""
    quant = f" {repl.choice.quant}" if repl.choice.quant else ""
    repl.screen.note(f"{repl.choice.name}{quant}, seed {repl.options.shown('seed')}")
    program = repl.program
    if program.turns or repl.known_file:
        name = Path(repl.known_file.path).name if repl.known_file else repl.journal.id
        new = repl.known_file is not None and not Path(repl.known_file.path).exists()
        repl.screen.note(f"{name}: {'a new file' if new else size(program)}")
    if repl.journal.note:
        repl.screen.note(repl.journal.note)


def size(program: Program) -> str:
    """How long a program is, in words."""
    return f"{plural(len(program.turns), 'turn')}, {plural(len(program.source().splitlines()), 'line')}"


def turns(repl: Repl) -> None:
    """A line a turn: its number, the lines of its code, its prompt, and what is remarkable about it."""
    program = repl.program
    if not program.turns:
        repl.screen.note("no turn yet: type what the program should do first")
        return
    stale, broken = program.stale(), broken_turn(repl)
    for index, turn in enumerate(program.turns):
        marks = ", ".join(_marks(turn, index in stale, index == broken))
        head = f"{index + 1:>3}  {plural(turn.completion.count(chr(10)) + 1, 'line'):>9}  "
        room = repl.screen.width - columns(head) - columns(marks) - 3
        prompt = clipped(" ".join((turn.prompt or "").split()), max(room, 10))
        repl.screen.say(f"{head}{prompt}{'  ' + marks if marks else ''}")
    if run := repl.history.run_of(program):
        repl.screen.note(f"last run: {run.words}, {run.seconds:.2f} s")


def turn(repl: Repl, index: int) -> None:
    """A turn's code, its candidates and facts."""
    one = repl.program.turns[index]
    marks = _marks(one, index in repl.program.stale(), index == broken_turn(repl))
    repl.screen.say(f"turn {index + 1}" + "".join(f", {mark}" for mark in marks), "bold")
    first = repl.program.source()[: list(repl.program.spans())[index].code].count("\n") + 1
    asked = "" if one.prompt is None else repl.program.comment(one.prompt)
    repl.screen.code(asked + one.completion, first=first - asked.count("\n"))
    before = repl.program.until(index)
    for number in range(len(one.candidates)):
        mark = "*" if number == one.accepted else " "
        same = same_as(one, number)
        known = facts(repl, before, one, number) if same is None else f"the same as {same + 1}"
        repl.screen.say(f"{mark} candidate {number + 1}: {known}")
    if how := one.facts:
        perplexity = "" if how.prompt_perplexity is None else f", perplexity {how.prompt_perplexity:.1f}"
        folded = f", {how.folded} tokens of the program folded" if how.folded else ""
        repl.screen.note(f"prompt of {how.prompt_tokens} tokens{perplexity}{folded}")
        repl.screen.note(
            f"{how.model} {how.quant}, seed {how.seed}, temperature {how.temperature:g}, top_p {how.top_p:g}, "
            f"{how.seconds:.1f} s"
        )


def tell_turn(repl: Repl, index: int) -> None:
    """Which turn is meant: its number, and the first line of its prompt."""
    repl.screen.note(f"turn {index + 1}, {(repl.program.turns[index].prompt or '').partition(chr(10))[0]}")


def broken_turn(repl: Repl) -> int | None:
    """The first turn with which a Python program no longer parses."""
    return languages.broken_turn(repl.program) if repl.language.name == "python" else None


def _marks(turn: Turn, stale: bool, broken: bool) -> list[str]:
    marks = [word for word, holds in (("stale", stale), ("by hand", turn.by_hand)) if holds]
    if turn.accepted is not None:
        reason = turn.candidates[turn.accepted].finish_reason
        marks += {"interrupted": ["interrupted"], "length": ["cut"], "context": ["cut"]}.get(reason, [])
    if broken:
        marks.append("does not parse")
    if len(turn.candidates) > 1:
        stands = "" if turn.accepted is None else f"{turn.accepted + 1} of "
        marks.append(f"{stands}{len(turn.candidates)} candidates")
    return marks
