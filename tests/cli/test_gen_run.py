"""`cgcli gen --run`, `--pick run` and `--check`: programs that are run before, or after, they are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.cli import run as cgcli

QUICK = ("--seed", "1", "-t", "0", "--max-tokens", "100", "--unsafe")  # the sandbox has tests of its own


@pytest.fixture
def model(embedded_model: Path) -> tuple[str, ...]:
    return ("-m", str(embedded_model))


def test_the_program_is_on_stdout_and_what_it_prints_on_stderr(embedded_home: Path) -> None:
    prompts = ("a list with ten numbers", "print how many there are")
    done = cgcli("gen", *prompts, "--run", *QUICK, CGCLI_HOME=str(embedded_home))
    assert done.status == 0
    assert b"# print how many there are\nprint(" in done.out
    assert done.err.splitlines()[-1].isdigit()


def test_a_program_that_fails_ends_in_8_and_is_printed_all_the_same(tiny_model: Path) -> None:
    done = cgcli("gen", "x", "--run", *QUICK, "-m", str(tiny_model))
    assert done.status == 8 and done.out.startswith(b"#!/usr/bin/env python3\n\n# x\n")
    last = done.err.splitlines()[-1]
    assert last.startswith("cgcli: the program failed: NameError") or "SyntaxError" in last


@pytest.mark.long
def test_a_check_picks_the_candidate_that_holds(model: tuple[str, ...]) -> None:
    wanted = ("gen", "a function is_prime that tells whether a number is prime", "-n", "6", "--seed", "2", *model)
    check = ("--check", "is_prime(7)", "--check", "not is_prime(8)", "--unsafe", "--max-tokens", "100")
    done = cgcli(*wanted, "-t", "0.8", *check, "--json")
    facts = json.loads(done.out)
    namespace: dict[str, object] = {}
    exec(facts["turns"][0]["completion"], namespace)
    holds = namespace["is_prime"](7) and not namespace["is_prime"](8)  # type: ignore[operator]
    assert done.status == (0 if holds else 8)
    assert facts["run"]["outcome"] == ("passed" if holds else "check")
    assert holds, "another seed for this test: no candidate was right"
    said = re.search(r"(\d) of 6 candidates passed the checks", done.err)
    failed = sum(int(count) for count in re.findall(r"^(\d) failed\b", done.err, re.MULTILINE))
    assert said and 0 < int(said[1]) == 6 - failed < 6


def test_where_no_candidate_holds_it_is_said_why_and_what_else_to_try(tiny_model: Path) -> None:
    done = cgcli("gen", "x", "-n", "3", "--check", "1 == 2", "--seed", "1", "--unsafe", "-m", str(tiny_model))
    assert done.status == 8 and "0 of 3 candidates passed the checks\n" in done.err
    assert done.err.splitlines()[-1].endswith("; try another --seed, more than 3 candidates (-n), or another prompt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--check", "f(2) = 4"), "is not a Python expression"),
        (("--run", "--lang", "go"), "cannot run a go program, only Python"),
        (("--pick", "dice"), "--pick"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_loaded(
    options: tuple[str, ...], said: str, tiny_model: Path
) -> None:
    done = cgcli("gen", "x", *options, *QUICK, "-m", str(tiny_model))
    assert done.status == 2 and said in done.err and not done.out
    assert len(done.err.splitlines()) == 1
