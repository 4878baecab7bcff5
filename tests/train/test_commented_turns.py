"""Programs of commented turns from source files, and the wording of prompts."""

from __future__ import annotations

import ast
import random
import sysconfig
from pathlib import Path

import pytest

from cgcli.program.source import split
from cgcli.train.commented_turns import commented_programs
from cgcli.train.wording import describe_statement
from tests.train.overlap import overlap

STDLIB = Path(sysconfig.get_path("stdlib"))
FUNCTIONS = '''
import os
import re as regex

HIDDEN = 1


def words(text):
    """Return the words of a text.

    More about it.
    """

    found = regex.findall("[a-z]+", text)

    return found


def needs_hidden(x):
    """Return a number and what is hidden."""
    return x + HIDDEN


def count(text):
    """Count how many words a text has."""
    return len(words(text))


def without_words(x):
    return x


def only_told(x):
    """Say what it would do."""
'''
BLOCKS = """
def report(path, rows):
    # Collect the names of all rows
    names = [row.name for row in rows]
    names.sort()
    longest = max(names)

    # TODO: rows without names
    if not names:
        raise ValueError(path)

    # Print every name and its length
    for name in names:
        print(name, len(name))
    total = 0

    # Give it back
    return total
"""


def turns(program: str) -> dict[str, str]:
    """Prompts and code, as `cgcli score` splits a program."""
    return {part.prompt.lower().removesuffix("."): part.code for part in split(program, "#").turns}


def test_a_functions_docstring_becomes_its_prompt() -> None:
    for seed in range(20):
        (program,) = commented_programs(FUNCTIONS, seed)
        (first, second) = split(program, "#").turns
        assert "the words of a text" in first.prompt and "how many words a text has" in second.prompt
        assert first.code.startswith("def words(text):\n    ") and second.code.startswith("def count(text):\n    ")
        assert "import re as regex\n" in program and "import os" not in program
    programs = {program for seed in range(20) for program in commented_programs(FUNCTIONS, seed)}
    assert any("'''" not in program and '"""' not in program for program in programs)
    assert len({split(program, "#").turns[0].prompt for program in programs}) > 3  # wordings


def test_a_form_feed_ends_no_line() -> None:
    (program,) = commented_programs("# one\x0cline\n" + FUNCTIONS, 0)
    (same,) = commented_programs(FUNCTIONS, 0)
    assert set(turns(program).values()) == set(turns(same).values())


def test_commented_blocks_become_turns_at_the_margin() -> None:
    text = BLOCKS.replace("    # TODO: rows without names\n    if not names:\n        raise ValueError(path)\n\n", "")
    (program,) = commented_programs(text, 0)
    assert turns(program) == {
        "collect the names of all rows": "names = [row.name for row in rows]\nnames.sort()\nlongest = max(names)\n\n",
        "print every name and its length": "for name in names:\n    print(name, len(name))\ntotal = 0\n",
    }


def test_a_note_to_authors_ends_a_run() -> None:
    assert commented_programs(BLOCKS, 0) == []


@pytest.mark.parametrize("text", ["", "x = ", "x = 1\n", "\0", "(" * 5000, '"""Say what it is."""\n'])
def test_what_has_no_turns(text: str) -> None:
    assert commented_programs(text, 0) == []


def test_the_same_seed_gives_the_same() -> None:
    text = (STDLIB / "statistics.py").read_text()
    assert commented_programs(text, 3) == commented_programs(text, 3)
    assert commented_programs(text, 3) != commented_programs(text, 4)


def test_all_that_comes_of_the_standard_library_compiles_and_is_no_benchmarks(shared: Path) -> None:
    files = sorted(STDLIB.glob("*.py"))
    made = [program for path in files for program in commented_programs(path.read_text("utf-8"), 0)]
    assert len(made) > len(files)
    for program in made:
        compile(program, "<turns>", "exec", dont_inherit=True)
        assert split(program, "#").turns
    assert overlap(made, shared) == set()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = [1, 2]", "the list [1, 2]"),
        ("x = []", "an empty list"),
        ("x = sorted(names)", "names in sorted order"),
        ("x = 'a,b'.split()", "the words of the string 'a,b'"),
        ("x = ', '.join(parts)", "the elements of parts joined by ', '"),
        ("x = a + b", "the sum of a and b"),
        ("x = parts[0]", "the first element of parts"),
        ("x = parts[-1]", "the last element of parts"),
        ("x += 2", "Add 2 to x."),
        ("parts.append(x)", "Append x to parts."),
        ("print(total)", "total."),
        ("import json", "Import json."),
    ],
)
def test_statements_in_words(code: str, words: str) -> None:
    assert words in (describe_statement(ast.parse(code).body[0], random.Random(0)) or "")


@pytest.mark.parametrize(
    "code", ["x = f(a, b)", "x.y = 1", "x = lambda: 0", f"x = {'a' * 80!r}", "pass", "print(a, b)", "f(x)"]
)
def test_what_no_rule_words_stays_unsaid(code: str) -> None:
    assert describe_statement(ast.parse(code).body[0], random.Random(0)) is None
