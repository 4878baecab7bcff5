"""What can be left out of a text: by example, and over generated programs.

`meaning` is the program that is left, as Python reads it.
"""

from __future__ import annotations

import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.program.folding import Foldable, foldable, without
from tests.program.sources import PIECES, meaning, signatures


def of(text: str, language: str = "python", mark: str = "#", *, first: bool = True, open_end: bool = False) -> Foldable:
    return foldable(text, language, mark, first=first, open_end=open_end)


def all_out(text: str, found: Foldable) -> str:
    return without(text, [*found.comments, *(body.cut for body in found.bodies)])


def left(text: str, *, first: bool = True, open_end: bool = False) -> str:
    return all_out(text, of(text, first=first, open_end=open_end))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1  # one\n# two\ny = '# no'\n", "x = 1\ny = '# no'\n"),
        ("def f(a, b=(1,\n  2)):\n    # c\n    return a\n", "def f(a, b=(1,\n  2)):\n    ...\n"),
        ('def f():\n    """Says."""\n    x = 1\n    return x\n', 'def f():\n    """Says."""\n    ...\n'),
        ('def f():\n    """Says."""\n', 'def f():\n    """Says."""\n'),
        ("def f(): return 1; pass\n", "def f(): ...\n"),
        ("async def f():\n\tawait g()\n\treturn 1;\n", "async def f():\n\t...;\n"),
        ("@a(1)\n@b\ndef f():\n    @c\n    def g(): return 1\n    return g\n", "@a(1)\n@b\ndef f():\n    ...\n"),
        ("class A:\n    x = 1\n    class B:\n        def f(self):\n            return 2\n",
         "class A:\n    x = 1\n    class B:\n        def f(self):\n            ...\n"),
        ("try:\n    def f():\n        return 1\nexcept E:\n    def f():\n        return 2\n",
         "try:\n    def f():\n        ...\nexcept E:\n    def f():\n        ...\n"),
        ("def f():\r\n    x = 'é'  # c\r\n    return x\r\n\r\ny = 1  # d\r\n", "def f():\r\n    ...\r\n\r\ny = 1\r\n"),
        ("def f(): ...\ndef g(): pass\n", "def f(): ...\ndef g(): ...\n"),
        ("f = lambda x: x  # c", "f = lambda x: x"),
        ("x = 1\n    # deep", "x = 1\n"),
        ("s = '\udcff'  # \udcfe\n", "s = '\udcff'\n"),
        ("\ufeffx = 1  # c\n", "\ufeffx = 1\n"),
        ("é = 'ü'; s = 'ö'  # c\ndef ä(): ß = 'é'; return ß\n", "é = 'ü'; s = 'ö'\ndef ä(): ...\n"),
    ],
)  # fmt: skip
def test_comments_and_bodies_go_and_all_else_stays(text: str, expected: str) -> None:
    assert left(text) == expected


@pytest.mark.parametrize("text", ["def f(:\n    return  # c\n", "x = 1\r# c\r", "x = '\0'  # c\n", "(" * 5000 + "# c"])
def test_what_does_not_parse_is_left_as_it_is(text: str) -> None:
    assert of(text) == Foldable()


def test_interpreter_and_coding_lines_stay_where_a_program_begins() -> None:
    head = "#!/usr/bin/env python3\n# -*- coding: latin-1 -*-\n"
    assert left(head + "# c\n# coding: no\nx = 1\n") == head + "x = 1\n"
    assert left(head + "x = 1\n", first=False) == "x = 1\n"
    assert all_out("#!/bin/sh\n# c\nls\n", of("#!/bin/sh\n# c\nls\n", "shell")) == "#!/bin/sh\nls\n"


def test_what_is_to_be_continued_stays() -> None:
    text = "# a\ndef f():\n    return 1\n# b\n@c\ndef g():\n    return 2\n# plot it\n"
    assert left(text, open_end=True) == "def f():\n    ...\n@c\ndef g():\n    return 2\n# plot it\n"
    assert left("# plot it\n", open_end=True) == "# plot it\n"
    code = "// a\nint x; // b\n// c\n"
    assert all_out(code, of(code, "c", "//", open_end=True)) == "int x; // b\n// c\n"


def test_of_another_language_only_comment_lines_are_known() -> None:
    code = "-- a\nselect 1 -- b\n  -- c\n"
    assert all_out(code, of(code, "sql", "--")) == "select 1 -- b\n"


def test_bodies_are_named_and_counted() -> None:
    found = of("class A:\n    def f(self):\n        x = 1\n        return x\n\ndef g(): return 1\n")
    assert [(body.name, body.lines) for body in found.bodies] == [("A.f", 2), ("g", 1)]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_left_of_a_program_means_the_same_but_for_the_bodies(pieces: list[str], end: str, tail: bool) -> None:
    text = "".join(pieces).replace("\n", end)
    text = text.removesuffix(end) if tail else text
    found = of(text, first=False)
    try:
        expected = meaning(text)
    except (SyntaxError, ValueError):
        assert found == Foldable()
        return
    bare = without(text, found.comments)
    assert meaning(bare) == expected
    assert not any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(bare).readline))
    for upto in range(len(found.bodies) + 1):
        some = without(text, [*found.comments, *(body.cut for body in found.bodies[:upto])])
        assert signatures(some) == signatures(text)


@pytest.mark.parametrize("name", ["argparse", "ast", "asyncio/base_events", "dataclasses", "inspect", "typing"])
def test_the_standard_library_parses_without_comments_and_bodies(name: str) -> None:
    text = (Path(sysconfig.get_paths()["stdlib"]) / f"{name}.py").read_text("utf-8")
    found = of(text)
    assert len(found.comments) > 10 and len(found.bodies) > 10
    assert signatures(all_out(text, found)) == signatures(text)
    ast.parse(all_out(text, found))


def test_a_form_feed_ends_no_comment() -> None:
    code = "a = 1\n-- one\x0ctwo\nb = 2\n"
    assert all_out(code, of(code, "lua", "--")) == "a = 1\nb = 2\n"
