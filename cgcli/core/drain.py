"""A generator that yields pieces and returns something, run to its end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def drain(pieces: Generator[Piece, None, Result], write: Callable[[Piece], object] = lambda _: None) -> Result:
    """What `pieces` returns; each piece on the way is given to `write`. Raises what either does."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        write(piece)
