"""`cgcli gen --run`, `--pick run` and `--check`: programs that are run before, or after, they are printed."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from cgcli.core.errors import Interrupted
from cgcli.native.interrupt import Interrupt
from tests.support.cli import run as cgcli

UNGUARDED = ("--guard", "off")  # what the tiny model writes is nothing that they would leave
QUICK = ("--seed", "1", "-t", "0", "--max-tokens", "100", *UNGUARDED, "--unsafe")  # the sandbox has tests of its own
CHOICE = ("--seed", "1", "-t", "0.9", "--max-tokens", "20", *UNGUARDED)


@pytest.fixture
def model(embedded_model: Path) -> tuple[str, ...]:
    return ("-m", str(embedded_model))


def test_the_program_is_on_stdout_and_what_it_prints_on_stderr(bundled_model: Path) -> None:
    prompts = ('Set text to "hello world".', "Print text in upper case.")
    done = cgcli("gen", *prompts, "--run", *QUICK, "-m", str(bundled_model))
    assert done.status == 0, done.err
    assert b"# Print text in upper case.\nprint(" in done.out
    assert done.err.splitlines()[-1] == "HELLO WORLD"
    checked = cgcli("gen", *prompts, "--check", "text", "--check", "True", *QUICK, "-m", str(bundled_model))
    assert (checked.status, checked.out, checked.err.splitlines()[-2:]) == (
        0,
        done.out,
        ["HELLO WORLD", "passed 2 checks"],
    )


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
    said = re.search(r"(\d) of (\d) candidates passed the checks", done.err)  # of those without a visible fault
    failed = sum(int(count) for count in re.findall(r"^(\d) failed\b", done.err, re.MULTILINE))
    assert said and 0 < int(said[1]) == int(said[2]) - failed < 6


def test_without_a_right_candidate_gen_says_why_and_what_else_to_try(tiny_model: Path) -> None:
    done = cgcli("gen", "x", "-n", "3", "--check", "1 == 2", *QUICK, "-t", "0.9", "-m", str(tiny_model))
    assert done.status == 8 and "0 of 3 candidates passed the checks\n" in done.err
    hint = "; try --until checks, another --seed, more than 3 candidates (-n), or another prompt"
    assert done.err.splitlines()[-1].endswith(hint)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--check", "f(2) = 4"), "is not a Python expression"),
        (("--run", "--lang", "go"), "cannot run a go program, only Python"),
        (("--pick", "dice"), "--pick"),
        (("--until", "runs", "--lang", "go"), "cannot run a go program, only Python; leave out --run, --pick, --check"),
        (("--until", "runs", "--raw"), "--until and --raw cannot be used together"),
        (("--until", "checks"), "--until checks needs a check; add --check 'f(2) == 4'"),
        (("--pick", "run"), "--pick has no effect without -n; add -n 8"),
        (("-n", "100000"), "-n is 100000, not an integer from 1 to 1000"),
        (("--tries", "3"), "--tries has no effect without --until; add --until runs"),
        (("--try-time", "3"), "--try-time has no effect without --until; add --until runs"),
        (("--until", "runs", "--try-time", "0"), "--try-time must be positive, not 0"),
        (("--until", "runs", "--tries", "0"), "--tries must be positive, not 0"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_loaded(
    options: tuple[str, ...], said: str, tiny_model: Path
) -> None:
    done = cgcli("gen", "x", *options, *QUICK, "-m", str(tiny_model))
    assert done.status == 2 and said in done.err and not done.out
    assert len(done.err.splitlines()) == 1


UNTIL = ("gen", "print the mean of the numbers", "--until", "runs", "-t", "1", "--max-tokens", "40", "--unsafe",
         "-m", "codegen-nano")  # fmt: skip


def test_a_turn_is_drawn_until_the_program_runs() -> None:
    """Which drafts fail depends on the model; what is said and printed of them does not."""
    done = cgcli(*UNTIL, "--seed", "3", "--json", stdin=b"numbers = []\n")
    turn = json.loads(done.out)["turns"][0]
    *failed, last = turn["candidates"]
    assert failed, "another seed for this test: the first draft runs"
    assert (done.status, turn["accepted"], last["ran"]) == (0, len(failed), "ran")
    assert turn["completion"] == last["text"] and last["kept"] == 0
    for number, draft in enumerate(failed, 1):
        assert f"turn 1: {draft['ran']}; regenerating it, try {number} of 4\n" in done.err
    assert f"turn 1 ran at try {len(failed)}\n" in done.err
    done = cgcli(*UNTIL, "--seed", "3", stdin=b"numbers = []\n")
    assert done.out.decode() == f"\n# print the mean of the numbers\n{last['text']}\n", "a pipe gets only what stands"


def test_a_failure_that_is_not_the_programs_ends_the_tries() -> None:
    """What failed before the turn is not the turn's fault."""
    done = cgcli(*UNTIL, "--seed", "3", stdin=b"numbers = []\nname = input()\n")
    assert done.status == 8 and "regenerating it" not in done.err
    words = "turn 1: the program reads input, and there was no more (EOFError: EOF when reading a line, line 2)"
    assert words in done.err
    assert done.err.endswith("the program reads input, and there was no more; run it: cgcli run --unsafe FILE.py\n")


