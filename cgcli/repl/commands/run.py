"""Commands that run the program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.program.rank import Rank
from cgcli.repl import running
from cgcli.repl.command import ARGS, ON_OFF, command
from cgcli.repl.commands.inspect import name_turn
from cgcli.repl.commands.turns import accept_candidate, drawn_index
from cgcli.repl.draw import candidate_cards, program_with
from cgcli.repl.state import Repl

if TYPE_CHECKING:
    from cgcli.program.program import Program, Turn
    from cgcli.sandbox.verdict import Verdict

_READS_ARGUMENTS = re.compile(r"\b(?:argv|argparse|optparse|getopt|fileinput|click|typer|fire|docopt)\b")
"""What a program that reads its arguments contains."""


@command(ARGS, forms={"all": "run candidates"})
def run(repl: Repl, arguments: tuple[str, ...]) -> None:
    """run the program

    Runs the program in a sandbox, with ARGS as its arguments; `/set unsafe on` turns the sandbox off. What you type
    meanwhile is its input: Ctrl-D ends the input, Ctrl-C stops the program. `/run all` runs the program with each
    candidate of the turn that was generated last, and then lets you pick one.
    """
    if arguments == ("all",):
        _run_all(repl)
    else:
        _check_arguments(repl, arguments)
        running.run_program(repl, arguments)


@command(ON_OFF.optional)
def auto(repl: Repl, word: str | None) -> None:
    """run automatically

    `/auto on` runs the program after each turn, `/auto off` only with /run. Without a word, shows which.
    """
    if word is not None:
        repl.set("auto", word)
    after = repl.options.auto
    repl.ui.screen.say("the program runs after each turn" if after else "the program runs only with /run")


def _check_arguments(repl: Repl, arguments: tuple[str, ...]) -> None:
    """Raise UsageError for a misspelt `all`; note arguments that the program does not read."""
    if not arguments or _READS_ARGUMENTS.search(repl.program.source()):
        return
    if len(arguments) == 1 and nearest(arguments[0].lower(), ["all"]):
        raise UsageError(f"the program reads no arguments, such as {arguments[0]}", hint="did you mean /run all?")
    repl.ui.screen.note(f"the program does not read its arguments: {' '.join(arguments)}")


def _run_all(repl: Repl) -> None:
    from cgcli.native.interrupt import Interrupt
    from cgcli.sandbox.pick import output_votes, summary

    index = drawn_index(repl)
    turn, before = repl.program.turns[index], repl.program.until(index)
    programs = {
        number: program_with(before, turn, candidate)
        for number, candidate in enumerate(turn.candidates)
        if not candidate.blank
    }
    if not programs:
        raise UsageError(f"turn {index + 1} has no candidates", hint="/run")
    verdicts: dict[int, Verdict] = {}
    known: dict[str, Verdict] = {}
    distinct = len({one.source() for one in programs.values()})
    with repl.ui.progress.task("running candidates", distinct, unit="steps") as task:
        for number, program in programs.items():
            text = program.source()
            if text not in known:
                known[text] = running.execute(repl, program, ())
                task.advance(1)
            verdicts[number] = known[text]
            if Interrupt().requested:
                break
    name_turn(repl, index)
    for card in candidate_cards(repl, before, turn):
        repl.ui.screen.say(f"{card.title}: {card.facts}")
    votes = dict(zip(verdicts, output_votes(list(verdicts.values())), strict=True))
    if turn.picked and turn.picked.function:  # tell more than what is printed
        votes |= {number: len(group.candidates) for group in turn.picked.groups for number in group.candidates}
    ranks = {
        number: _rank(repl, before, turn, number).with_run(one.ran, 0, votes[number])
        for number, one in verdicts.items()
    }
    best = max(ranks, key=lambda number: ranks[number])
    suggestion = f"; /pick {best + 1} takes the best one" if best != turn.accepted else ""
    repl.ui.screen.note(summary(list(verdicts.values())) + suggestion)
    if not repl.ui.script:
        accept_candidate(repl, index, None)


def _rank(repl: Repl, before: Program, turn: Turn, number: int) -> Rank:
    """The rank of a candidate; of equal ones, the accepted one stays."""
    rank = Rank.of(turn.candidates[number], before, turn.prompt, language=repl.language.name)
    return rank._replace(review=float(number == turn.accepted))
