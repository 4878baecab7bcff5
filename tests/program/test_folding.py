"""Folding of long programs: the order, the room it makes, and that it seldom changes.

A token is a word, a run of blanks or a mark, about as GPT-2's are.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cgcli.core.errors import ContextError
from cgcli.program.folding import Fold, fold
from cgcli.program.program import Layout, Program, Turn
from cgcli.program.source import encode
from tests.program.sources import PIECES, meaning, signatures

HEAD = "#!/usr/bin/env python3\n# the licence of this program\nimport os\n\n"
ONE = 'def one(x):\n    """First."""\n    y = x + 1  # more\n    return y * y * y * y\n'
TWO = "def two(x):\n    while x:\n        x = x - 1\n    return x\n"


def count(text: bytes) -> int:
    return len(re.findall(rb"\w+|\s+|[^\w\s]", text))


def grown(*turns: tuple[str | None, str], prefix: str = HEAD, layout: Layout | None = None) -> Program:
    program = Program(prefix, layout=layout or Layout())
    for prompt, code in turns:
        program = program.add(Turn(prompt, code))
    return program


def folded(
    program: Program,
    prompt: str | None = "next",
    *,
    limit: int,
    window: int = 200,
    keep: str = "",
    language: str = "python",
) -> Fold | None:
    return fold(program, prompt, keep, language=language, count=count, limit=limit, window=window)


def size(program: Program, prompt: str | None = "next") -> int:
    return count(encode(program.source() + program.opening(prompt)))


TURNS = (("first", ONE), ("second", "# why\n" + TWO), ("third", "print(one(two(3)))"))


def test_comments_go_first_and_the_oldest_first() -> None:
    licence = f"# {'the licence ' * 30}\n"
    program = grown(*TURNS, prefix=HEAD + licence)
    found = folded(program, limit=size(program) - 1, window=size(program))
    assert found
    assert found.parts == ("prefix: comments",) and found.summary == "prefix: comments"
    assert found.whole == program.source()
    assert found.text == program.source().replace("# the licence of this program\n", "").replace(licence, "")
    assert found.saved == count(encode(found.whole)) - count(encode(found.text)) > 0
    assert "-# the licence of this program" in found.diff() and len(found.diff()) < 12
    found = folded(program, limit=size(program) - 136, window=size(program))
    assert found and found.parts == ("prefix: comments", "turn 1: comments")
    assert "# first" not in found.text and "# second" in found.text


def test_bodies_go_when_no_comment_is_left_and_what_is_done_in_statements_stays() -> None:
    found = folded(grown(*TURNS), limit=1)
    assert found
    assert sorted(found.parts) == [
        "prefix: comments",
        "turn 1: body of one (2 lines)",
        "turn 1: comments",
        "turn 2: body of two (3 lines)",
        "turn 2: comments",
        "turn 3: comments",
    ]
    assert found.summary == "prefix: comments; turn 1: comments; turn 1: body of one (2 lines) and 3 more"
    bare = "#!/usr/bin/env python3\nimport os\n\n"
    assert found.text == bare + (
        'def one(x):\n    """First."""\n    ...\n\ndef two(x):\n    ...\n\nprint(one(two(3)))\n'
    )


def test_what_is_asked_is_never_folded() -> None:
    program = grown(("first", ONE), prefix="")
    assert folded(program, "a\nb", limit=1, keep="# kept\ndef f():\n    return 1") is not None
    with pytest.raises(ContextError, match=r"25 tokens, but the context window has 9"):
        folded(grown(prefix=""), "a b c d", limit=1, window=9, keep="# kept\ndef f():\n    return 1\n")
    open_end = grown(("first", ONE), (None, "def more():\n    return 1\n# now plot it\n"), prefix="")
    found = folded(open_end, None, limit=1)
    assert found and found.text.endswith("def more():\n    return 1\n# now plot it\n") and "..." in found.text


def test_a_turn_without_a_prompt_is_one_with_what_it_continues() -> None:
    program = grown((None, "return x\n"), ("p", "y = f(1)"), prefix="def f(x):\n    x = x + 1\n    ")
    found = folded(program, limit=1)
    assert found and found.text == "def f(x):\n    ...\n\ny = f(1)\n"
    assert "prefix: body of f (2 lines)" in found.parts


def test_a_part_that_does_not_parse_is_left_and_others_are_not() -> None:
    program = grown(("broken", "def f(:\n    return 1  # c"), ("whole", TWO), prefix="")
    found = folded(program, limit=1)
    assert found and found.text == "# broken\ndef f(:\n    return 1  # c\n\ndef two(x):\n    ...\n"


def test_other_languages_lose_comment_lines_alone() -> None:
    program = grown(("a", "int a(int x) { // one\n  return x;\n}"), prefix="// head\n", layout=Layout("//"))
    found = folded(program, limit=1, language="c")
    assert found and found.text == "\nint a(int x) { // one\n  return x;\n}\n"


def test_where_nothing_can_go_all_is_read_or_there_is_an_error() -> None:
    program = grown(prefix="x = 1\n")
    assert folded(program, limit=1) is None
    assert folded(program, limit=1, window=size(program) + 1) is None
    with pytest.raises(ContextError, match=r"the context window has 10$") as caught:
        folded(program, limit=1, window=10)
    assert size(program) == 10
    assert caught.value.hint and "--ctx" in caught.value.hint and "\n" not in caught.value.message


def test_what_saves_nothing_is_left() -> None:
    program = grown(("first", "def f(): pass"), ("second", "def g():\n    x = 1\n    return x"), prefix="")
    found = folded(program, limit=1)
    assert found and "def f(): pass\n" in found.text and not any("body of f" in part for part in found.parts)


def test_the_room_is_there_also_where_texts_have_more_tokens_together() -> None:
    program = grown(*TURNS)
    whole = size(program)

    def together(text: bytes) -> int:
        return count(text) + 10 * (b"import" in text and b"# next" in text)

    for limit in range(whole - 50, whole):
        found = fold(program, "next", "", language="python", count=together, limit=limit, window=2 * whole)
        assert found and together(encode(found.text + program.opening("next"))) <= limit


code = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)
turns = st.lists(st.tuples(st.sampled_from(["sort it", "plot\nit twice", "# odd"]), code), max_size=8)


@given(code, turns, st.integers(8, 400), st.integers(1, 300))
def test_what_is_read_parses_fits_and_has_all_signatures(
    prefix: str, done: list[tuple[str, str]], window: int, max_tokens: int
) -> None:
    program = grown(*done, prefix=prefix)
    limit = window - min(max_tokens, window // 2)
    whole = size(program)
    assume(whole > limit)
    try:
        found = folded(program, limit=limit, window=window)
    except ContextError:
        least = folded(program, limit=1, window=10**6)  # all that can be
        assert whole - (least.saved if least else 0) >= window
        return
    assert found == folded(program, limit=limit, window=window)
    if not found:
        assert whole < window
        return
    left = count(encode(found.text + program.opening("next")))
    assert left == whole - found.saved < window
    if left > limit:
        least = folded(program, limit=1, window=10**6)
        assert least and len(found.parts) == len(least.parts)
    try:
        meaning(program.source())
    except (SyntaxError, ValueError):
        return
    assert signatures(found.text) == signatures(program.source())


def test_what_is_folded_changes_seldom_while_a_program_grows() -> None:
    """Each change makes room for a quarter of the window; between two of them the text that was read only grows."""
    window, limit = 1200, 1050
    program, before, changes, read = grown(), "", 0, 0
    for number in range(60):
        prompt = f"the function number {number}"
        text = program.source()
        if size(program, prompt) > limit:
            found = folded(program, prompt, limit=limit, window=window)
            assert found
            text = found.text
        if not text.startswith(before):
            changes += 1
            read += count(encode(text))
        before = text
        body = f"def f{number}(x):\n    y = x + {number}  # add\n    for z in range(y):\n        y += z\n    return y"
        program = program.add(Turn(prompt, body))
    whole = count(encode(program.source()))
    assert whole > 2 * window
    assert 4 < changes <= whole // (window // 4)
    assert read < 4 * whole
