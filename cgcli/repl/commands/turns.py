"""Commands that change turns: drawn again, chosen, reworded, rewritten, dropped, moved."""

from __future__ import annotations

from cgcli.core.errors import UsageError
from cgcli.program.history import Drop, Move, Put
from cgcli.repl import asking
from cgcli.repl.arguments import CANDIDATE, COUNT, LINE, PLACE, TURN, WORDS
from cgcli.repl.candidates import choose, take
from cgcli.repl.command import command
from cgcli.repl.reader import is_command
from cgcli.repl.show import tell_turn
from cgcli.repl.state import Repl


def last(repl: Repl) -> int:
    """The index of the last turn. Raises UsageError where there is none."""
    if not repl.program.turns:
        raise UsageError("there is no turn yet", hint="type what the program should do first")
    return len(repl.program.turns) - 1


def drawn(repl: Repl) -> int:
    """The index of the turn that was drawn last; of the last one where none was. Raises UsageError without turns."""
    index = repl.history.drawn
    return last(repl) if index is None else index


@command(TURN.optional)
def retry(repl: Repl, index: int | None) -> None:
    """draw it again

    Draws the last turn, or turn N, once more, with the next draws under the same seed. The earlier candidates stay:
    /pick takes one of them.
    """
    asking.redraw(repl, last(repl) if index is None else index, "retry")


@command(COUNT.optional)
def n(repl: Repl, count: int | None) -> None:
    """candidates

    From the next prompt on K candidates are drawn together, and you choose one; the most probable stands where you do
    not. /n 1 goes back to one, which you see while it is written.
    """
    if count is not None:
        repl.set("candidates", str(count))
    repl.screen.say(f"candidates for a prompt: {repl.options.candidates}")


@command(CANDIDATE.optional)
def pick(repl: Repl, choice: int | None) -> None:
    """another candidate

    Takes candidate I of the turn that was drawn last; without I they are shown to choose from.
    """
    index = drawn(repl)
    if choice is None and repl.program.turns[index].candidates:
        tell_turn(repl, index)
    take_another(repl, index, choice)


def take_another(repl: Repl, index: int, choice: int | None) -> None:
    """Another candidate of a turn stands: that one, or the one that the user chooses. Raises UsageError."""
    turn = repl.program.turns[index]
    number, count = index + 1, len(turn.candidates)
    if not count:
        raise UsageError(f"turn {number} has no candidates", hint=f"/retry {number}")
    taken = choose(repl, repl.program.until(index), turn) if choice is None else take(turn, choice)
    if taken is None or taken.accepted is None:
        raise UsageError("none was taken", hint=f"/pick I, from 1 to {count}")
    repl.do(repl.history.commit(Put(index, taken, "pick")))
    repl.screen.note(f"turn {number} is candidate {taken.accepted + 1} of {count} now")
    repl.screen.code(repl.program.turns[index].completion)
    asking.tell_stale(repl)


@command(TURN, WORDS.optional)
def edit(repl: Repl, index: int, words: str | None) -> None:
    """change a prompt

    Changes the prompt of turn N, to WORDS or to what you make of it in the line, and draws the turn again. Turns after
    it stay as they are, marked stale: /replay draws them again.
    """
    old = repl.program.turns[index].prompt or ""
    if words is None:
        if repl.script:
            raise UsageError(f"a script says the new words: /edit {index + 1} WORDS", hint="/help edit")
        words = _reworded(repl, index + 1, old)
        if words is None:
            repl.screen.note(f"turn {index + 1} is left as it was")
            return
    asking.redraw(repl, index, "edit", prompt=words)


def _reworded(repl: Repl, turn: int, prompt: str) -> str | None:
    """The words that the user makes of a prompt; None where they want none."""
    line = asking.as_line(prompt)
    repl.turn = turn
    try:
        while (words := repl.reader.reword(turn, line)) is not None:
            if not is_command(words):
                return words.removeprefix("/")
            repl.screen.error(UsageError(f"a prompt, not a command: Ctrl-C leaves turn {turn} as it is"))
    finally:
        repl.turn = None
    return None


@command(TURN)
def code(repl: Repl, index: int) -> None:
    """edit it by hand

    Opens the code of turn N in your editor. What you write stands until you draw the turn again; /replay leaves it.
    """
    turn = repl.program.turns[index]
    text = repl.reader.edit(turn.completion + repl.program.closing(turn.completion), repl.language.suffixes[0])
    if text.rstrip() == turn.completion.rstrip():
        repl.screen.note(f"turn {index + 1} is left as it was")
        return
    if not text.strip():
        raise UsageError("nothing is left of the code, so nothing is changed", hint=f"/drop {index + 1}")
    repl.do(repl.history.commit(Put(index, turn.rewrite(text), "code")))
    asking.tell_stale(repl)


@command(TURN)
def drop(repl: Repl, index: int) -> None:
    """take a turn out"""
    repl.do(repl.history.commit(Drop(index)))
    repl.screen.note(f"turn {index + 1} is out, /undo puts it back")
    asking.tell_stale(repl)


@command(TURN, PLACE)
def move(repl: Repl, index: int, to: int) -> None:
    """put turn N at M"""
    if index == to:
        raise UsageError(f"turn {index + 1} is there already")
    repl.do(repl.history.commit(Move(index, to)))
    repl.screen.note(f"turn {index + 1} is turn {to + 1} now")
    asking.tell_stale(repl)


@command(TURN.optional)
def replay(repl: Repl, start: int | None) -> None:
    """draw stale turns

    Draws again, in their order, the turns that were written for another text than the one before them now; with N,
    only those from turn N on. What you wrote by hand stays. Where several candidates are drawn, the most probable one
    stands.
    """
    drawn = 0
    for index in range(start or 0, len(repl.program.turns)):
        if index in repl.program.stale():
            repl.screen.say(f"turn {index + 1}: {repl.program.turns[index].prompt or ''}", "bold")
            asking.redraw(repl, index, "replay")
            drawn += 1
            if repl.program.turns[index].interrupted:
                return
    if drawn:
        asking.run_if_auto(repl)
    else:
        repl.screen.note("no turn is stale")


@command(LINE)
def from_(repl: Repl, line: int) -> None:
    """go on from a line

    Keeps what stands before LINE in the turn that it lies in, and draws the rest of that turn again; /show all numbers
    the lines. The line behind a turn's last one continues that turn where it ends. Later turns stay, marked stale.
    """
    text = repl.program.source()
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]
    if line > len(starts):
        raise UsageError(f"no line {line}, the last is {len(starts)}", hint="/show all")
    at = starts[line - 1]
    for index, span in enumerate(repl.program.spans()):
        if span.begin <= at <= span.end:
            asking.redraw(repl, index, "from", keep=text[span.code : at])
            return
    raise UsageError(f"line {line} lies before the first turn", hint="/show all")
