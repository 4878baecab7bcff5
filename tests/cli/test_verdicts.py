"""What `gen` says of programs that it ran: who reached the end, who is kept, what was not tested, and what to do next.

The candidates are the built-in model's; what matters stands in the program that is piped in before them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.process import Ran

HEAD = "def f(x):\n    return x\n\n"
PASSED_NONE = re.compile(r"^0 of [12] candidates passed the checks$", re.MULTILINE)  # one may be left out
PASSED_ALL = re.compile(r"^([12]) of \1 candidates passed the checks$", re.MULTILINE)
WITHOUT_FAILURE = ("sys.exit(0)", "sys.exit()", "raise SystemExit")
DRAW = ("gen", "print a number", "-m", "codegen-nano", "--seed", "1", "--unsafe", "--max-tokens", "48", "-t", "0")


def gen(*options: str, before: str = "") -> Ran:
    return run(*DRAW, *options, stdin=before.encode())


def outcome(ran: Ran) -> str:
    return str(json.loads(ran.out)["run"]["outcome"])


@pytest.mark.parametrize(
    "ending",
    ["quit()\n", *(pytest.param(f"import sys\n{end}\n", marks=pytest.mark.long) for end in WITHOUT_FAILURE)],
)
def test_a_program_that_leaves_well_is_held_to_the_checks_as_it_stands(ending: str) -> None:
    ran = gen("-n", "2", "--check", "False", before=HEAD + ending)
    assert ran.status == 8 and PASSED_NONE.search(ran.err) and "check False failed" in ran.err
    ran = gen("-n", "2", "--check", "f(2) == 2", "--check", "f(3) == 4", before=HEAD + ending)
    assert ran.status == 8 and "1 of 2 checks passed; check f(3) == 4 failed" in ran.err
    ran = gen("-n", "2", "--check", "f(2) == 2", before=HEAD + ending)
    assert ran.status == 0 and PASSED_ALL.search(ran.err)


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("import os; os._exit(0)\n", "status 0"),
        ("import os; os.execv('/bin/true', ['true'])\n", "status 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n", "SIGTERM"),
        ("import sys; sys.exit(3)\n", "status 3"),
        ("import os\nif os.fork(): os._exit(0)\n", "status 0"),
    ],
)
def test_a_program_that_ends_before_the_checks_passes_none(ending: str, how: str) -> None:
    ran = gen("-n", "2", "--check", "True", before=HEAD + ending)
    assert ran.status == 8 and PASSED_NONE.search(ran.err)
    assert f"{how} before the checks" in ran.err.splitlines()[-1]


@pytest.mark.parametrize("options", [("--run",), ("-n", "2", "--pick", "run", "--run")])
def test_a_program_that_does_not_reach_its_end_has_failed(options: tuple[str, ...]) -> None:
    ran = gen(*options, "--json", before=HEAD + "import os; os._exit(0)\n")
    assert ran.status == 8 and outcome(ran) == "exit" and "before the last line" in ran.err
    assert "2 of 2 ran" not in ran.err


def test_silence_is_no_success() -> None:
    silent = HEAD + "number = x = 3\nprint = str\n"
    ran = gen("-n", "2", "--pick", "run", before=silent)
    assert (
        "2 of 2 ran; none printed anything, so running them tested nothing\n" in ran.err
        and "printed the same" not in ran.err
    )
    assert "f is defined and never called\n" in ran.err
    ran = gen("--run", before=silent)
    assert ran.status == 0 and "the program ran and printed nothing\nf is defined and never called\n" in ran.err
    ran = gen("--check", "f(1) == 1", before=silent)
    assert ran.status == 0 and "never called" not in ran.err and "printed nothing" not in ran.err
    ran = gen("-n", "2", "--pick", "run", before=HEAD + "number = x = 3\nprint(f(1))\nimport sys; sys.exit()\n")
    assert "2 of 2 ran; 2 printed the same output\n" in ran.err and "never called" not in ran.err


@pytest.mark.parametrize(
    "how",
    [
        ("--check", "f('call 555-1234 now') == ['555-1234']"),
        pytest.param(("--pick", "run", "--run"), marks=pytest.mark.long),
    ],
)
def test_where_all_fail_one_that_parses_and_is_whole_is_kept(how: tuple[str, ...]) -> None:
    prompt = "a function f(s) that returns all phone numbers like 555-1234 in s, by a regular expression"
    ran = run(
        "gen",
        "-m",
        "codegen-nano",
        "-n",
        "8",
        "--seed",
        "1828782680",
        "--guard",
        "off",
        "--unsafe",
        "--json",
        *how,
        prompt,
    )
    turn = json.loads(ran.out)["turns"][0]
    reasons = {one["finish_reason"] for one in turn["candidates"]}
    assert {"stop", "length"} <= reasons, "another seed for this test: one must be cut, and one whole"
    assert turn["candidates"][turn["accepted"]]["finish_reason"] == "stop"
    compile(turn["completion"], "kept", "exec")


@pytest.mark.usefixtures("sandbox")
def test_a_file_that_the_sandbox_hides_is_named_with_what_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data.csv").write_text("1\n")
    reads = "print(open('my data.csv').read())\n"
    draw = ["gen", "a list of numbers", *DRAW[2:]]
    draw.remove("--unsafe")
    for options in (("--run",), ("-n", "2", "--check", "True")):
        ran = run(*draw, *options, stdin=reads.encode())
        last = ran.err.splitlines()[-1]
        assert ran.status == 8 and "another --seed" not in last
        assert last.endswith(
            "; my data.csv exists, but the sandbox hides it; open it: cgcli run --read 'my data.csv' FILE.py"
        )
    (tmp_path / "prog.py").write_text(reads)
    ran = run(*draw, "--run", "--into", "prog.py")
    assert ran.err.endswith("open it: cgcli run --read 'my data.csv' prog.py\n")
    ran = run("run", "prog.py")
    assert ran.status == 8 and ran.err.endswith("but the sandbox hides it; open it with --read 'my data.csv'\n")
    ran = gen("--run", before="open('nowhere.csv')\n")
    assert "sandbox" not in ran.err, "there is no sandbox to blame"


@pytest.mark.parametrize("options", [("--run",), ("--until", "runs")])
@pytest.mark.parametrize(("before", "line"), [("x = 1\nprint x\n", 2), ("x = 1\n\nx[0]\n", 3)])
def test_a_fault_that_was_there_before_is_to_be_mended_first(options: tuple[str, ...], before: str, line: int) -> None:
    ran = gen(*options, before=before)
    assert ran.status == 8
    assert ran.err.endswith(f"; the fault is in line {line}, which was there before: mend it first\n")


def test_a_fault_of_the_turn_may_be_drawn_again() -> None:
    ran = gen("--run", "--start", "x[0]", before="x = 1\n")
    assert ran.status == 8
    assert ran.err.endswith("; try --until runs, another --seed, -n 8, or another prompt\n")


def test_a_program_read_from_stdin_beside_a_prompt_is_noted(tmp_path: Path) -> None:
    ran = gen(before="x = 1\n" * 12)
    assert "read the program so far from stdin: 12 lines (--no-stdin to skip)\n" in ran.err
    prompts = tmp_path / "prompts"
    prompts.write_text("print a number\n")
    draw = [word for word in DRAW if word != "print a number"]
    ran = run(*draw, "-f", str(prompts), stdin=b"x = 1")
    assert "read the program so far from stdin: 1 line" in ran.err
    assert "from stdin" not in run(*draw, stdin=b"x = 1\n").err, "where it is all that was given, it is meant"
    assert "from stdin" not in gen().err and "from stdin" not in gen("--no-stdin", before="x = 1\n").err


def test_run_takes_a_program_that_leaves_at_will(tmp_path: Path) -> None:
    program = tmp_path / "p.py"
    program.write_text("import os; os._exit(0)\n")
    assert run("run", "--unsafe", str(program)).status == 0
    program.write_text("import os; os._exit(5)\n")
    assert run("run", "--unsafe", str(program)).status == 8
