"""Commands that run the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgcli.core.errors import UsageError
from cgcli.program.languages import parse_python
from cgcli.program.rank import Rank
from cgcli.repl import running
from cgcli.repl.arguments import ARGS, ON_OFF
from cgcli.repl.candidates import cards, program_with
from cgcli.repl.command import command
from cgcli.repl.commands.turns import drawn, take_another
from cgcli.repl.show import tell_turn
from cgcli.repl.state import Repl

if TYPE_CHECKING:
    from cgcli.sandbox.verdict import Verdict


@command(ARGS, forms={"all": "each candidate"})
def run(repl: Repl, arguments: tuple[str, ...]) -> None:
    """run the program

    Runs the program so far in a sandbox, with ARGS as its arguments; /set unsafe on runs it without one. What you type
    meanwhile is its input, which Ctrl-D ends; Ctrl-C stops it. `/run all` runs it with each candidate of the turn that
    was drawn last, and then lets you choose.
    """
    if arguments == ("all",):
        _run_all(repl)
    else:
        running.run_program(repl, arguments)


@command(ON_OFF.optional)
def auto(repl: Repl, word: str | None) -> None:
    """run every turn"""
    if word is not None:
        repl.set("auto", word)
    repl.screen.say(f"run after each turn: {repl.options.shown('auto')}")


def _run_all(repl: Repl) -> None:
    from cgcli.native.interrupt import Interrupt
    from cgcli.sandbox.pick import ordered, summary

    index = drawn(repl)
    turn, before = repl.program.turns[index], repl.program.until(index)
    programs = {
        number: program_with(before, turn, candidate)
        for number, candidate in enumerate(turn.candidates)
        if not candidate.blank
    }
    if not programs:
        raise UsageError(f"turn {index + 1} has no candidates", hint="/run")
    ran: list[tuple[int, Rank, Verdict]] = []
    verdicts: dict[str, Verdict] = {}
    with repl.progress.task("candidates run", len({one.source() for one in programs.values()}), unit="steps") as task:
        for number, program in programs.items():
            text = program.source()
            if text not in verdicts:
                verdicts[text] = running.run(repl, program, ())
                task.advance(1)
            ran.append(
                (number, Rank.of(turn.candidates[number], parses=parse_python(text) is not None), verdicts[text])
            )
            if Interrupt().requested:
                break
    tell_turn(repl, index)
    for card in cards(repl, before, turn):
        repl.screen.say(f"{card.title}: {card.facts}")
    tried = ordered([rank for _, rank, _ in ran], [verdict for _, _, verdict in ran])
    best = ran[tried[0].index][0]
    repl.screen.note(summary(tried) + (f"; /pick {best + 1} takes the best of them" if best != turn.accepted else ""))
    if not repl.script:
        take_another(repl, index, None)
