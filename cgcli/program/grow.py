"""Grows a program: adds a turn for each of several prompts, and yields the new text as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cgcli.program.program import Turn
from cgcli.program.session import Draw, Plan, Preview, Session


def grow(
    session: Session,
    prompts: Iterable[str | None],
    turns: list[Turn],
    *,
    head: str = "",
    comments: bool = True,
    on_plan: Callable[[Plan], None] | None = None,
    draw: Draw | None = None,
    preview: Preview | None = None,
) -> Iterator[str]:
    """Add a turn for each prompt and yield the new text piece by piece; finished turns are appended to `turns`.

    The program's text before, followed by what is yielded, is the program's text after, byte for byte.

    head: text before the first turn's, such as a new prefix. It and a turn's comment are held until the model's own
    text follows, so that a run that fails before yields nothing. comments: yield the prompts' comments, too. on_plan:
    called with each turn's plan before the model reads it. draw: as for `Session.add`. preview: shows what may be
    yielded next. Ends early after Ctrl-C.
    """
    due = [head]  # yielded with the next piece
    if preview:
        session.preview = lambda text: preview(due[0] + text if text else "")
    for prompt in prompts:
        head = due[0]
        due[0] += session.program.opening(prompt, comments=comments) + session.start
        pieces = session.add(prompt, on_plan, draw)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as stop:
                turn: Turn = stop.value
                break
            yield due[0] + piece
            due[0] = head = ""
        turns.append(turn)
        # An empty turn is not part of the program, nor is its comment; a head is still due.
        if turn.accepted is not None and (rest := due[0] + session.program.closing(turn.completion)):
            yield rest
            head = ""
        due[0] = head
        if turn.interrupted:
            break
