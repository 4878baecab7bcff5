"""A program grown in one go: prompts in, its new text out, piece by piece.

Written so that what was there followed by what comes out is the text of the whole program, byte for byte.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from cgcli.program.session import Result, Session


def grow(
    session: Session, prompts: Iterable[str | None], *, head: str = "", comments: bool = True
) -> Generator[str, None, list[Result]]:
    """Add a turn for each prompt and yield the new text; returns the turns' results.

    head: text to come before the first turn's (the part of the prefix that is new). It and a turn's comment are held
    until the model's own text follows, so that a run that fails first leaves nothing behind. comments: yield the
    prompts' comments too. Ends early after Ctrl-C.
    """
    results: list[Result] = []
    for prompt in prompts:
        head += session.program.opening(prompt, comments=comments)
        pieces = session.add(prompt)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as stop:
                result: Result = stop.value
                break
            yield head + piece
            head = ""
        results.append(result)
        if result.accepted is None:
            # The turn is not part of the program: neither is its comment. A head from before it is still due.
            head = head.removesuffix(session.program.opening(prompt, comments=comments))
        else:
            head += session.program.closing(result.turn.completion)
            if head:
                yield head
            head = ""
        if result.interrupted:
            break
    return results
