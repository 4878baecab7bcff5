"""Splitting a program's text: nothing is lost, and what `Program` wrote comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.program.languages import LANGUAGES
from cgcli.program.program import Layout, Program, Turn
from cgcli.program.source import SplitProgram, SplitTurn, split

TEXT = """#!/usr/bin/env python3
# made by hand

import sys  # not a prompt

# read numbers
# from stdin
xs = sys.stdin.read().split()
# not after a blank line, so not a prompt
if xs:

    # not at column 0
    print(xs)


# sum them
"""


def test_a_comment_after_a_blank_line_is_a_prompt() -> None:
    parts = split(TEXT)
    assert parts.prefix == "#!/usr/bin/env python3\n# made by hand\n\nimport sys  # not a prompt\n\n"
    assert [(part.prompt, part.line) for part in parts.turns] == [("read numbers\nfrom stdin", 6), ("sum them", 16)]
    assert parts.turns[0].comment == "# read numbers\n# from stdin\n"
    assert parts.turns[0].code.startswith("xs = ") and parts.turns[0].code.endswith("    print(xs)\n\n\n")
    assert parts.turns[1] == SplitTurn("sum them", "# sum them\n", "", 16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", SplitProgram("", ())),
        ("x = 1", SplitProgram("x = 1", ())),
        ("\n\n", SplitProgram("\n\n", ())),
        ("# a", SplitProgram("", (SplitTurn("a", "# a", "", 1),))),
        ("# a\n\n# b\n", SplitProgram("", (SplitTurn("a", "# a\n", "\n", 1), SplitTurn("b", "# b\n", "", 3)))),
        (
            "#a\r\nx\r\n \t\r\n#\r\n",
            SplitProgram("", (SplitTurn("a", "#a\r\n", "x\r\n \t\r\n", 1), SplitTurn("", "#\r\n", "", 4))),
        ),
        ("x\n\n#!y\n", SplitProgram("x\n\n", (SplitTurn("!y", "#!y\n", "", 3),))),
    ],
)
def test_small_texts(text: str, expected: SplitProgram) -> None:
    assert split(text) == expected


@given(st.text(alphabet="#a \n\r\f", max_size=40), st.sampled_from(["#", "//"]))
def test_nothing_is_lost(text: str, mark: str) -> None:
    text = text.replace("#", mark)
    parts = split(text, mark)
    assert parts.prefix + "".join(part.comment + part.code for part in parts.turns) == text
    for part in parts.turns:
        assert part.comment.startswith(mark)
        assert text.split("\n")[part.line - 1] in part.comment


words = st.text(alphabet="ab c", min_size=1, max_size=8).map(str.strip).filter(bool)
prompts = st.lists(words, min_size=1, max_size=3).map("\n".join)
completions = st.lists(st.sampled_from(["x = 1", "    y", "", "  # z"]), min_size=1, max_size=5).map("\n".join)


@given(
    st.sampled_from(["", "#!/usr/bin/env python3\n\n", "import os\n", "import os"]),
    st.lists(st.tuples(prompts, completions.filter(str.strip)), max_size=4),
    st.sampled_from(sorted({language.mark for language in LANGUAGES})),
)
def test_what_a_program_writes_comes_back(prefix: str, turns: list[tuple[str, str]], mark: str) -> None:
    program = Program(prefix, layout=Layout(mark))
    for prompt, completion in turns:
        program = program.add(Turn(prompt, completion))
    parts = split(program.source(), mark)
    assert parts.prefix.rstrip("\n") == prefix.rstrip("\n")
    assert [Turn(part.prompt, part.code.rstrip()) for part in parts.turns] == list(program.turns)
