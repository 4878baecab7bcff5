"""Streams of text, read to their end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from cgcli.program import session

Result = TypeVar("Result")


def drain(pieces: Generator[str, None, Result]) -> tuple[list[str], Result]:
    """The pieces of a stream, and its result."""
    seen: list[str] = []
    result = session.drain(pieces, seen.append)
    return seen, result
