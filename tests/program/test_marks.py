"""Marked comments: which lines have a mark, what they ask for, and that nothing else of a file changes."""

from __future__ import annotations

import re
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.program.languages import PYTHON, language, language_of
from cgcli.program.marks import MarkedComment, find_mark, unmarked
from cgcli.program.program import Program

SHEBANG = "#!/usr/bin/env python3\n\n"


def marked(text: str, name: str = "python") -> MarkedComment:
    mark = find_mark(text, language(name))
    assert mark
    return mark


@pytest.mark.parametrize(
    ("name", "text", "prompt"),
    [
        ("a.py", "x = 1\n\n# print it !\n", "print it"),
        ("a.py", "# print it !", "print it"),
        ("a.py", "# print it\t!  \r\n", "print it"),
        ("a.py", "#print it !\n", "print it"),
        ("a.py", "\ufeff# print it !\n", "print it"),
        ("a.py", "def f():\n\t# print it !\n", "print it"),
        ("a.py", "# read a file\n# and print it !\n", "read a file\nand print it"),
        ("a.py", "    # not this\n# print it !\n", "print it"),
        ("a.py", "#!/usr/bin/python\n# print it !\n", "print it"),
        ("a.py", "#> 12\n# print it !\n", "print it"),
        ("a.py", "# read\n# print it\n# !\n", "read\nprint it"),
        ("a.py", "# one !\n# two !\n", "one"),
        ("a.py", "# wow ! !\n", "wow !"),
        ("a.c", "// print it !\n", "print it"),
        ("a.lua", "-- print it !\n", "print it"),
        ("a.rs", "//! a crate !\n", "! a crate"),
        ("a.sh", "#!/bin/sh\n# print it !\n", "print it"),
        ("a", "# print it !\n", "print it"),
    ],
)
def test_what_a_mark_asks_for(name: str, text: str, prompt: str) -> None:
    mark = find_mark(text, language_of(PurePath(name)))
    assert mark and (mark.asks, mark.prompt) == ("code", prompt)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", ""),
        ("a.py", "# Beware!\n"),
        ("a.py", "# print it\n"),
        ("a.py", "x = 1  # print it !\n"),
        ("a.py", "# is it right ?\n"),
        ("a.py", "#!\n#!/bin/sh !\n#!x !\n"[:3]),
        ("a.py", "#!/usr/bin/env python3 !\n"),
        ("a.py", "#> 12 !\n"),
        ("a.py", "// print it !\n"),
        ("a.py", '"""\n# print it !\n"""\n'),
        ("a.py", "x = f'''\n{1}\n# print it !\n'''\n"),
        ("a.c", "# print it !\n"),
        ("a.rs", "//!\nfn main() {}\n"),
    ],
)
def test_what_is_no_mark(name: str, text: str) -> None:
    assert find_mark(text, language_of(PurePath(name))) is None


def test_a_string_does_not_hide_a_mark_behind_it() -> None:
    assert marked('x = """\n# no !\n"""\n# yes !\ny = (\n').prompt == "yes"


def test_a_text_that_is_no_python_still_has_marks() -> None:
    assert marked("def f(:\n  ''' \n\x00\n# print it !\n").line == 4


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("# a !\n", "# a\nNEW\n"),
        ("# a !", "# a\nNEW"),
        ("x\n# a !\ny\n", "x\n# a\nNEW\n\ny\n"),
        ("x\n# a !\n\ny\n", "x\n# a\nNEW\n\ny\n"),
        ("x\r\n# a !\r\n", "x\r\n# a\r\nNEW\r\n"),
        ("x\r\n# a !  \r\ny", "x\r\n# a\r\nNEW\r\n\r\ny"),
        ("\ufeff# !\n", "\ufeffNEW\n"),
        ("# a\n# !\n", "# a\nNEW\n"),
        ("x\n\n# !", "x\n\nNEW"),
        ("if x:\n    # a !\n    y\n", "if x:\n    # a\nNEW\n    y\n"),
        ("# a !\n# b !\n", "# a\nNEW\n\n# b !\n"),
    ],
)
def test_where_code_goes(text: str, new: str) -> None:
    assert marked(text).insert(text, "NEW") == new


words = st.text(alphabet="ab !?#>\t\u00e9", max_size=8)
lines = st.tuples(st.sampled_from(["", "    ", "# ", "    # ", "\t#"]), words, st.sampled_from(["\n", "\r\n", "\n\n"]))
texts = st.tuples(st.sampled_from(["", "\ufeff"]), st.lists(lines.map("".join), max_size=6), words)


@given(texts.map(lambda parts: parts[0] + "".join(parts[1]) + parts[2]), st.sampled_from(["NEW", "NEW\n\n  NEW2"]))
def test_nothing_changes_but_the_mark(text: str, new: str) -> None:
    mark = find_mark(text, PYTHON)
    if mark is None:
        return
    gone = text[mark.begin : mark.end]
    assert re.fullmatch(r"[ \t]*#?[ \t]+[!?][ \t]*(\r?\n)?", gone), gone
    whole = mark.insert(text, new)
    head, below = mark.head(text), text[mark.below :]
    assert head + below == text[: mark.begin] + text[mark.end :]
    assert whole.startswith(head) and whole.endswith(below)
    middle = whole[len(head) : len(whole) - len(below)]
    assert middle.replace("\r\n", "\n").strip("\n") == new
    assert whole.endswith("\n") or below or not text.endswith("\n")


