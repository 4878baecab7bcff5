"""Exercises run, match their prompts, and overlap with no benchmark."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from pathlib import Path

from cgcli.program.source import split
from cgcli.train.exercise_tables import ACTIONS, FUNCTIONS, PHRASES
from cgcli.train.exercises import exercises
from tests.train.overlap import overlap

SOME = list(exercises(7, 1500))


def test_every_exercise_runs_and_most_print() -> None:
    printing = 0
    for text in SOME:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(text, "<exercise>", "exec"), {})
        printing += bool(out.getvalue())
    assert printing > 0.8 * len(SOME)


def test_they_are_turns_and_hardly_two_are_the_same() -> None:
    lengths = Counter(len(split(text, "#").turns) for text in SOME)
    assert set(lengths) == {2, 3, 4, 5, 6}
    assert len(set(SOME)) > 0.98 * len(SOME)


def test_what_is_defined_is_called() -> None:
    defined = [(text, name) for text in SOME for name in re.findall(r"^def (\w+)", text, re.MULTILINE)]
    called = sum(text.count(f"{name}(") > 1 for text, name in defined)
    assert called > 0.6 * len(defined)


def test_every_row_of_the_tables_is_used() -> None:
    text = "".join(exercises(8, 3000))
    for _, wordings, *_ in (*PHRASES, *ACTIONS):
        pieces = [max(re.split(r"{.*?}", wording), key=len) for wording in wordings.split("|")]
        assert any(piece.strip(" .") in text for piece in pieces), wordings
    for _, name, *_ in FUNCTIONS:
        assert f"def {name}(" in text


def test_the_same_seed_gives_the_same_whatever_the_count() -> None:
    assert list(exercises(7, 20)) == SOME[:20]
    assert list(exercises(8, 20)) != SOME[:20]


def test_none_is_a_benchmarks(shared: Path) -> None:
    assert overlap(SOME, shared) == set()
