"""Prompts and commands from a pipe or a file."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from cgcli.core.errors import CgcliError
from cgcli.repl.plain_terminal import Script
from cgcli.repl.reader import CandidateCard, Status, Suggestion


class View:
    vi = False

    def status(self) -> Status:
        return Status()

    def completions(self, before_cursor: str) -> Iterable[Suggestion]:
        return ()


VIEW = View()


def inputs(data: bytes) -> list[str]:
    script, found = Script(io.BytesIO(data)), []
    while True:
        try:
            found.append(script.read(VIEW, "ignored"))
        except EOFError:
            return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n \n\t\n", []),
        (b"one\n\n/undo\ntwo", ["one", "/undo", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\\\ntwo\\\nthree\nfour\n", ["one\ntwo\nthree", "four"]),
        (b"a path\\\\\nnext\n", ["a path\\\\", "next"]),
        (b"the end\\\n", ["the end"]),
        (b"the end\\", ["the end"]),
        (b"\\\n\\\nlate\n", ["\n\nlate"]),
        (b"caf\xe9\n", ["caf\udce9"]),
        ("日本\n".encode(), ["日本"]),
    ],
)
def test_lines_are_inputs(data: bytes, expected: list[str]) -> None:
    assert inputs(data) == expected


def test_an_input_stands_where_its_first_line_does() -> None:
    script, places = Script(io.BytesIO(b"one\n\n\ntwo\\\nthree\nfour")), []
    for _ in range(3):
        script.read(VIEW)
        places.append(script.where)
    assert places == ["line 1", "line 4", "line 6"]


def test_bytes_that_are_not_utf8_survive() -> None:
    every = bytes(c for c in range(1, 256) if c not in b"\r\n\\")
    assert [text.encode("utf-8", "surrogateescape") for text in inputs(every + b"\n")] == [every]


def test_nobody_is_asked() -> None:
    script = Script(io.BytesIO(b"one\n"))
    with script.watching():
        assert script.drop() == ()
        assert script.reword(VIEW, 1, "words") is None
        assert script.choose([CandidateCard("1", "", "x"), CandidateCard("2", "", "y")]) is None
        with pytest.raises(CgcliError, match="cannot open an editor"):
            script.edit("text", ".py")
