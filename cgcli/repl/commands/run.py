"""Commands that run the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgcli.core.errors import UsageError
from cgcli.program.languages import parse_python
from cgcli.program.rank import Rank
from cgcli.repl import running
from cgcli.repl.command import ARGS, ON_OFF, command
from cgcli.repl.commands.turns import accept_candidate, drawn_index
from cgcli.repl.draw import candidate_cards, program_with
from cgcli.repl.state import Repl
from cgcli.repl.views import name_turn

if TYPE_CHECKING:
    from cgcli.sandbox.verdict import Verdict


@command(ARGS, forms={"all": "run candidates"})
def run(repl: Repl, arguments: tuple[str, ...]) -> None:
    """run the program

    Runs the program in a sandbox, with ARGS as its arguments; `/set unsafe on` turns the sandbox off. What you type
    meanwhile is its input: Ctrl-D ends the input, Ctrl-C stops the program. `/run all` runs the program with each
    candidate of the turn that was drawn last, and then lets you pick one.
    """
    if arguments == ("all",):
        _run_all(repl)
    else:
        running.run_program(repl, arguments)


@command(ON_OFF.optional)
def auto(repl: Repl, word: str | None) -> None:
    """run automatically

    `/auto on` runs the program after each turn.
    """
    if word is not None:
        repl.set("auto", word)
    repl.ui.screen.say(f"run after each turn: {repl.options.as_text('auto')}")


def _run_all(repl: Repl) -> None:
    from cgcli.native.interrupt import Interrupt
    from cgcli.sandbox.pick import rank_runs, summary

    index = drawn_index(repl)
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
    distinct = len({one.source() for one in programs.values()})
    with repl.ui.progress.task("running candidates", distinct, unit="steps") as task:
        for number, program in programs.items():
            text = program.source()
            if text not in verdicts:
                verdicts[text] = running.execute(repl, program, ())
                task.advance(1)
            ran.append(
                (number, Rank.of(turn.candidates[number], parses=parse_python(text) is not None), verdicts[text])
            )
            if Interrupt().requested:
                break
    name_turn(repl, index)
    for card in candidate_cards(repl, before, turn):
        repl.ui.screen.say(f"{card.title}: {card.facts}")
    tried = rank_runs([rank for _, rank, _ in ran], [verdict for _, _, verdict in ran])
    best = ran[tried[0].index][0]
    suggestion = f"; /pick {best + 1} takes the best one" if best != turn.accepted else ""
    repl.ui.screen.note(summary(tried) + suggestion)
    if not repl.ui.script:
        accept_candidate(repl, index, None)