def test_the_program_is_the_one_that_gen_has() -> None:
    text = "x = 1\r\n\r\n# add one\r\n# twice !\r\ny = 2\r\n"
    mark = marked(text)
    program, prompt = mark.program(text, PYTHON, SHEBANG)
    assert (program.prefix, prompt) == ("x = 1\n\n", "add one\ntwice")
    assert program.prefix + program.opening(prompt) == "x = 1\n\n# add one\n# twice\n"


def test_above_nothing_the_model_reads_the_beginning_of_a_new_program() -> None:
    for text in ("# add one !", "\ufeff\n# add one !\n"):
        assert marked(text).program(text, PYTHON, SHEBANG) == (Program(SHEBANG), "add one")


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("x = 1\n# add one !\n", "x = 1\n# add one\n"),  # no blank line above
        ("x = 1\n\n#add one !\n", "x = 1\n\n#add one\n"),
        ("def f(x):\n    # add one !\n    return x\n", "def f(x):\n    # add one\n"),
        ("x = 1\n# !\ny", "x = 1\n"),
        ("# add one !\n", "# add one\n"),
    ],
)
def test_the_model_reads_what_is_there(text: str, context: str) -> None:
    program, prompt = marked(text).program(text, PYTHON, "")
    assert program.source() + program.opening(prompt) == context


def test_stamps_are_no_part_of_it() -> None:
    stamp = "# drawn by cgcli 1 with m q, seed 1; cgcli replay: abc\n"
    text = f"x = 1\n{stamp}\n{stamp}# go on !\n"
    program, prompt = marked(text).program(text, PYTHON, "")
    assert (program.prefix, prompt) == ("x = 1\n\n", "go on")


@pytest.mark.parametrize(
    ("below", "known", "size"),
    [
        ("a = 1\nb = 2\n", ["a = 1\nb = 2"], 12),
        ("a = 1\nb = 2\n", ["a = 1", "a = 1\nb = 2"], 12),
        ("a = 1\nb = 2", ["a = 1\nb = 2"], 11),
        ("a = 1  \r\nb = 2\r\n\r\n", ["a = 1\nb = 2"], 16),  # an editor's line ends and blanks
        ("a = 1\nb = 3\n", ["a = 1\nb = 2"], 0),  # edited
        ("a = 1\nb = 2\n", ["a = 1"], 0),  # gone on with
        ("a = 1\n\na = 1\n", ["a = 1"], 0),  # one of them is the user's
        ("a = 1\n\na = 1\n", ["a = 1", "a = 1"], 6),
        ("\na = 1\n", ["a = 1", " "], 0),
        ("", ["a = 1", ""], 0),
    ],
)
def test_only_code_that_was_written_there_is_replaced(below: str, known: list[str], size: int) -> None:
    text = f"# a !\n{below}"
    assert marked(text).code_below(text, known) == size


def test_in_a_block_the_users_code_may_follow() -> None:
    text = "if x:\n    # a !\n    b = 1\n    c = 1\n"
    assert marked(text).code_below(text, ["    b = 1"]) == len("    b = 1\n")


def test_output_takes_the_place_of_its_mark_and_of_older_output() -> None:
    text = "print(1)\n  # ?\n  #> 0\n  #>\n#> mine\n"
    mark = marked(text)
    assert mark.asks == "output"
    new = mark.output("1\n\n\x1b[2J", PYTHON)
    whole = mark.insert(text, new, instead=mark.output_below(text, PYTHON))
    assert whole == "print(1)\n  #> 1\n  #>\n  #> \\x1b[2J\n#> mine\n"


def test_output_is_bounded() -> None:
    shown = marked("# ?").output("\n".join(map(str, range(100))) + "\n" + "x" * 1000, PYTHON).split("\n")
    assert (len(shown), shown[0], shown[-1]) == (41, "#> 0", "#> … 61 more lines")
    assert len(marked("# ?").output("x" * 1000, PYTHON)) == 203


@pytest.mark.parametrize(
    ("code", "left"),
    [
        ("x = 1\n# go on !\ny = 2", "x = 1\n# go on\ny = 2"),
        ("#! no interpreter !", "#! no interpreter"),
        ("    # ?\n    x = 1\n    # !\n    # wow ! !", "    x = 1\n    # wow"),
        ("# wow!\nx = '!'  # really !", "# wow!\nx = '!'  # really !"),
    ],
)
def test_what_a_model_writes_asks_for_nothing(code: str, left: str) -> None:
    assert unmarked(code, PYTHON) == left
    assert find_mark(marked("# a !\n").insert("# a !\n", left), PYTHON) is None
