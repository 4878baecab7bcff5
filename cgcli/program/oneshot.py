"""A program grown in one go: prompts in, its new text out, piece by piece.

Written so that what was there followed by what comes out is the text of the whole program, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cgcli.program.session import Plan, Session
from cgcli.program.turn import Turn


def grow(
    session: Session,
    prompts: Iterable[str | None],
    turns: list[Turn],
    *,
    head: str = "",
    comments: bool = True,
    told: Callable[[Plan], None] | None = None,
) -> Iterator[str]:
    """Add a turn for each prompt and yield the new text; each turn is appended to `turns` when it is done.

    head: text to come before the first turn's (the part of the prefix that is new). It and a turn's comment are held
    until the model's own text follows, so that a run that fails first leaves nothing behind. comments: yield the
    prompts' comments too; told: is given each turn's plan before the model reads it. Ends early after Ctrl-C.
    """
    for prompt in prompts:
        opening = session.program.opening(prompt, comments=comments)
        pieces = session.add(prompt, told)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as stop:
                turn: Turn = stop.value
                break
            yield head + opening + piece
            head = opening = ""
        turns.append(turn)
        # A turn that came out empty is not part of the program, and neither is its comment; a head is still due.
        if turn.accepted is not None and (rest := head + opening + session.program.closing(turn.completion)):
            yield rest
            head = ""
        if turn.interrupted:
            break
