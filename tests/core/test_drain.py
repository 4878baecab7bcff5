"""Generators that return something."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from cgcli.core.drain import drain


def count() -> Generator[int, None, str]:
    yield 1
    yield 2
    return "done"


def test_the_pieces_are_written_and_the_result_comes_back() -> None:
    seen: list[int] = []
    assert drain(count(), seen.append) == "done"
    assert seen == [1, 2]
    assert drain(count()) == "done"


def test_a_writer_that_ends_iterations_is_not_taken_for_the_end() -> None:
    def full(_: int) -> None:
        raise StopIteration("not the result")

    with pytest.raises(StopIteration, match="not the result"):
        drain(count(), full)
