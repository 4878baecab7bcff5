"""Programs as values: their text, and the text that a turn adds."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import UsageError
from cgcli.program.program import PAPER, RAW, Layout, Program, Turn
from cgcli.program.source import checked_prompt, for_file, from_file, split

prompts = st.text(alphabet="ab #\n", min_size=1, max_size=12).filter(str.strip)
completions = st.text(alphabet="xy \n\t#", max_size=16)
texts = st.text(alphabet="ab\n ", max_size=12)
layouts = st.sampled_from([Layout(), Layout("//"), PAPER, RAW])


def test_prompt_becomes_comment_and_blank_lines_separate_turns() -> None:
    program = (
        Program("import csv\n").add(Turn("read numbers\nfrom stdin", "x = 1\n\n")).add(Turn("print them", "print(x)"))
    )
    assert program.source() == "import csv\n\n# read numbers\n# from stdin\nx = 1\n\n# print them\nprint(x)\n"


def test_paper_layout_is_the_samplers() -> None:
    """Prefix, `# ` and prompt with its first line alone commented, completion as drawn, two line ends."""
    program = Program("# Import libraries.\n\nimport numpy as np\n\n", layout=PAPER).add(Turn("one\ntwo", "a = 1\n"))
    assert program.source() == "# Import libraries.\n\nimport numpy as np\n\n# one\ntwo\na = 1\n\n\n"


def test_raw_layout_adds_nothing() -> None:
    program = Program("def f(", layout=RAW).add(Turn("x):", "\n  return")).add(Turn(None, " x"))
    assert program.source() == "def f(x):\n  return x"


@pytest.mark.parametrize(
    ("prefix", "opening"),
    [
        ("", "# p\n"),
        ("a", "\n\n# p\n"),
        ("a\n", "\n# p\n"),
        ("a\n\n", "# p\n"),
        ("a\n\n\n", "# p\n"),
        ("a\r\n", "\n# p\n"),
        ("a\r\n\r\n", "# p\n"),
    ],
)
def test_opening_adds_missing_line_ends_and_a_blank_line(prefix: str, opening: str) -> None:
    assert Program(prefix).opening("p") == opening


@given(st.text(alphabet="ab \\\n", min_size=1, max_size=8).filter(str.strip), st.sampled_from(["//", "#", "--"]))
def test_a_comment_ends_with_its_line_and_is_taken_apart_again(prompt: str, mark: str) -> None:
    program = Program("x;\n", layout=Layout(mark)).add(Turn(prompt, "y;")).add(Turn("b", "z;"))
    if mark == "//":
        assert "\\\n" not in program.source()
    parts = split(program.source(), mark)
    assert parts.prefix + "".join(turn.comment + turn.code for turn in parts.turns) == program.source()
    words = [line.rstrip() for line in parts.turns[0].prompt.split("\n")]
    assert [word.rstrip(".") for word in words] == [line.rstrip() for line in prompt.splitlines()]


def test_a_backslash_stays_where_it_is_harmless() -> None:
    assert Program().comment("join with \\") == "# join with \\\n"
    assert Program(layout=Layout("//")).comment("a \\b\\ \nc") == "// a \\b\\.\n// c\n"


@given(texts, st.lists(st.tuples(st.none() | prompts, completions), max_size=4), layouts)
def test_source_grows_by_opening_completion_and_closing(
    prefix: str, turns: list[tuple[str | None, str]], layout: Layout
) -> None:
    program = Program(prefix, layout=layout)
    for prompt, completion in turns:
        grown = program.add(Turn(prompt, completion))
        kept = grown.turns[-1].completion
        for comments in (True, False):
            before, opening = program.source(comments=comments), program.opening(prompt, comments=comments)
            assert grown.source(comments=comments) == before + opening + kept + grown.closing(kept)
        program = grown


@given(st.lists(st.text(alphabet="ab \n", max_size=3), max_size=8))
def test_trailing_space_never_comes_out(pieces: list[str]) -> None:
    from cgcli.program.generation import TrailingSpace

    space = TrailingSpace()
    assert "".join(map(space.feed, pieces)) == "".join(pieces).rstrip()


@pytest.mark.parametrize("mark", ["#", "//"])
def test_a_comment_is_a_line_for_each_that_some_language_has(mark: str) -> None:
    program = Program(layout=Layout(mark))
    assert program.comment("a\x0cb\x1cc\n") == f"{mark} a\x0cb\x1cc\n"
    assert program.comment("a\rb\r\nc\u2028d\x85e") == "".join(f"{mark} {letter}\n" for letter in "abcde")


@pytest.mark.parametrize("prompt", ["encoding: base64", "a\ncoding=x", "vim: set fileencoding=nothing :"])
def test_no_comment_names_the_encoding_of_its_file(prompt: str) -> None:
    program = Program().add(Turn(prompt, "x = 1"))
    ast.parse(program.source().encode())
    assert split(program.source()).turns[0].prompt == prompt
    twice = Program().add(Turn("a", "x = 1")).add(Turn(prompt, "y = 2"))
    assert (
        twice.source().startswith("# a\n") and twice.drop(0).source() == program.put(0, Turn(prompt, "y = 2")).source()
    )
    for layout in (Layout("//"), PAPER, RAW):
        assert Program(layout=layout).opening(prompt) == Program(layout=layout).comment(prompt)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\xef\xbb\xbf", ""),
        (b"\xef\xbb\xbfa\r\nb", "a\nb"),
        (b"a\r\nb\nc\r\n", "a\nb\nc\n"),
        (b"a\rb\n", "a\rb\n"),
        (b"a\rb", "a\rb"),
        (b"x\xef\xbb\xbf\xff", "x\ufeff\udcff"),
    ],
)
def test_a_file_is_read_without_its_form(data: bytes, text: str) -> None:
    assert from_file(data) == text


@pytest.mark.parametrize(
    ("text", "before", "expected"),
    [
        ("a\nb\n", b"", b"a\nb\n"),
        ("a\nb\n", b"z\r\n", b"a\r\nb\r\n"),
        ("a\nb\n", b"\xef\xbb\xbfz", b"\xef\xbb\xbfa\nb\n"),
        ("a\nb\nc\n", b"a\r\nb\nz\r\n", b"a\r\nb\nc\r\n"),
        ("a\nb\nc\n", b"a\r\nb", b"a\r\nb\r\nc\r\n"),
        ("a\nb\nc\n", b"a\nb\r\nz\n", b"a\nb\r\nc\n"),
        ("a\r\nb\n", b"z\r\n", b"a\r\nb\r\n"),
        ("", b"\xef\xbb\xbfa\r\n", b"\xef\xbb\xbf"),
    ],
)
def test_a_file_is_written_in_the_form_that_it_had(text: str, before: bytes, expected: bytes) -> None:
    assert for_file(text, before) == expected


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf", b"a", b"\xff", b"\xc3\xa9"])).map(b"".join))
def test_a_file_that_is_written_again_is_the_same(data: bytes) -> None:
    text = from_file(data)
    assert for_file(text, data) == data
    assert from_file(for_file(text + "\nb\n", data)) == from_file((text + "\nb\n").encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("prompt", ["caf\udce9", "\ud800", "a\0b"])
def test_a_prompt_is_text(prompt: str) -> None:
    with pytest.raises(UsageError, match=r"the prompt (is not UTF-8|contains a NUL character)"):
        checked_prompt(prompt, "the prompt")
    assert checked_prompt("\ufeffa\tb", "") == "a\tb"


@pytest.mark.parametrize(
    ("before", "replaced"),
    [
        ("", ""),  # the beginning of the prefix
        ("import csv\n", ""),  # its end
        ("import csv\n", "\n"),  # the blank line behind it
        ("import csv\n\n# a number\n", ""),  # the beginning of a turn's code
        ("import csv\n\n# a number\nx = 1\n", ""),  # its end
        ("import csv\n\n# a number\nx = 1\n", "\n"),
        ("import csv\n\n# a number\n", "x = 1\n"),
        ("import csv\n\n# a number\nx = 1\n\n# print it\nprint(x)\n", ""),  # the end of all
    ],
)
def test_text_in_place_of_a_part(before: str, replaced: str) -> None:
    """A blank line stays before each prompt."""
    program = Program("import csv\n").add(Turn("a number", "x = 1")).add(Turn("print it", "print(x)"))
    source = program.source()
    assert source.startswith(before + replaced)
    found = program.replaced(len(before), len(before) + len(replaced), "y = 2\n")
    expected = before + "y = 2\n" + source[len(before) + len(replaced) :]
    assert found.source() == re.sub("(?<=[^\n]\n)# ", "\n# ", expected)
    assert [turn.prompt for turn in found.turns] == ["a number", "print it"]


def test_a_prompt_is_not_replaced() -> None:
    program = Program("import csv\n").add(Turn("a number", "x = 1"))
    at = program.source().index("number")
    with pytest.raises(IndexError, match="part of a prompt"):
        program.replaced(at, at, "y")
