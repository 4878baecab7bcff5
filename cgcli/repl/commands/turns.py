"""Commands that change turns: draw again, pick, reword, edit, delete, move."""

from __future__ import annotations

from cgcli.core.errors import UsageError
from cgcli.program.history import Drop, Move, Put
from cgcli.repl.command import CANDIDATE, COUNT, LINE, PLACE, TEXT, TURN, WORDS, candidate_index, command
from cgcli.repl.commands.inspect import name_turn
from cgcli.repl.draw import as_line, pick_candidate, redraw_turn, report_stale, run_if_auto, with_candidate
from cgcli.repl.reader import is_command
from cgcli.repl.state import Repl
from cgcli.repl.status import StatusBar


def last_index(repl: Repl) -> int:
    """The index of the last turn. Raises UsageError without turns."""
    if not repl.program.turns:
        raise UsageError("the program has no turns yet", hint="type what the program should do first")
    return len(repl.program.turns) - 1


def drawn_index(repl: Repl) -> int:
    """The index of the turn that was drawn last, else of the last turn. Raises UsageError without turns."""
    index = repl.history.drawn
    return last_index(repl) if index is None else index


@command(TURN.optional)
def retry(repl: Repl, index: int | None) -> None:
    """regenerate a turn

    Regenerates the last turn, or turn N, with the next random draws of the same seed. The earlier candidates stay, and
    /pick takes one of them.
    """
    redraw_turn(repl, last_index(repl) if index is None else index, "retry")


@command(COUNT.optional)
def n(repl: Repl, count: int | None) -> None:
    """get K candidates

    Generates K candidates for each prompt, tests them in the sandbox and lets you pick one; `/set pick` says how.
    `/n 1` goes back to a single candidate, which streams while it is written.
    """
    if count is not None:
        repl.set("candidates", str(count))
    others = repl.generation().others
    hotter = f", all but the first at temperature {others:g}" if others else ""
    repl.ui.screen.say(f"candidates per prompt: {repl.options.candidates}{hotter}")


@command(CANDIDATE.optional, TURN.optional)
def pick(repl: Repl, choice: int | None, turn: int | None) -> None:
    """pick a candidate

    Takes candidate I of turn N, or of the turn that was generated last. Without I, shows the candidates to pick from.
    """
    index = drawn_index(repl) if turn is None else turn
    if choice is not None:
        candidate_index(repl, index, choice)
    if choice is None and repl.program.turns[index].candidates:
        name_turn(repl, index)
    accept_candidate(repl, index, choice)


def accept_candidate(repl: Repl, index: int, choice: int | None) -> None:
    """Make a candidate the code of a turn: `choice`, or the one that the user picks. Raises UsageError."""
    turn = repl.program.turns[index]
    number, count = index + 1, len(turn.candidates)
    if not count:
        raise UsageError(f"turn {number} has no candidates", hint=f"/retry {number} generates one")
    if count == 1 and turn.accepted == 0:
        raise UsageError(f"turn {number} has only this candidate", hint=f"/retry {number} generates another")
    picked = pick_candidate(repl, repl.program.until(index), turn) if choice is None else with_candidate(turn, choice)
    if picked is None or picked.accepted is None:
        if turn.accepted is None or repl.ui.script:
            raise UsageError("no candidate picked", hint=f"/pick I takes candidate I, from 1 to {count}")
        repl.ui.screen.note(f"kept candidate {turn.accepted + 1}")
        return
    repl.do(repl.history.commit(Put(index, picked, "pick")))
    repl.ui.screen.note(f"turn {number} now uses candidate {picked.accepted + 1} of {turn.drawn}")
    repl.ui.screen.code(repl.program.turns[index].completion)
    report_stale(repl)


@command(TEXT.optional)
def start(repl: Repl, text: str | None) -> None:
    """begin with TEXT

    Begins the code of the next turn with TEXT, such as `/start def fib(n):`; the model goes on behind it, also when the
    turn is generated again. Without TEXT, takes it back.
    """
    repl.start = text or ""
    then = f"the next turn begins with {text}" if text else "the next turn begins as the model likes"
    repl.ui.screen.say(then)


