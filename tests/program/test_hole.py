"""Where new code goes in a text, and where it ends."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from cgcli.core.errors import UsageError
from cgcli.program.hole import Extent, Hole, HoleEnd, at_cursor, cut, find_hole, tidied
from cgcli.program.languages import PYTHON, language

PROGRAM = """\
import csv

def read(path):
    # read the numbers

    return numbers

def mean(numbers):
    total = 0
    for number in numbers:

    return total / len(numbers)
"""


def hole_at(line: int | None, text: str = PROGRAM, extent: Extent | None = None) -> Hole:
    return find_hole(text, line, PYTHON, name="prog.py", extent=extent)


def test_a_blank_line_is_replaced() -> None:
    found = hole_at(5)
    assert found.filled("numbers = []") == PROGRAM.replace(
        "numbers\n\n    return n", "numbers\n    numbers = []\n    return n"
    )
    assert found.lines("numbers = []") == "    numbers = []\n"


def test_a_blank_line_before_the_top_level_stays() -> None:
    text = "def f():\n\ndef g():\n    return 1\n"
    assert hole_at(2, text).filled("pass") == "def f():\n    pass\n\ndef g():\n    return 1\n"


def test_below_a_comment_a_line_is_inserted() -> None:
    assert hole_at(4).filled("a = 1") == PROGRAM.replace("read the numbers\n", "read the numbers\n    a = 1\n")
    assert hole_at(4).asked == hole_at(5).asked == "read the numbers"


def test_above_code_a_line_is_inserted() -> None:
    assert hole_at(9).filled("a = 1") == PROGRAM.replace("    total = 0\n", "    a = 1\n    total = 0\n")


def test_below_a_line_that_opens_an_empty_block_a_line_is_inserted() -> None:
    text = "def f():\n\ndef g():\n    return 1\n"
    assert hole_at(1, text).filled("pass") == "def f():\n    pass\n\ndef g():\n    return 1\n"
    assert hole_at(3, text).filled("pass") == "def f():\n\n    pass\ndef g():\n    return 1\n"  # for `f`


def test_one_past_the_last_line_is_the_end() -> None:
    assert hole_at(13).filled("a = 1") == PROGRAM + "    a = 1\n"
    assert find_hole("a = 1", 2, PYTHON, name="prog.py").filled("b = 2") == "a = 1\nb = 2\n"


def test_a_line_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"prog\.py has no line 14: it has 12 lines"):
        hole_at(14)


@pytest.mark.parametrize(
    ("text", "line", "indent"),
    [
        ("def f():\n\n", 2, "    "),  # opened above
        ("def f():\n\n  return 1\n", 2, "  "),  # as below
        ("\tif x:\n\n", 2, "\t\t"),  # with tabs
        ("if x:\n    a\n\nb\n", 3, ""),  # as the next line
        ("if x:\n    a\n\n\nb\n", 3, "    "),  # as the last one: nothing is next
        ("def f():\n      \n    return 1\n", 2, "      "),  # its own
        ("a = 1\n\n", 2, ""),
        ("# print these:\n\na = 1\n", 1, ""),  # a comment opens no block
        ("# def mean(numbers):\n\na = 1\n", 2, ""),
    ],
)
def test_the_indentation_of_a_hole(text: str, line: int, indent: str) -> None:
    assert hole_at(line, text).indent == indent


@pytest.mark.parametrize(
    ("line", "extent"),
    [
        (5, "block"),  # a comment asks for it
        (9, "line"),
        (11, "block"),  # the body of a loop
        (13, "block"),  # nothing goes on behind it
        (7, "line"),
    ],
)
def test_how_much_goes_into_a_hole(line: int, extent: Extent) -> None:
    assert hole_at(line).extent == extent
    assert hole_at(line, extent="line").extent == "line"


# --- without a line


def test_the_only_comment_with_nothing_below_it_is_the_hole() -> None:
    assert hole_at(None) == hole_at(4)


@pytest.mark.parametrize("dots", ["# ...", "# …", "#..."])
def test_three_dots_are_replaced(dots: str) -> None:
    text = f"# a comment\n\ndef f(x):\n    {dots}\n    return y\n"
    assert hole_at(None, text).filled("y = x") == "# a comment\n\ndef f(x):\n    y = x\n    return y\n"


def test_three_dots_with_words_stay() -> None:
    text = "def f(x):\n    # ... add one\n    return y\n"
    assert hole_at(None, text).filled("y = x") == "def f(x):\n    # ... add one\n    y = x\n    return y\n"


def test_an_interpreter_line_is_no_comment() -> None:
    assert (
        hole_at(None, "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n\nx = 1\n# print it\n").before.count("\n") == 5
    )


def test_nothing_goes_above_an_interpreter_line() -> None:
    header = "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n"
    for line in (1, 2):
        assert hole_at(line, f"{header}x = 1\n").filled("y = 1") == f"{header}y = 1\nx = 1\n"


def test_other_languages_have_other_comments() -> None:
    text = "int f(int x) {\n    // ...\n    return y;\n}\n"
    found = find_hole(text, None, language("c"), name="f.c")
    assert found.filled("int y = x;") == "int f(int x) {\n    int y = x;\n    return y;\n}\n"


def test_no_hole_and_several_are_refused() -> None:
    with pytest.raises(UsageError, match="no comment with nothing below it") as none:
        hole_at(None, "a = 1\n")
    assert none.value.hint == "name a line: cgcli fill prog.py:LINE"
    with pytest.raises(UsageError, match="2 places to fill: lines 1, 3") as several:
        hole_at(None, "# ...\n\n# ...\n")
    assert several.value.hint == "cgcli fill prog.py:1"


# --- where the text ends

LINE = Hole("def f(x):\n    ", "\n    return y\n", "line", "#")
BLOCK = Hole("def f(x):\n    ", "\n    return y\n\ndef g():\n", "block", "#")
ASKED = replace(BLOCK, asked="add one")
CALL = at_cursor("print(", ")\nx = 1\n")
END_OF_LINE = at_cursor("def f(x):\n    y =", "\n    return y\n")
HEAD = at_cursor("def f(x):", "\nx = 1\n")
BRACES = at_cursor("int f(int x) {", "\nint g;\n")


@pytest.mark.parametrize(
    ("hole", "drawn", "kept"),
    [
        (LINE, "y = x\n    z = 2\n", "y = x"),
        (LINE, "return y\n", ""),  # repeats the line below
        (BLOCK, "y = x\n    y += 1\n    return y\n", "y = x\n    y += 1"),
        (BLOCK, "y = x\n    y += 1\n\ndef h():\n", "y = x\n    y += 1"),  # indented less
        (BLOCK, "y = x\n\n    y += 1\n\n\n    z = 1\n", "y = x\n\n    y += 1"),  # two blank lines
        (BLOCK, "return y\n", ""),
        (BLOCK, "y = x\n    # more\n    y += 1\n    return y\n", "y = x\n    # more\n    y += 1"),
        (ASKED, "y = x\n    # more\n    y += 1\n", "y = x"),  # another comment asks for something else
        (CALL, "1)\n", "1"),
        (CALL, "1\n", "1"),
        (END_OF_LINE, " x\n    z = 3\n", " x"),
        (HEAD, "\n    return x\n\nprint(1)\n", "\n    return x"),
        (BRACES, "\n    return x;\n}\nint h;\n", "\n    return x;\n}"),
    ],
)
def test_where_a_text_is_cut(hole: Hole, drawn: str, kept: str) -> None:
    assert cut(hole, drawn) == len(kept)
    for seed in range(20):  # however it is split
        shuffle, end, given, at = random.Random(seed), HoleEnd(hole), "", 0
        while at < len(drawn):
            size = shuffle.randint(1, 9)
            given += end.feed(drawn[at : at + size])
            at += size
        assert given + end.finish() == kept


def test_a_text_that_may_go_on_is_not_cut() -> None:
    assert cut(BLOCK, "y = x\n    y += 1\n    retur") is None
    assert cut(LINE, "y = x") is None


def test_a_bracket_alone_does_not_tell_that_the_text_repeats() -> None:
    hole = Hole("x = [\n    ", "\n]\ny = 1\n", "block", "#")
    assert cut(hole, "1,\n    2,\n]\ny = 1\n") == len("1,\n    2,")
    deep = Hole("f(\n    a(\n    ", "\n    )\n    b\n", "block", "#")
    assert cut(deep, "1\n    )\n    c\n") is None


@pytest.mark.parametrize(
    ("drawn", "tidy"),
    [
        ("y = x\n    z = 1  ", "y = x\n    z = 1"),
        ("    y = x\n        z = 1", "y = x\n    z = 1"),  # all of it too deep
        ("\n\n    y = x\n    z = 1\n", "y = x\n    z = 1"),  # begins with blank lines
        ("if x:\n        y = 1", "if x:\n        y = 1"),
        ("", ""),
    ],
)
def test_the_indentation_is_that_of_the_hole(drawn: str, tidy: str) -> None:
    assert tidied(BLOCK, drawn) == tidy
