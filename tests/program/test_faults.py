"""Visible faults of a completion: loops, syntax, and where its statements end."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgcli.program.faults import BarEnd, Syntax, is_empty, looping, repeated_from, visible_fault
from cgcli.program.names import Names
from cgcli.program.source import lines_of

FUNCTION = 'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """Add them."""\n'
"""A task of HumanEval: the completion begins inside it."""
PROMPT = "x = 1\n\n# add one to x\n"
LIBRARY = [Path(sysconfig.get_path("stdlib")) / name for name in ("bisect.py", "queue.py", "textwrap.py")]

# --- degenerate


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("    " + "#" * 89, "    "),
        ("x = 1  # " + "-" * 89, "x = 1  # "),
        ("x = 1\n" + "=" * 89 + "\n", "x = 1\n"),
        ("# " + "_" * 200, "# "),
        ("x = [" + "0, " * 27, ""),
        ("x = 1\ny = [" + "0, " * 27 + "]\n", "x = 1\n"),
        ("# " + "-=" * 40, ""),
        ("# " + "twenty-four characters !" * 4, ""),
        ("a\n" + "b\n" * 4, "a\nb\n"),
        ("a\nb\nc\n" + "b\nc\n" * 2, "a\nb\nc\n"),
        ("    x += 1\n\n" * 3, "    x += 1\n\n"),
        ("".join(f"{n}\n" for n in range(8)) * 3, "0\n1\n2\n3\n4\n5\n6\n7\n"),
    ],
)
def test_a_loop_is_cut(text: str, stands: str) -> None:
    fault = looping(text)
    assert fault
    assert (fault.guard, text[: fault.at]) == ("degenerate", stands)


@pytest.mark.parametrize(
    "text",
    [
        "#" * 88,
        "#" * 88 + " " + "#" * 88,
        "#" * 88 + "\n" + "#" * 88,
        "x = '" + "a" * 300 + "'",
        "x = " + "1" * 300,
        " " * 300 + "x",
        "# " + "-=" * 39,
        "# " + "twenty-five characters !!" * 4,
        "# " + "twenty-four characters !" * 3,
        "b\n" * 3,
        "b\n" * 3 + "b",
        "a\nb\n" * 2,
        "".join(f"{n}\n" for n in range(9)) * 3,
        "\n" * 30,
        " \n\n" * 30,
    ],
)
def test_no_loop(text: str) -> None:
    assert looping(text) is None


def test_what_stands_before_the_beginning_is_no_part_of_a_loop() -> None:
    assert looping("b\n" * 4)
    assert looping("b\n" * 4, 2) is None
    assert looping("#" * 100)
    assert looping("#" * 100, 20) is None
    fault = looping("a\n" + "b\n" * 4, 2)
    assert fault
    assert fault.at == 4


def ended(before: str, text: str, width: int) -> str:
    cutter = BarEnd(before)
    kept = "".join(cutter.feed(text[at : at + width]) for at in range(0, len(text), width))
    return kept + cutter.finish()


@pytest.mark.parametrize("width", [1, 7, 1000])
@pytest.mark.parametrize(
    ("before", "text", "kept"),
    [
        ("", "    " + "#" * 300, "    " + "#" * 89),
        (FUNCTION, "    return 1  # " + "-" * 90, "    return 1  # " + "-" * 89),
        (FUNCTION, "    x = [1,\n  # " + "=" * 90 + "\n", "    x = [1,\n  # " + "=" * 89),
        ("x = 1  #", "#" * 300, "#" * 89),
        ("", "'" + "#" * 300 + "'\n#" + "_" * 300, "'" + "#" * 300 + "'\n#" + "_" * 89),
    ],
)
def test_a_text_ends_at_a_bar_in_a_comment(before: str, text: str, kept: str, width: int) -> None:
    assert ended(before, text, width) == kept


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("", "# " + "-" * 88 + "\n# " + "-" * 88 + "\nx = 1\n"),
        ("", "x = '" + "#" * 300 + "'\n"),
        ("def f():\n    '''", "#" * 300 + "'''\n"),
        ("", "# title\n" + "=" * 300 + "\n"),
        ("", "x = (\n" + "-" * 300 + "1)\n"),
    ],
)
def test_a_text_does_not_end_at_what_is_no_bar_or_in_no_comment(before: str, text: str) -> None:
    assert ended(before, text, 1) == ended(before, text, 1000) == text


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["a\n", "b\n", "\n", "    c\n"]), max_size=40))
def test_nothing_is_cut_that_was_said_to_be_final(lines: list[str]) -> None:
    text, final = "", 0
    for line in lines:
        text += line
        if fault := looping(text):
            assert fault.at >= final
            return
        final = max(final, repeated_from(text))
    assert final <= len(text)


def test_what_may_be_a_loop_is_not_final() -> None:
    assert repeated_from("a\nb\nb\n") == len("a\nb\n")
    assert repeated_from("a\nb\na\nb\n") == len("a\nb\n")
    assert repeated_from("a\nb\n") == len("a\nb\n")
    assert repeated_from("") == 0


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        ("", True),
        ("    pass\n", True),
        ("    # to do\n    ...  # later\n\n", True),
        ("pass;\r\n", True),
        ("x\n", False),
        ("passed\n", False),
        ("    return\n", False),
        ("def f():\n    pass\n", False),
    ],
)
def test_empty(text: str, empty: bool) -> None:
    assert is_empty(text) is empty


# --- syntax


@pytest.mark.parametrize(
    ("before", "text", "stands"),
    [
        ("", "x = 5 5\n", ""),
        ("", "x = 1\ny = = 2\n", "x = 1\n"),
        ("", "x = 1\ny = (1,\n    2\nz = 3\n", "x = 1\n"),  # the line that CPython names
        ("", "  x = 1\n", ""),
        ("", "print 'a'\n", ""),
        ("", "if x:\n    y\n  z\n", "if x:\n    y\n"),
        ("", "if x:\n\ty\n        z\n", "if x:\n\ty\n"),
        ("", "try:\n    x\ny\n", "try:\n    x\n"),
        ("", "s = 'abc\n", ""),
        ("", "x = f'{a b}'\n", ""),
        ("", "x = 1\nreturn x\n", "x = 1\n"),
        ("", "def f(a, a):\n", None),  # not whole yet
        ("", "def f(a, a):\n    pass\n", ""),
        ("", "while x:\n    y\nbreak\n", "while x:\n    y\n"),
        ("", "x = 1\r\ny = = 2\r\n", "x = 1\r\n"),
        ("", "x = 1\ry = = 2\n", "x = 1\r"),
        ("", "x\n\f  y\n", "x\n"),
        ("", "x = 'é' + é é\n", ""),
        ("", "x = '\\d'\n", None),  # a warning is no fault
        (PROMPT, "x += 1\n", None),
        (PROMPT, "    x += 1\n", ""),
        (PROMPT, "else:\n", ""),
        (FUNCTION, "    return sum(xs)\n", None),
        (FUNCTION, "return sum(xs)\n", ""),
        (FUNCTION, "    # add\n\n    return sum(xs\n    return 1\n", "    # add\n\n"),
        (FUNCTION, "print(f([1]))\n", None),
        (FUNCTION, "     x = 1\n    y = 2\n", ""),
        ("def f(x):\n# add one\n", "    return x + 1\n", None),
        ("def f(x):\n# add one\n", "x + 1\n", ""),
        ("if x:\n    y\n# otherwise\n", "else:\n    z\n", None),
        ("if x:\n    y\n# otherwise\n", "else:\n    z\nelse:\n", "else:\n    z\n"),
        ("class A:\n    def f(self):\n        return 1\n\n# another method\n", "    def g(self):\n", None),
        ("x = ", "1\n", None),
        ("x = ", "1 1\ny\n", ""),
        ("x = [\n", "    1,\n]\n", None),
        ("x = [1, ", "2]\n", None),
        ("x = '''\ny = 1\n", "'''\nz = = 1\n", "'''\n"),  # `y = 1` is in a string
        ("x = [\n", "    1,\n]]\n", "    1,\n"),
        ("def f():\n    return ", "1\n    y = = 2\n", "1\n"),
        ("x = '\udce9'\nif x:\n", "    y = = 1\n", ""),  # bytes that are no UTF-8
        ("# \udce9\nif x:\n", "    y = 1\n", None),
        ("\ufeffif x:\n", "    y = 1\n", None),
        ("\ufeffif x:\n", "    y = = 1\n", ""),
    ],
)
def test_a_text_that_cannot_become_python_is_cut(before: str, text: str, stands: str | None) -> None:
    fault = Syntax(before).dead(text)
    assert (fault and text[: fault.at]) == stands
    assert fault is None or (fault.guard == "syntax" and fault.reason)


@pytest.mark.parametrize(
    "before",
    [
        "def f(:\n    x\n\n# next\n",
        "x = = 1\ny = 2\n\n# next\n",
        "def f(x):\n    x = (1,\n\n# next\n",
        "x = '''\n\n# next\n",
        "return 1\n\n# next\n",
        "def f(a, a):\n    pass\n\n# next\n",
        "import os\nHello, this is prose.\n\n# next\n",
    ],
)
def test_a_broken_program_is_not_the_fault_of_what_follows(before: str) -> None:
    syntax, good, bad = Syntax(before), "y = 1\nz = 2\n", "y = 1\nz = = 2\n"
    assert syntax.dead(good) is None
    assert syntax.ended(good) is None
    assert syntax.compiles_up_to(good) == len(good)
    if "'''" not in before:  # everything that follows is in that string
        fault = syntax.dead(bad)
        assert fault
        assert bad[: fault.at] == "y = 1\n"
        assert syntax.whole(good) == len(good)


def test_where_the_program_is_broken_nothing_is_said_of_a_text_that_goes_on_inside_it() -> None:
    syntax = Syntax("def f(:\n    x\n")
    assert not syntax.known
    for text in ("    y = = 1\n", "        return\n"):
        assert syntax.dead(text) is None
        assert syntax.ended(text) is None
        assert syntax.whole(text) == len(text)
        assert syntax.compiles_up_to(text) == 0
    assert syntax.dead("y = = 1\n")
    assert Syntax("def f(:\n    x\ndef g():\n").known


@pytest.mark.parametrize(
    "text",
    [
        "x = '\ud800'\n",
        "x = \0\n",
        "x = " + "9" * 5000 + "\n",
        "x = " + "-" * 100_000 + "1\n",
        "x = a" + ".b" * 10_000 + "\n",
    ],
    ids=["surrogate", "NUL", "digits", "memory", "recursion"],
)
def test_what_cpython_cannot_read_is_no_fault(text: str) -> None:
    for before in ("", FUNCTION):
        indented = text if not before else "    " + text
        syntax = Syntax(before)
        assert syntax.dead(indented) is None
        assert syntax.ended(indented) is None
        assert Names(before).missing(indented) == []


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("x\nif x:\n\n\n", "x\n"),
        ("x\ny = (1,\n2\n", "x\n"),
        ("x\ny = '''\n2\n", "x\n"),
        ("x\n@d\n\n", "x\n"),
        ("x\ny =", "x\n"),
        ("x\ny", None),
        ("", None),
    ],
)
def test_a_text_that_ends_unfinished_is_cut_where_that_begins(text: str, stands: str | None) -> None:
    fault = Syntax("").ended(text)
    assert (fault and text[: fault.at]) == stands


def test_a_later_line_may_bind_a_nonlocal_name() -> None:
    text = "    def g():\n        nonlocal x\n        x = 1\n"
    syntax = Syntax("def f():\n")
    assert syntax.dead(text) is None
    assert syntax.ended(text + "    x = 2\n") is None
    assert syntax.ended(text)


def test_a_late_future_import_is_a_fault_of_the_whole_program() -> None:
    text = "from __future__ import division\n"
    assert Syntax("import os\n\n# divide\n").ended(text)
    assert Syntax("'''Divides.'''\n\n# divide\n").ended(text) is None


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_no_line_of_the_standard_library_is_dead(path: Path) -> None:
    lines = lines_of(path.read_text("utf-8"))
    for begin in range(0, len(lines), len(lines) // 5):
        before, text, whole = "".join(lines[:begin]), "", 0
        syntax = Syntax(before)
        assert syntax.known
        for line in lines[begin : begin + 12]:
            text += line
            assert (syntax.dead(text), looping(text)) == (None, None)
            assert syntax.whole(text) >= whole
            whole = syntax.whole(text)
            ast.parse(before + text[:whole] if whole else "")


@pytest.mark.parametrize(
    ("before", "text", "whole"),
    [
        ("", "x = 1\n", "x = 1\n"),
        ("", "x = 1\ny = 2", "x = 1\n"),
        ("", "x = 1  # one\n# two\n", "x = 1  # one\n"),
        ("", "x = (1,\n", ""),
        ("", "x = (1,\n2)\n", "x = (1,\n2)\n"),
        ("", "if x: y\n", ""),
        ("", "if x:\n    y\n", ""),
        ("", "if x:\n    y\nz\n", "if x:\n    y\nz\n"),
        ("", "if x:\n    y\nelse:\n    z\n", ""),
        ("", "if x:\n    y\nelif z:\n    w\n", ""),
        ("", "try:\n    x\nexcept E:\n    y\n", ""),
        ("", "x\n@d\ndef f():\n    y\n", "x\n"),
        ("", "def f():\n    x\n\n\ndef g():\n", ""),  # g may not become a function
        ("", "def f():\n    x\n\n\ndef g():\n    y\n", "def f():\n    x\n"),
        ("", "a = 1; b = 2\n", "a = 1; b = 2\n"),
        (FUNCTION, "    for x in xs:\n        y = x\n", ""),
        (
            FUNCTION,
            "    for x in xs:\n        y = x\n    return y\n",
            "    for x in xs:\n        y = x\n    return y\n",
        ),
        (FUNCTION, "    return 1\n\n\nif x:\n    y\n", "    return 1\n"),
        ("if x:\n", "    y\nelse:\n    z\n", "    y\nelse:\n    z\n"),
        ("if x:\n", "    y\nelif w:\n    z\n", "    y\nelif w:\n    z\n"),
        ("if x:\n", "    y\nelif w:\n    if z:\n        a\n", "    y\n"),
        ("x = ", "1\n", "1\n"),
        ("x = [\n", "1,\n2]\n", "1,\n2]\n"),
        ("", "x = 1\r\nif x:\r\n    y\r\n", "x = 1\r\n"),
        ("", "# only a comment\n", ""),
    ],
)
def test_whole_statements(before: str, text: str, whole: str) -> None:
    assert text[: Syntax(before).whole(text)] == whole


@pytest.mark.parametrize(
    ("before", "text", "stands"),
    [
        ("", "x = 1\ny = (2,\n", "x = 1\n"),
        (FUNCTION, "    for x in xs:\n        y = x\n        if x:\n", "    for x in xs:\n        y = x\n"),
        (FUNCTION, "    x = [\n", ""),
        ("", "x = 1\ny", "x = 1\n"),
        ("", "x = 1\nreturn 2\n", "x = 1\n"),
    ],
)
def test_the_last_line_end_at_which_the_program_compiles(before: str, text: str, stands: str) -> None:
    assert text[: Syntax(before).compiles_up_to(text)] == stands


# --- all of them


@pytest.mark.parametrize(
    ("text", "guard", "stands"),
    [
        ("    return sum(xs)\n", None, None),
        ("    return sum(xs)", None, None),
        ("    return math.fsum(xs)\n", None, None),  # an import is written
        ("    " + "#" * 300, "degenerate", "    "),
        ("    x = 0\n    return sum(\n    y = 1\n", "syntax", "    x = 0\n"),
        ("    x = 0\n    return sum(", "syntax", "    x = 0\n"),
        ("    x = 0\n    return total(xs)\n", "names", "    x = 0\n"),
        ("    # to do\n    pass\n", "empty", ""),
        ("    x = 0\n    " + "#" * 300 + "\n    y = = 1\n", "degenerate", "    x = 0\n    "),
    ],
)
def test_the_first_visible_fault(text: str, guard: str | None, stands: str | None) -> None:
    fault = visible_fault(FUNCTION, text)
    assert (fault and fault.guard, fault and text[: fault.at]) == (guard, stands)


def test_a_stub_is_no_fault_where_one_is_asked_for() -> None:
    assert visible_fault(FUNCTION, "    pass\n")
    assert visible_fault(FUNCTION, "    pass\n", stub=True) is None