def test_the_checks_are_for_the_last_turn() -> None:
    more = ("--seed", "5", "--check", "total == 3", "--until", "checks", "--json")
    done = cgcli("gen", "print the total", *UNTIL[1:], *more, stdin=b"total = 3\nnumbers = [1, 2]\n")
    facts = json.loads(done.out)
    ran = [turn["candidates"][turn["accepted"]]["ran"] for turn in facts["turns"]]
    assert done.status == 0 and facts["run"]["outcome"] == "passed"
    assert ran == ["ran", "passed the checks"], "another seed for this test: no draft runs"


def test_without_a_sandbox_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.sandbox.bubblewrap._WHERE", "")
    done = cgcli(*(word for word in UNTIL if word != "--unsafe"))
    assert done.status == 7 and not done.out and "there is no sandbox" in done.err


def test_a_program_that_never_ran_ends_in_8(tiny_model: Path) -> None:
    done = cgcli("gen", "x", "--until", "runs", "--tries", "2", *QUICK, "-m", str(tiny_model))
    assert done.status == 8 and done.out.startswith(b"#!/usr/bin/env python3\n\n# x\n")
    assert "turn 1: kept draft " in done.err
    assert done.err.splitlines()[-1].startswith("cgcli: the program failed: ")


def test_without_a_temperature_the_first_candidate_is_the_one_drawn_alone(tiny_model: Path) -> None:
    wanted = ("gen", "x", "--seed", "1", "--max-tokens", "20", *UNGUARDED, "--json", "-m", str(tiny_model))
    alone, several = cgcli(*wanted), cgcli(*wanted, "-n", "3", "--pick", "probable")
    (one,), drawn = (json.loads(ran.out)["turns"][0]["candidates"] for ran in (alone, several))
    assert drawn[0]["text"] == one["text"] and drawn[0]["temperature"] is None
    assert [other["temperature"] for other in drawn[1:]] == [0.6, 0.6]
    assert "candidates 2 and 3 use temperature 0.6; -t sets one temperature for all\n" in several.err
    again = (*wanted, "-n", "2", "--pick", "probable")
    for ran in cgcli(*again, "-t", "0.2"), cgcli(*again, CGCLI_TEMPERATURE="0.2"):
        assert [other["temperature"] for other in json.loads(ran.out)["turns"][0]["candidates"]] == [None, None]
        assert "-t sets" not in ran.err


