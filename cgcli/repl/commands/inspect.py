"""Commands that only show something, what they show, and `/quit`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Literal

from cgcli.core.errors import UsageError
from cgcli.program.program import Program, Turn
from cgcli.program.source import digest
from cgcli.repl.command import COMMANDS, NAME, SHOWN, ReplCommand, command
from cgcli.repl.draw import candidate_facts, same_as
from cgcli.repl.state import Repl
from cgcli.terminal.text import clipped, columns, plural

_CELL = 40  # columns; two of them fit into the narrowest terminal that counts
_USAGE = 21
_READABLE = 90


@command(NAME.optional)
def help_(repl: Repl, wanted: ReplCommand | None) -> None:
    """show help

    Lists the commands, or explains one.
    """
    screen = repl.ui.screen
    if wanted is not None:
        screen.say(wanted.usage, "bold")
        text = wanted.help.partition("\n")[2].strip() or wanted.summary
        screen.say("\n".join(textwrap.wrap(text, min(screen.width, _READABLE))))
        return
    cells = [f"{usage:<{_USAGE}} {summary}" for one in COMMANDS.values() for usage, summary in one.lines]
    half = -(-len(cells) // 2)
    for left, right in zip(cells[:half], [*cells[half:], ""], strict=False):
        screen.say(f"{left:<{_CELL}}{right}".rstrip())
    screen.note("!ls runs ls; anything else is a prompt (//x is /x). Ctrl-C stops, Ctrl-D quits.")


@command(SHOWN.optional, forms={"vars": "show variables"})
def show(repl: Repl, what: int | Literal["all", "vars"] | None) -> None:
    """list turns

    Lists the turns. With N, shows turn N, its candidates and how it was generated. `/show all` shows the program with
    line numbers, `/show vars` the variables that the program had at the end of the last /run.
    """
    if what == "all":
        repl.ui.screen.code(repl.program.source(), first=1)
    elif what == "vars":
        show_variables(repl)
    elif what is None:
        show_turns(repl)
    else:
        show_turn(repl, what)


@command()
def quit_(repl: Repl) -> None:
    """leave the REPL

    Leaves the REPL. The session is kept: `cgcli repl --resume` continues it, and /save writes the program to a file.
    """
    repl.ended = True


def show_greeting(repl: Repl) -> None:
    """The model, the seed, and the program that is continued."""
    screen = repl.ui.screen
    quant = f" {repl.choice.quant}" if repl.choice.quant else ""
    screen.note(f"{repl.choice.name}{quant}, seed {repl.options.as_text('seed')}")
    program = repl.program
    if program.turns or repl.known_file:
        name = Path(repl.known_file.path).name if repl.known_file else repl.journal.id
        new = repl.known_file is not None and not Path(repl.known_file.path).exists()
        screen.note(f"{name}: {'new file' if new else program_size(program)}")
    if repl.journal.note:
        screen.note(repl.journal.note)


def program_size(program: Program) -> str:
    """`2 turns, 7 lines`."""
    return f"{plural(len(program.turns), 'turn')}, {plural(len(program.source().splitlines()), 'line')}"


def show_turns(repl: Repl) -> None:
    """A line for each turn: its number, lines of code, prompt and marks."""
    program, screen = repl.program, repl.ui.screen
    if not program.turns:
        screen.note("no turns yet: type what the program should do first")
        return
    stale, broken = program.stale(), repl.broken_turn
    for index, turn in enumerate(program.turns):
        marks = ", ".join(_marks(turn, index in stale, index == broken))
        head = f"{index + 1:>3}  {plural(turn.completion.count(chr(10)) + 1, 'line'):>9}  "
        room = screen.width - columns(head) - columns(marks) - 3
        prompt = clipped(" ".join((turn.prompt or "").split()), max(room, 10))
        screen.say(f"{head}{prompt}{'  ' + marks if marks else ''}")
    if run := repl.history.run_of(program):
        screen.note(f"last run: {run.words}, {run.seconds:.2f} s")


def show_turn(repl: Repl, index: int) -> None:
    """The code of a turn, its candidates and its facts."""
    turn, screen = repl.program.turns[index], repl.ui.screen
    marks = _marks(turn, index in repl.program.stale(), index == repl.broken_turn)
    screen.say(f"turn {index + 1}" + "".join(f", {mark}" for mark in marks), "bold")
    first = repl.program.code_line(index)
    comment = "" if turn.prompt is None else repl.program.comment(turn.prompt)
    screen.code(comment + turn.completion, first=first - comment.count("\n"))
    before = repl.program.until(index)
    for number in range(len(turn.candidates)):
        mark = "*" if number == turn.accepted else " "
        same = same_as(turn, number)
        facts = candidate_facts(repl, before, turn, number) if same is None else f"same as {same + 1}"
        at = turn.candidates[number].temperature
        screen.say(f"{mark} candidate {number + 1}: {facts}{f', temperature {at:g}' if at is not None else ''}")
        if guard := turn.candidates[number].guard:
            for note in guard.notes(first):
                screen.note(f"  {note}")
    if how := turn.facts:
        perplexity = "" if how.prompt_perplexity is None else f", perplexity {how.prompt_perplexity:.1f}"
        folded = f", {plural(how.folded, 'token')} of the program skipped" if how.folded else ""
        screen.note(f"prompt: {plural(how.prompt_tokens, 'token')}{perplexity}{folded}")
        screen.note(
            f"{how.model} {how.quant}, seed {how.seed}, temperature {how.temperature:g}, top_p {how.top_p:g}, "
            f"{how.seconds:.1f} s"
        )


def show_variables(repl: Repl) -> None:
    """A line for each variable of the last run. Raises UsageError if nothing has run."""
    screen = repl.ui.screen
    if repl.variables is None:
        raise UsageError("no variables: the program has not run in this session", hint="/run")
    ran, found = repl.variables
    if not found:
        screen.note("the last run left no variables")
    wide, wider = (max((len(getattr(one, field)) for one in found), default=0) for field in ("name", "kind"))
    for one in found:
        screen.say(clipped(f"{one.name:<{wide}}  {one.kind:<{wider}}  {one.value}", screen.width))
    if ran != digest(repl.program.source()):
        screen.note("the program has changed since")


def name_turn(repl: Repl, index: int) -> None:
    """Say which turn a command is about: its number, and the first line of its prompt."""
    repl.ui.screen.note(f"turn {index + 1}, {(repl.program.turns[index].prompt or '').partition(chr(10))[0]}")


def _marks(turn: Turn, stale: bool, broken: bool) -> list[str]:
    marks = [word for word, holds in (("stale", stale), ("edited by hand", turn.by_hand)) if holds]
    if turn.accepted is not None:
        reason = turn.candidates[turn.accepted].finish_reason
        marks += {"interrupted": ["interrupted"], "length": ["cut off"], "context": ["cut off"]}.get(reason, [])
    if broken:
        marks.append("does not parse")
    if turn.usable > 1:
        accepted = "" if turn.accepted is None else f"{turn.accepted + 1} of "
        marks.append(f"{accepted}{turn.drawn} candidates")
    return marks
