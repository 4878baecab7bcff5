"""`cgcli replay`: what gen and the REPL wrote is drawn again, byte for byte; else the first difference is named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgcli.program.conditions import differences
from cgcli.program.program import Program, Setup, TurnFacts
from cgcli.program.program_store import ProgramStore
from cgcli.program.recorded import Recorded
from cgcli.program.source import digest
from cgcli.program.stamp import has_stamp, stamp, stamped, without_stamps
from tests.program.steps import drawn
from tests.support.cli import run
from tests.support.process import Ran
from tests.support.tiny_model import write_tiny_model

SHORT = ("--seed", "3", "--max-tokens", "12", "-t", "1", "--guard", "off")
SAME = "the same, byte for byte"


def gen(model: Path, *arguments: str, stdin: bytes | None = None) -> Ran:
    ran = run("gen", "-m", str(model), *arguments, stdin=stdin)
    assert ran.status == 0, ran.err
    return ran


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "home" / "data" / "log.sqlite"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prog.py"


WAYS = {
    "one": ("sort words",),
    "three": ("sort words", "print them", "and count them"),
    "hot": ("sort words", "-t", "1.2", "--top-p", "0.8", "--top-k", "9", "--min-p", "0.01"),
    "many": ("sort words", "print them", "-n", "4", "-t", "0.9", "--pick", "probable"),
    "exact": ("sort words", "print them", "-n", "4", "-t", "0.9", "--pick", "probable", "--exact"),
    "others": ("sort words", "print them", "-n", "4", "--pick", "probable"),
    "others exact": ("sort words", "print them", "-n", "4", "--pick", "probable", "--exact"),
    "no comment": ("sort words", "print them", "--no-comment"),
    "raw": ("--raw", "x = 1\n"),
    "go": ("sort words", "--lang", "go"),
    "stop": ("sort words", "--stop", "\n"),
    "no guesses": ("sort words", "--draft", "off", "--ctx", "512", "--threads", "1"),
    "prefix": ("sort words", "--prefix", "import re\n"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_gen_wrote_is_drawn_again(bundled_model: Path, file: Path, tmp_path: Path, way: str) -> None:
    gen(bundled_model, *WAYS[way], "--seed", "3", "--max-tokens", "24", "-o", str(file))
    moved = file.rename(tmp_path / "elsewhere.txt")
    ran = run("replay", str(moved))
    assert (ran.status, ran.out) == (0, b"") and SAME in ran.err, ran.err


def test_what_was_added_in_several_runs_is_drawn_again_from_the_first(bundled_model: Path, file: Path) -> None:
    for prompt, seed in (("sort words", "1"), ("print them", "2"), ("again", "3")):
        gen(bundled_model, "--into", str(file), prompt, "--seed", seed, "--max-tokens", "24")
    assert "3 turns" in run("replay", str(file)).err
    assert "2 turns" in run("replay", "2").err
    file.write_text("x = 1\n\n" + file.read_text())
    changed = run("replay", str(file))
    assert changed.status == 1 and "was changed since run 3 wrote it; its text then: cgcli log use 3" in changed.err


def test_what_was_chosen_by_running_is_not_run_again(
    bundled_model: Path, file: Path, sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = ("--seed", "3", "-t", "0.9", "--max-tokens", "48")
    gen(bundled_model, "print the sum of 1 and 2", "-n", "6", "--pick", "run", *again, "--exact", "-o", str(file))
    monkeypatch.setattr("cgcli.sandbox.run.run", None)
    assert SAME in run("replay", str(file)).err


def test_a_turn_that_was_drawn_until_it_ran_is_drawn_again(bundled_model: Path, file: Path, sandbox: None) -> None:
    ran = run(
        *("gen", "-m", str(bundled_model), "print the number of lines", "--until", "runs", "--exact"),
        *("--seed", "5", "-t", "0.6", "--max-tokens", "48", "-o", str(file), "--guard", "off"),
    )
    assert "try" in ran.err, "another seed for this test: it ran at once"
    assert SAME in run("replay", str(file)).err


def test_what_the_repl_saved_is_drawn_again(bundled_model: Path, file: Path) -> None:
    script = f"sort words\nprint them\n/retry\n/code 1\n/n 3\nand count them\n/save {file}\nmore\n"
    ran = run(
        "repl", "-m", str(bundled_model), "--seed", "1", "--max-tokens", "24", stdin=script.encode(), EDITOR="true"
    )
    assert file.exists(), ran.err
    again = run("replay", str(file))
    assert again.status == 0 and SAME in again.err, again.err


def test_code_that_was_kept_is_not_drawn_again(bundled_model: Path, file: Path, tmp_path: Path) -> None:
    script = f"sort words and print them\n/from 5\n/save {file}\n"
    limits = ("--seed", "2", "--max-tokens", "48", "-t", "0.8", "--guard", "off")
    ran = run("repl", "-m", str(bundled_model), *limits, stdin=script.encode())
    programs = ProgramStore(tmp_path / "home" / "data" / "programs")
    turn = programs.read(programs.ids()[0]).history.program.turns[0]
    assert turn.accepted is not None and turn.candidates[turn.accepted].kept, ran.err
    again = run("replay", str(file))
    assert again.status == 0 and SAME in again.err, again.err


# --- stamps


def test_a_stamp_needs_neither_log_nor_journal(bundled_model: Path, file: Path, database: Path) -> None:
    limits = ("--seed", "1", "--max-tokens", "24", "--stamp")
    gen(bundled_model, "sort words", "print them", "-o", str(file), *limits)
    gen(bundled_model, "again", "--into", str(file), *limits)
    database.unlink()
    lines = file.read_text().splitlines()
    assert [one for one in lines if one.startswith("# drawn by cgcli ")] and lines[-1].startswith("# drawn by cgcli ")
    ran = run("replay", str(file))
    assert ran.status == 0 and f"{SAME}: 3 turns" in ran.err
    file.write_text(file.read_text().replace("# again", "# again and again"))
    changed = run("replay", str(file))
    assert changed.status == 1 and "was changed since it was stamped" in changed.err


def test_the_model_does_not_read_a_stamp(bundled_model: Path, file: Path) -> None:
    limits = ("--seed", "1", "--max-tokens", "24")
    plain = gen(bundled_model, "sort words", *limits).out
    assert gen(bundled_model, "sort words", *limits, "--stamp").out.startswith(plain)
    gen(bundled_model, "sort words", "-o", str(file), *limits, "--stamp")
    more = gen(bundled_model, "again", *limits, stdin=file.read_bytes()).out
    assert more == gen(bundled_model, "again", *limits, stdin=plain).out


@pytest.mark.parametrize("damage", ["AAAA", "!!", "eJwDAAAAAAE="])
def test_a_damaged_stamp_is_an_error(file: Path, damage: str) -> None:
    file.write_text(f"x = 1\n# drawn by cgcli 0.1.0 with tiny f16, seed 1; cgcli replay: {damage}\n")
    ran = run("replay", str(file))
    assert ran.status == 1 and "the stamp is damaged" in ran.err


def test_a_stamp_is_one_line_whatever_the_model_is_called() -> None:
    turn = drawn(Program("#!\n"), "go on", "x = 1")
    assert turn.facts
    turn = replace(turn, facts=replace(turn.facts, model="a\nimport os\x1b[2J"))
    one = Recorded(Program("#!\n").add(turn), "python", "", True, "its stamp")
    line = stamp(one)
    assert line.startswith("# drawn by") and line.count("\n") == 1 and line.isprintable() is False
    assert "\x1b" not in line and has_stamp(line)
    assert len(line) < 320
    text = one.text + line
    assert without_stamps(text) == one.text
    found = stamped(text, one.text)
    assert found and found.text == one.text and found.program.turns[0].facts


# --- what differs

FACTS = TurnFacts(
    *("m", "q8_0", 1, 0.2, 0.95, 0, 0.0, 256, "", 1, None),
    others=0.6,
    guard="3.11.7",
    setup=Setup("ab", "", "0.1.0", "a processor", 2, 0, 2048, True, "ngram"),
)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("sha256", "cd", "the model's file"),
        ("cgcli", "0.2.0", "the version of cgcli"),
        ("processor", "another", "the processor"),
        ("guard", "3.12.0", "the Python of the guards"),
        ("quant", "f16", "the quantization"),
        ("gpu_layers", 3, "gpu_layers"),
        ("window", 99, "ctx"),
        ("threads", 1, "threads"),
        ("exact", False, "exact"),
        ("draft", "off", "draft"),
        ("seed", 2, "seed"),
        ("temperature", 0.3, "temperature"),
        ("top_p", 0.9, "top_p"),
        ("top_k", 9, "top_k"),
        ("min_p", 0.1, "min_p"),
        ("max_tokens", 9, "max_tokens"),
        ("stops", ("x",), "stop"),
        ("batch", 4, "candidates"),
        ("others", 0.5, "the temperature of other candidates"),
        ("model", "n", "the model"),
    ],
)
def test_each_condition_has_its_name(field: str, value: object, name: str) -> None:
    assert FACTS.setup
    changed: Any = {field: value}
    if hasattr(FACTS.setup, field):
        now = replace(FACTS, setup=replace(FACTS.setup, **changed))
    else:
        now = replace(FACTS, **changed)
    assert [one.name for one in differences(FACTS, now)] == [name]
    assert differences(FACTS, FACTS) == []


def rewritten(database: Path, **changed: Any) -> None:
    """Change the facts of the turns in the log."""
    with sqlite3.connect(database) as connection:
        turns = json.loads(connection.execute("SELECT turns FROM runs").fetchone()[0])
        for turn in turns:
            facts = turn["facts"]
            for name, value in changed.items():
                (facts if name in facts else facts["setup"])[name] = value
        connection.execute("UPDATE runs SET turns = ?", (json.dumps(turns),))


DIFFERENT = {
    "sha256": ("cd" * 32, "the model's file differs: it was cd", False),
    "cgcli": ("9.9.9", "the version of cgcli differs: it was 9.9.9, and is ", True),
    "processor": ("a quantum computer", "the processor differs: it was a quantum computer, and is ", True),
    "guard": ("3.99.0", "the Python of the guards differs: it was 3.99.0, and is ", True),
    "quant": ("q4_0", "quantization", True),
    "seed": (4, "nothing that is known differs", True),
    "temperature": (0.9, "nothing that is known differs", True),
    "max_tokens": (5, "nothing that is known differs", True),
}


@pytest.mark.parametrize("field", DIFFERENT)
def test_the_first_thing_that_differs_is_named(bundled_model: Path, file: Path, database: Path, field: str) -> None:
    """Another text, since the seed is another one, too: what differs is told before and in the error."""
    value, words, draws = DIFFERENT[field]
    gen(bundled_model, "sort words", "-t", "1", "--seed", "3", "--max-tokens", "24", "--exact", "-o", str(file))
    rewritten(database, **{"seed": 5, field: value})
    ran = run("replay", str(file))
    assert ran.status == 1 and words in ran.err.splitlines()[-1], ran.err
    assert ("turn 1 of run 1 ('sort words') differs in line 1 of its code: it was " in ran.err) == draws


def test_a_difference_that_changes_nothing_is_told_all_the_same(
    bundled_model: Path, file: Path, database: Path
) -> None:
    gen(bundled_model, "sort words", "--seed", "3", "--max-tokens", "24", "-o", str(file))
    rewritten(database, processor="an abacus")
    ran = run("replay", str(file))
    assert ran.status == 0 and SAME in ran.err and "the processor differs: it was an abacus" in ran.err


def test_another_model_in_the_same_file_draws_nothing(tmp_path: Path, file: Path) -> None:
    model = write_tiny_model(tmp_path / "one.gguf", seed=1)
    gen(model, "sort words", *SHORT, "-o", str(file))
    shutil.copy(write_tiny_model(tmp_path / "two.gguf", seed=2), model)
    ran = run("replay", str(file))
    assert ran.status == 1 and "the model's file differs" in ran.err and "nothing was written" in ran.err
    model.unlink()
    assert run("replay", str(file)).status == 3


def test_a_file_that_nobody_wrote(file: Path) -> None:
    file.write_text("x = 1\n")
    ran = run("replay", str(file))
    assert ran.status == 1 and "cgcli did not write " in ran.err
    assert run("replay", str(file.with_name("none"))).status == 2 and run("replay", "7").status == 2


HOSTILE: dict[str, Any] = {
    "batch": 10**9,
    "max_tokens": 10**18,
    "temperature": -1.0,
    "others": -1.0,
    "top_p": 2.0,
    "top_k": -1,
    "min_p": 9.0,
    "seed": -1,
    "window": 0,
    "threads": 10**6,
    "draft": "",
    "draw": 2**32,
}


@pytest.mark.parametrize("field", HOSTILE)
def test_a_record_that_no_options_allow_is_damaged(file: Path, field: str) -> None:
    program = Program("#!\n")
    turn = drawn(program, "go on", "x = 1")
    assert turn.facts and turn.accepted is not None
    facts = replace(turn.facts, setup=FACTS.setup, context=digest(program.source() + program.opening("go on")))
    chosen, changed = turn.candidates[turn.accepted], {field: HOSTILE[field]}
    if field in vars(facts):
        facts = replace(facts, **changed)
    elif field == "draw":
        chosen = replace(chosen, **changed)
    else:
        assert facts.setup
        facts = replace(facts, setup=replace(facts.setup, **changed))
    turn = replace(turn, facts=facts, candidates=(chosen,), accepted=0)
    one = Recorded(program.add(turn), "python", "", True, "")
    file.write_text(one.text + stamp(one))
    ran = run("replay", str(file))
    assert ran.status == 1 and "the record of turn 1" in ran.err and f" is damaged: {field} is " in ran.err


@pytest.mark.parametrize("digits", [23, 300, 5000])
def test_a_number_of_no_run(tiny_model: Path, digits: int) -> None:
    assert gen(tiny_model, "a", "--max-tokens", "2").status == 0  # there is a log
    ran = run("replay", "9" * digits)
    assert ran.status == 2 and "no run 9999" in ran.err
