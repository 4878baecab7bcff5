"""A prompt becomes a turn: what is folded is told, the gauge is shown, the code streams, one of its candidates stands.

Used by a typed prompt and by every command that draws a turn again. Nothing is changed where it fails.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.program.history import Add, Put
from cgcli.program.program import Candidate, Program, Turn, checked_prompt
from cgcli.program.score import clarity
from cgcli.program.source import digest
from cgcli.repl import running
from cgcli.repl.candidates import choose
from cgcli.repl.show import broken_turn
from cgcli.repl.state import Repl

if TYPE_CHECKING:
    from typing import Literal

    from cgcli.program.folding import Fold
    from cgcli.program.session import Plan, Reading

_DIFF_LINES = 20


def ask(repl: Repl, prompt: str) -> None:
    """Draw a new turn. Raises what `draw` does."""
    before = repl.program
    with _again(repl, as_line(prompt)):
        turn = draw(repl, before, prompt)
    repl.do(repl.history.commit(Add(turn)))
    _tell_end(repl, len(before.turns), turn)
    if not _is_part(turn):
        run_if_auto(repl)


def redraw(
    repl: Repl,
    index: int,
    why: Literal["retry", "edit", "from", "replay"],
    *,
    prompt: str | None = None,
    keep: str = "",
) -> None:
    """Draw a turn again, in its place: under other words where `prompt` is given, going on behind `keep` of its code.

    Its candidates stay to be picked where the text before them is the same and they were drawn as this one will be: the
    facts are of all of them. Other draws are made then. A replay asks for no choice and runs nothing: it has turns to
    come. Raises what `draw` does.
    """
    before, old = repl.program.until(index), repl.program.turns[index]
    wanted = old.prompt if prompt is None else prompt
    context = digest(before.source() + before.opening(wanted))
    stay = old.facts and old.facts.context == context and repl.session().draws_like(old.facts)
    earlier = old.candidates if stay else ()
    with _again(repl, f"/edit {index + 1} {wanted}" if why == "edit" else ""):
        turn = draw(repl, before, wanted, keep=keep, earlier=earlier, choosing=why != "replay")
    repl.do(repl.history.commit(Put(index, turn, why)))
    _tell_end(repl, index, turn)
    drawn_now = turn.accepted is not None and turn.accepted >= len(earlier)
    if why == "retry" and drawn_now and turn.completion in {candidate.text for candidate in earlier}:
        repl.screen.note("the same text again: other words, or a higher temperature (/set temperature 0.8)")
    if why != "replay" and not _is_part(turn):
        run_if_auto(repl)


def as_line(prompt: str) -> str:
    """A prompt as it is typed: a `/` that it begins with is doubled."""
    return f"/{prompt}" if prompt.startswith("/") else prompt


@contextmanager
def _again(repl: Repl, line: str) -> Iterator[None]:
    """Where the block fails, the line that asked for it stands in the next prompt, to be typed in other words."""
    try:
        yield
    except BaseException:
        repl.again = line
        raise


def draw(
    repl: Repl,
    before: Program,
    prompt: str | None,
    *,
    keep: str = "",
    earlier: tuple[Candidate, ...] = (),
    choosing: bool = True,
) -> Turn:
    """A turn for `prompt` behind `before`, shown while it is written; its candidates come after `earlier` ones.

    Raises UsageError for a prompt that is no text, ContextError, what loading the model raised, Interrupted where
    nothing was written, CgcliError where nothing usable was.
    """
    from cgcli.program.session import drain  # with the engine, which is not there when the REPL starts

    if prompt is not None:
        prompt = checked_prompt(prompt, "the prompt")
    session = repl.session()
    session.program = before
    plan = session.plan(prompt, keep)
    if plan.fold is not None:
        tell_fold(repl, plan, plan.fold)
    if plan.tokens > session.limit:
        room = f"room for {plan.window - plan.tokens} more, not for {session.generation.max_tokens}"
        repl.screen.note(f"the window of {plan.window} tokens has {room}")
    repl.fold = plan.fold
    repl.reading = session.read(plan)
    repl.asked += plan.tokens
    gauge(repl, repl.reading)
    pieces = session.draw(repl.reading, 1 + max((candidate.draw for candidate in earlier), default=-1))
    shown = repl.options.candidates == 1 and not repl.script
    turn = _streamed(repl, keep, pieces) if shown else drain(pieces)
    if turn.accepted is None:
        if turn.interrupted:
            raise Interrupted("interrupted before anything was written")
        tries = f"{len(turn.candidates)} tries" if len(turn.candidates) > 1 else "one try"
        raise CgcliError(f"nothing came in {tries}", hint="other words, /seed N, or /set temperature 0.6")
    choosing = choosing and not turn.interrupted
    turn = replace(turn, candidates=(*earlier, *turn.candidates), accepted=len(earlier) + turn.accepted)
    if repl.options.candidates > 1:
        if choosing:
            turn = choose(repl, before, turn) or turn
        if not repl.script:
            repl.screen.code(turn.completion)
    return turn


def gauge(repl: Repl, reading: Reading) -> None:
    """How well the model took the prompt, in a line."""
    if reading.perplexity is not None:
        word = clarity(reading.perplexity, repl.choice.card)
        repl.screen.note(f"perplexity {reading.perplexity:.1f}" + (f" · {word}" if word else ""))


def tell_fold(repl: Repl, plan: Plan, fold: Fold) -> None:
    """What the model is not given, before it reads; the difference where that is another than the last time."""
    repl.screen.note(
        f"too long for the window of {plan.window} tokens, the model does not read: {fold.summary}; "
        f"{fold.saved} tokens less, {fold.reread} to read again (/set fold off refuses)"
    )
    if repl.fold is not None and repl.fold.parts == fold.parts:
        return
    lines = fold.diff()
    repl.screen.diff(lines[:_DIFF_LINES])
    if len(lines) > _DIFF_LINES:
        repl.screen.note(f"… {len(lines) - _DIFF_LINES} lines more: /diff fold")


def _streamed(repl: Repl, keep: str, pieces: Generator[str, None, Turn]) -> Turn:
    from cgcli.program.session import drain

    stream = repl.screen.stream()
    try:
        stream.write(keep)
        return drain(pieces, stream.write)
    finally:
        pieces.close()
        stream.close()


def _is_part(turn: Turn) -> bool:
    """Whether Ctrl-C ended what stands."""
    return turn.accepted is not None and turn.candidates[turn.accepted].finish_reason == "interrupted"


def _tell_end(repl: Repl, index: int, turn: Turn) -> None:
    """What is to be known of a turn that was just drawn: why it ends, what became stale."""
    assert turn.accepted is not None  # `draw` raised otherwise
    number = index + 1
    reason = turn.candidates[turn.accepted].finish_reason
    if reason == "interrupted":
        repl.screen.note(f"interrupted, what was written is kept: /undo takes it back, /retry {number} draws again")
    elif reason == "length":
        repl.screen.note(f"cut at {repl.options.settings.max_tokens} tokens: {_go_on(repl, index)} goes on")
    elif reason == "context":
        repl.screen.note("cut where the model's window is full")
    elif broken_turn(repl) == index:
        repl.screen.note(f"does not parse: /retry {number}, or /code {number}")
    tell_stale(repl)


def run_if_auto(repl: Repl) -> None:
    """Run the program where that was asked for after each turn. Raises what `run_program` does."""
    if repl.options.auto:
        running.run_program(repl, ())


def _go_on(repl: Repl, index: int) -> str:
    """The command that continues a turn where it ends."""
    end = list(repl.program.spans())[index].end
    return f"/from {repl.program.source()[:end].count(chr(10)) + 1}"


def tell_stale(repl: Repl) -> None:
    """Which turns were drawn for another text than the one before them now, where that was not said before."""
    stale = repl.program.stale()
    known, repl.stale = repl.stale, stale
    if stale and stale != known:
        numbers = ", ".join(str(index + 1) for index in stale)
        repl.screen.note(f"stale: turn{'s' * (len(stale) > 1)} {numbers} (/replay)")
