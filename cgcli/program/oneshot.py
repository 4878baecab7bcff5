"""A program grown in one go: prompts in, its new text out, piece by piece.

Written so that what was there followed by what comes out is the text of the whole program, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cgcli.program.session import Result, Session


def grow(
    session: Session,
    prompts: Iterable[str | None],
    results: list[Result],
    *,
    head: str = "",
    comments: bool = True,
) -> Iterator[str]:
    """Add a turn for each prompt and yield the new text; each turn's result is appended to `results` when it is done.

    head: text to come before the first turn's (the part of the prefix that is new). It and a turn's comment are held
    until the model's own text follows, so that a run that fails first leaves nothing behind. comments: yield the
    prompts' comments too. Ends early after Ctrl-C.
    """
    for prompt in prompts:
        opening = session.program.opening(prompt, comments=comments)
        pieces = session.add(prompt)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as stop:
                result: Result = stop.value
                break
            yield head + opening + piece
            head = opening = ""
        results.append(result)
        # A turn that came out empty is not part of the program, and neither is its comment; a head is still due.
        if result.accepted is not None and (rest := head + opening + session.program.closing(result.turn.completion)):
            yield rest
            head = ""
        if result.interrupted:
            break
