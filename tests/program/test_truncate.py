"""CodeGen's truncation: the rules on finished texts, and the same result while a text streams."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgcli.engine.stops import Chain, Stops
from cgcli.program.truncate import BLANK_LINES, CODEGEN, NONE, Rules, Truncator, truncate

FRAGMENTS = ["print", "def", "#", "'''", '"""', "<|endoftext|>", "\n\n\n"]
BROKEN = ["pri", "nt", "de", "f", "'", '"', "<|", "endoftext|>", "\n", "\r", " ", "x", "(a)", "é"]

# The one vector of CodeGen's own test.
IF_ELSE = "\nif len_a > len_b:\n    result = a\nelse:\n    result = b"

texts = st.lists(st.sampled_from(FRAGMENTS + BROKEN + ["\n"] * 6), max_size=14).map("".join)
rule_sets = st.sampled_from([CODEGEN, BLANK_LINES, NONE, CODEGEN.within("  "), BLANK_LINES.within(" ")])
stop_lists = st.lists(st.sampled_from(["```", "\n#", "oftext", "x", "\ndef", "nt"]), max_size=3)


@st.composite
def splits(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


def by_lines(text: str) -> str:
    """The rules of CODEGEN said another way: walk over the text, and stop where any of them first cuts."""
    seen = {"print": 0, "def": 0}
    for at in range(len(text)):
        if at == 0 or text[at - 1] == "\n":
            for word in seen:
                seen[word] += text.startswith(word, at)
            if 2 in seen.values() or text.startswith(("#", "'''", '"""'), at):
                return text[:at]
        if text.startswith(("<|endoftext|>", "\n\n\n"), at):
            return text[:at]
    return text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (IF_ELSE + "\n\n\n\n#", IF_ELSE),
        ("print(1)\nprint(2)\n", "print(1)\n"),
        ("print(1)\n    print(2)\n", "print(1)\n    print(2)\n"),
        ("printer = 1\nprints = 2\n", "printer = 1\n"),
        ("def f():\n    pass\ndefine = 1\n", "def f():\n    pass\n"),
        ("def f():\n    pass\nprint(1)\ndef g():\nprint(2)", "def f():\n    pass\nprint(1)\n"),
        ("print(1)\nprint(2)\ndef f():\ndef g():", "print(1)\n"),
        ("# first\nx", ""),
        ("x # not at column 0\n", "x # not at column 0\n"),
        ("x\n# next", "x\n"),
        ("x<|endoftext|>y", "x"),
        ("'''doc'''", ""),
        ('x = """a"""\n"""b', 'x = """a"""\n'),
        ("a\n\nb\n\n\nc", "a\n\nb"),
        ("x\r\n# y", "x\r\n"),
        ("  x  \n", "  x  \n"),
        ("", ""),
    ],
)
def test_codegen_rules(text: str, kept: str) -> None:
    assert truncate(text) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  a\n\n  if b:\n      c\nd\n", "  a\n\n  if b:\n      c\n"),
        ("  a\n \n\t\n  b\n c\n", "  a\n \n\t\n  b\n"),
        ("  a\n# b\n", "  a\n"),
        ("  a\n  # next\n  b\n", "  a\n"),
        ("  a\n    # aside\n  b\n", "  a\n    # aside\n  b\n"),
        ("  def f(self):\n    a\n  def g(self):\n", "  def f(self):\n    a\n"),
        ("  a\n\tb\n", "  a\n"),
        ("a", ""),
    ],
)
def test_a_block_ends_where_its_indentation_does(text: str, kept: str) -> None:
    assert truncate(text, CODEGEN.within("  ")) == kept


def test_other_languages_end_at_blank_lines_only() -> None:
    assert truncate("#include <x>\nprint\nprint\n\n\n// more", BLANK_LINES) == "#include <x>\nprint\nprint"


@given(texts)
def test_the_rules_in_their_order_keep_what_the_earliest_cut_keeps(text: str) -> None:
    assert truncate(text) == by_lines(text)


@given(splits(), rule_sets)
@example(["a\npr", "int(1)\npri", "nt(2)"], CODEGEN)
@example(["\n", "\n", "x\n\n", "\n"], CODEGEN)
def test_cutting_while_text_arrives_keeps_the_same(pieces: list[str], rules: Rules) -> None:
    cutter = Truncator(rules)
    given_text = "".join(cutter.feed(piece) for piece in pieces)
    assert given_text + cutter.finish() == truncate("".join(pieces), rules)
    assert cutter.finished and cutter.feed("x") + cutter.finish() == ""


@given(texts, texts, rule_sets)
def test_nothing_is_taken_back_and_no_more_is_held_than_must_be(text: str, more: str, rules: Rules) -> None:
    cutter = Truncator(rules)
    given_text = cutter.feed(text)
    assert truncate(text + more, rules).startswith(given_text)
    endings = [fragment[at:] for fragment in FRAGMENTS for at in range(len(fragment))]
    futures = {truncate(text + ending + last, rules) for ending in ["", *endings] for last in "xy"}
    if cutter.finished:
        assert futures == {given_text}
    else:
        assert len(futures) > 1, "the cut is certain, so it should have been reported"
        assert given_text == text or given_text in futures, f"{text[len(given_text) :]!r} cannot be cut any more"


@given(splits(), stop_lists)
def test_with_stop_strings_the_earliest_cut_wins(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    cutter = Chain(Truncator(CODEGEN), Stops(stops))
    given_text = "".join(cutter.feed(piece) for piece in pieces) + cutter.finish()
    found = [text.find(stop) for stop in stops if stop in text]
    assert given_text == text[: min([*found, len(truncate(text))])]


def test_it_is_finished_with_the_piece_that_decides() -> None:
    cutter = Truncator()
    assert (cutter.feed("x = 1\n\n"), cutter.finished) == ("x = 1", False)
    assert (cutter.feed("\n"), cutter.finished) == ("", True)


def test_a_first_print_is_not_held_back() -> None:
    cutter = Truncator()
    assert cutter.feed("pri") == "pri"
    assert cutter.feed("nt(1)\npri") == "nt(1)\n"
    assert cutter.finish() == "pri"