@command(TURN, WORDS.optional)
def edit(repl: Repl, index: int, words: str | None) -> None:
    """reword a prompt

    Replaces the prompt of turn N with WORDS, or lets you edit it, and regenerates the turn. Later turns stay as they
    are but become stale; /replay regenerates them.
    """
    old = repl.program.turns[index].prompt or ""
    if words is None:
        if repl.ui.script:
            raise UsageError("a script cannot edit a prompt by hand", hint=f"/edit {index + 1} WORDS")
        words = _reworded(repl, index + 1, old)
        if words is None:
            repl.ui.screen.note(f"turn {index + 1} is unchanged")
            return
    redraw_turn(repl, index, "edit", prompt=words)


def _reworded(repl: Repl, turn: int, prompt: str) -> str | None:
    """Let the user edit a prompt; None if they keep it."""
    line, view = as_line(prompt), StatusBar(repl, turn=turn)
    while (words := repl.ui.reader.reword(view, turn, line)) is not None:
        if not is_command(words):
            return words.removeprefix("/")
        repl.ui.screen.error(UsageError("expected a prompt, not a command", hint=f"Ctrl-C keeps turn {turn} as it is"))
    return None


@command(TURN)
def code(repl: Repl, index: int) -> None:
    """edit code by hand

    Opens the code of turn N in your editor. Your version stays until you regenerate the turn; /replay skips it.
    """
    turn = repl.program.turns[index]
    text = repl.ui.reader.edit(turn.completion + repl.program.closing(turn.completion), repl.language.suffixes[0])
    if text.rstrip() == turn.completion.rstrip():
        repl.ui.screen.note(f"turn {index + 1} is unchanged")
        return
    if not text.strip():
        raise UsageError(f"no code left, so turn {index + 1} is unchanged", hint=f"/drop {index + 1} deletes it")
    repl.do(repl.history.commit(Put(index, turn.rewrite(text), "code")))
    report_stale(repl)


@command(TURN)
def drop(repl: Repl, index: int) -> None:
    """delete a turn"""
    repl.do(repl.history.commit(Drop(index)))
    repl.ui.screen.note(f"deleted turn {index + 1}; /undo restores it")
    report_stale(repl)


@command(TURN, PLACE)
def move(repl: Repl, index: int, to: int) -> None:
    """move a turn

    Moves turn N to place M.
    """
    if index == to:
        raise UsageError(f"turn {index + 1} is already there")
    repl.do(repl.history.commit(Move(index, to)))
    repl.ui.screen.note(f"turn {index + 1} is now turn {to + 1}")
    report_stale(repl)


@command(TURN.optional)
def replay(repl: Repl, start: int | None) -> None:
    """redo stale turns

    Regenerates the stale turns, in order; with N, only from turn N on. A turn is stale if the text before it has
    changed since it was generated. Code that you edited by hand stays. Of several candidates, the one that `/set pick`
    finds is taken. Nothing is asked, and the program is not run: `/auto` and `/set until` do not apply.
    """
    drawn = 0
    for index in range(start or 0, len(repl.program.turns)):
        if index in repl.program.stale():
            repl.ui.screen.say(f"turn {index + 1}: {repl.program.turns[index].prompt or ''}", "bold")
            redraw_turn(repl, index, "replay")
            drawn += 1
            if repl.program.turns[index].interrupted:
                return
    if drawn:
        run_if_auto(repl)
    else:
        repl.ui.screen.note("no stale turns")


@command(LINE)
def from_(repl: Repl, line: int) -> None:
    """rewrite from LINE

    Keeps the code of a turn before LINE and generates the rest again; `/show all` numbers the lines. The line after a
    turn continues the turn at its end. Later turns stay as they are but become stale.
    """
    text = repl.program.source()
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]
    if line > len(starts):
        raise UsageError(f"no line {line}: the last is {len(starts)}", hint="/show all")
    at = starts[line - 1]
    for index, span in enumerate(repl.program.spans()):
        if span.begin <= at <= span.end:
            redraw_turn(repl, index, "from", keep=text[span.code : at])
            return
    raise UsageError(f"line {line} is before the first turn", hint="/show all")