def test_what_was_picked_and_how_is_in_the_json(tiny_model: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    wanted = ("gen", "x", "-n", "3", *CHOICE, "--json", "-m", str(tiny_model))
    done = cgcli(*wanted, "--unsafe")
    facts = json.loads(done.out)
    jsonschema.validate(facts, json.loads((files("cgcli.program") / "gen.schema.json").read_text()))
    (turn,) = facts["turns"]
    assert done.status == 0 and turn["picked"]["rule"] == "probable" and turn["picked"]["groups"] == []
    assert f"turn 1: kept candidate {turn['accepted'] + 1} of 3, log-probability -" in done.err
    done = cgcli(*wanted, "--pick", "reviewer")
    assert "of 3, picked by the reviewer\n" in done.err
    done = cgcli(*wanted, "--pick", "probable")
    assert json.loads(done.out)["turns"][0]["picked"] is None and "of 3, log-probability -" in done.err


def test_without_a_sandbox_nothing_is_run_and_nothing_fails(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cgcli.sandbox.bubblewrap._WHERE", str(tmp_path))
    wanted = ("gen", "x", "-n", "2", *CHOICE, "-m", str(tiny_model))
    done = cgcli(*wanted)
    assert done.status == 0 and "the candidates are not run: bubblewrap is not installed" in done.err
    assert "of 2, log-probability -" in done.err
    for rule in ("run", "tests"):
        assert cgcli(*wanted, "--pick", rule).status == 7


def test_other_languages_and_raw_text_are_not_run(tiny_model: Path) -> None:
    wanted = ("gen", "x", "-n", "2", *CHOICE, "-m", str(tiny_model))
    done = cgcli(*wanted, "--lang", "go")
    assert done.status == 0 and "of 2, log-probability -" in done.err and " ran" not in done.err
    done = cgcli(*wanted, "--raw")
    assert done.status == 0 and "of 2, log-probability -" in done.err and " ran" not in done.err


def test_ctrl_c_while_picking_keeps_what_was_drawn(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        Interrupt().set()
        raise Interrupted

    wanted = ("-n", "2", *CHOICE, "--pick", "reviewer", "-m", str(tiny_model))
    one = cgcli("gen", "x", *wanted[:-4], "--pick", "probable", *wanted[-2:])
    monkeypatch.setattr("cgcli.program.reviewer.review", interrupted)
    done = cgcli("gen", "x", "y", *wanted)
    assert done.status == 130 and done.out == one.out
    assert "interrupted while picking: took the best candidate so far\n" in done.err


def test_what_is_said_of_a_turn_stands_together(tiny_model: Path) -> None:
    done = cgcli("gen", "x", "y", "-n", "2", "--until", "runs", "--tries", "1", *QUICK, "-m", str(tiny_model))
    told = re.findall(r"^turn (\d).*(kept draft|kept candidate)", done.err, re.MULTILINE)
    assert told == [("1", "kept draft"), ("1", "kept candidate"), ("2", "kept draft"), ("2", "kept candidate")]


def test_a_single_token_is_no_tokens(tiny_model: Path) -> None:
    words = ("-m", str(tiny_model), "--raw", "--max-tokens", "1", "--seed", "1", "-t", "1", "-v")
    ran = cgcli("gen", *words, stdin=b"a = 1\n")
    assert "cut at 1 token (" in ran.err and ", 1 token at " in ran.err and "1 tokens" not in ran.err


def test_files_are_opened_to_the_program(tmp_path: Path, bundled_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("1,2\n")
    before = b"print(open('data.csv').read())\n"
    wanted = ("gen", 'Set text to "hello world".', "--run", "--seed", "1", "-t", "0", "-m", str(bundled_model))
    closed, opened = (cgcli(*wanted, *more, stdin=before) for more in ((), ("--read", "data.csv")))
    assert closed.status == 8 and "data.csv exists, but the sandbox hides it; open it: cgcli run --read" in closed.err
    assert opened.status == 0 and opened.err.count("1,2\n") == 1, opened.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--read", "a.csv"), "--read and --write have no effect unless the program is run; add --run"),
        (("--run", "--read", "no such file"), "no such file or folder: no such file"),
        (("--run", "--write", "/"), "it is the whole file system"),
    ],
)
def test_what_cannot_be_opened(options: tuple[str, ...], said: str, tiny_model: Path) -> None:
    done = cgcli("gen", "x", *options, "-m", str(tiny_model))
    assert done.status == 2 and said in done.err and not done.out
