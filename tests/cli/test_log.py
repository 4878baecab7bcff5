"""`cgcli log`, and the rows that `cgcli gen` leaves in it. That a log cannot be written is no fault of a run."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.process import CGCLI, Ran

SHORT = ("--seed", "3", "--max-tokens", "8", "-t", "1", "--guard", "off")


def gen(model: Path, *arguments: str, stdin: bytes | None = None, **variables: str) -> Ran:
    return run("gen", "-m", str(model), *arguments, *SHORT, stdin=stdin, **variables)


def listed(*arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("log", *arguments, "--json").out)
    return rows


def shown(number: int) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(run("log", "show", str(number), "--json").out)
    return row


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "home" / "data" / "log.sqlite"


def test_each_run_leaves_a_row(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "prog.py"
    first = gen(tiny_model, "sort words", "print them")
    gen(tiny_model, "-o", str(file), "a zebra")
    assert [one["prompts"] for one in listed()] == [["a zebra"], ["sort words", "print them"]]
    row = shown(1)
    assert row["state"] == "done" and row["status"] == 0 and row["folder"] == str(Path.cwd())
    assert row["command"][:2] == ["gen", "-m"] and row["text"].encode() == first.out
    how = row["how"]
    assert how["model"] == tiny_model.stem and how["seed"] == 3 and how["temperature"] == 1
    assert how["sha256"].startswith("sampled-") and how["cgcli"] and how["processor"]
    assert shown(2)["file"] == str(file) and shown(2)["text"] == file.read_text()
    table = run("log").out.decode()
    assert "sort words · print them" in table and str(file) in table


def test_a_run_is_shown_and_used_again(tiny_model: Path) -> None:
    new = gen(tiny_model, "a", stdin=b"x = 1\n")
    assert run("log", "show", "1", "-r").out == new.out
    assert run("log", "use", "1").out == b"x = 1\n" + new.out
    whole = gen(tiny_model, "a", "--whole", stdin=b"x = 1\n")
    assert whole.out == run("log", "use", "2").out == b"x = 1\n" + run("log", "show", "2", "-r").out
    facts = run("log", "show", "1").out
    assert facts.startswith(b"run: 1\n") and b"\nseed: 3\n" in facts and facts.endswith(b"\n\n" + new.out)
    assert run("log", "show", "-r").out == run("log", "show", "2", "-r").out
    assert run("log", "use").out == whole.out
    gone = run("log", "show", "9")
    assert gone.status == 2 and gone.err == "cgcli: no run 9 in the log; type: cgcli log\n"


def test_a_run_shows_what_was_kept_and_why(tiny_model: Path) -> None:
    assert run("log", "show").err == "cgcli: nothing is logged yet\n"
    ran = gen(tiny_model, "a", "-n", "3", "--pick", "probable")
    kept = next(line for line in ran.err.splitlines() if line.startswith("turn 1: kept candidate "))
    facts = run("log", "show").out.decode().partition("\n\n")[0].splitlines()
    values = shown(1)["turns"][0]
    assert kept.startswith(f"turn 1: kept candidate {values['accepted'] + 1} of {len(values['candidates'])}, ")
    assert kept in facts and "candidates: 3" in facts and "exact: off" in facts
    assert not any(line.startswith(("batch:", "others:", "guard:", "sha256:")) for line in facts)


def test_a_file_that_cgcli_did_not_write_can_be_had_back(tiny_model: Path, tmp_path: Path) -> None:
    file, own = tmp_path / "own.py", b"x = 1\r\ny = '\xe9'\r\n"
    file.write_bytes(own)
    ran = gen(tiny_model, "a", "-o", str(file))
    said = f"replaced {file}: 2 lines that cgcli did not write, kept in the log: cgcli log use 1 --replaced\n"
    assert ran.status == 0 and said in ran.err and file.read_bytes() != own
    assert run("log", "use", "1", "--replaced").out == own and b"\nreplaced: 2 lines\n" in run("log", "show").out
    again = gen(tiny_model, "b", "-o", str(file))
    assert again.status == 0 and "replaced" not in again.err  # the log has that text
    none = run("log", "use", "2", "--replaced")
    assert (none.status, none.out) == (1, b"") and "run 2 replaced nothing that cgcli did not write" in none.err
    file.write_bytes(own)
    ran = gen(tiny_model, "a", "-o", str(file), "--no-log")
    assert f"replaced {file}: 2 lines that cgcli did not write\n" in ran.err


def test_words_are_searched_in_runs_and_sessions(tiny_model: Path) -> None:
    gen(tiny_model, "the mean of a column")
    gen(tiny_model, "sort words")
    script = f"the mean of all\n/save {Path('saved.py').absolute()}\n".encode()
    assert run("repl", "-m", str(tiny_model), *SHORT[:-2], stdin=script).status == 0
    Path("saved.py").unlink()
    found = listed("-q", "mean of")
    assert [one.get("prompts") for one in found] == [["the mean of all"], ["the mean of a column"]]
    assert found[0]["session"]
    none = run("log", "-q", "zebra")
    assert none.out == b"" and none.err == "nothing with the words zebra\n"


def test_c_goes_on_with_the_last_program_of_this_folder(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gen(tiny_model, "a", "--lang", "go")
    new = gen(tiny_model, "-c", "b")
    assert new.err.startswith("going on with the program of run 1: ")
    assert new.out == gen(tiny_model, "b", "--lang", "go", stdin=first.out).out and b"// b\n" in new.out
    assert gen(tiny_model, "-c", "--whole", "c").out.startswith(first.out + b"\n// b\n")
    monkeypatch.chdir(tmp_path)
    none = gen(tiny_model, "-c", "b")
    assert none.status == 2 and "no program to go on with in this folder" in none.err


def test_c_goes_on_with_what_the_repl_saved_in_this_folder(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = b"a list\n/save saved.py\n/undo\n"
    assert run("repl", "-m", str(tiny_model), *SHORT[:-2], stdin=script).status == 0
    saved = Path("saved.py").read_bytes()
    new = gen(tiny_model, "-c", "b")
    assert new.err.startswith("going on with the program of session ") and ", a list\n" in new.err
    assert new.out == gen(tiny_model, "b", "--no-log", stdin=saved).out
    assert gen(tiny_model, "-c", "--whole", "c").out.startswith(saved + new.out)  # which is later


def test_a_run_is_not_logged_where_nobody_wants_it(tiny_model: Path, tmp_path: Path, database: Path) -> None:
    gen(tiny_model, "a", "--no-log")
    gen(tiny_model, "a", CGCLI_LOG="off")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "config.toml").write_text('log = "off"\n')
    gen(tiny_model, "a")
    assert not database.exists()
    assert run("log").err == "nothing is logged yet\n"


def test_a_run_that_fails_says_so(tiny_model: Path, sandbox: None) -> None:
    assert gen(tiny_model, "a", "--check", "False").status == 8
    assert gen(tiny_model, "a", "--ctx", "1", "x" * 99).status == 6
    states = [(one["state"], one["status"]) for one in listed()]
    assert states == [("failed", 6), ("program failed", 8)]
    assert shown(1)["verdict"]


def test_old_runs_are_removed(tiny_model: Path) -> None:
    gen(tiny_model, "a")
    assert run("log", "prune").err == "removed 0 runs\n" and len(listed()) == 1
    assert run("log", "prune", "--days", "0").err == "removed 1 run\n" and listed() == []


# --- a log that cannot be written


def unwritten(model: Path, why: str) -> None:
    """A run says once that it was not logged, and is the run that it would be."""
    expected = gen(model, "a", "--no-log")
    ran = gen(model, "a")
    assert (ran.status, ran.out) == (0, expected.out)
    notes = [line for line in ran.err.splitlines() if "logged" in line]
    assert len(notes) == 1 and notes[0].startswith("not logged: ") and why in notes[0]


def test_a_log_that_is_locked(tiny_model: Path, database: Path) -> None:
    gen(tiny_model, "a")
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    unwritten(tiny_model, "database is locked")
    holder.close()


def test_a_log_that_is_locked_only_at_the_end(
    tiny_model: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gen(tiny_model, "a")
    holder = sqlite3.connect(database, isolation_level=None)

    from cgcli.app import generate

    write = generate._write

    def locking(*arguments: Any) -> Any:
        holder.execute("BEGIN IMMEDIATE")
        return write(*arguments)

    monkeypatch.setattr(generate, "_write", locking)
    ran = gen(tiny_model, "a")
    holder.close()
    assert ran.status == 0 and "logged without its text: " in ran.err


def test_a_log_that_is_damaged(tiny_model: Path, database: Path) -> None:
    database.parent.mkdir(parents=True)
    database.write_bytes(b"something else " * 999)
    unwritten(tiny_model, "is damaged: file is not a database; move it away")
    assert run("log").status == 1


def test_a_log_on_a_read_only_disk(tiny_model: Path, mount: Callable[..., Path]) -> None:
    disk = mount("size=1m")
    home = str(disk / "home")
    (disk / "home").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    expected = gen(tiny_model, "a", "--no-log", CGCLI_HOME=home)
    ran = gen(tiny_model, "a", CGCLI_HOME=home)
    assert (ran.status, ran.out) == (0, expected.out) and "not logged: " in ran.err and "read-only" in ran.err


def test_a_log_on_a_full_disk(tiny_model: Path, mount: Callable[..., Path]) -> None:
    disk = mount("size=1m")
    home = str(disk / "home")
    assert gen(tiny_model, "a", CGCLI_HOME=home).status == 0
    with pytest.raises(OSError, match="No space"), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    ran = gen(tiny_model, "a", CGCLI_HOME=home)
    assert ran.status == 0 and ran.out and "logged" in ran.err
    pruned = run("log", "prune", "--days", "0", CGCLI_HOME=home)
    assert pruned.status == 1 and "; free some space" in pruned.err
    (disk / "filler").unlink()
    assert gen(tiny_model, "b", CGCLI_HOME=home).status == 0
    assert json.loads(run("log", "--json", CGCLI_HOME=home).out)[0]["prompts"] == ["b"]


@pytest.mark.long
def test_no_text_is_without_its_row_when_runs_are_killed(bundled_model: Path, database: Path) -> None:
    """Each run is killed after some bytes of its text, or is done before."""
    rng = random.Random(1)
    begun = []
    for number in range(12):
        prompt = f"print the number {number}"
        command = [*CGCLI, "gen", "-m", "codegen-nano", "--no-stdin", "--seed", "1", prompt, "print it", "again"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            text = os.read(process.stdout.fileno(), rng.choice([1, 40, 80, 120]))
            process.send_signal(signal.SIGKILL)
            text += process.stdout.read()
        if text:
            begun.append(prompt)
        with sqlite3.connect(database) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = {one["prompts"][0]: one for one in listed("-n", "99")}
        assert set(begun) <= rows.keys()
        assert rows[prompt]["state"] == ("done" if rows[prompt]["ended"] else "killed")
    assert begun and any(one["state"] == "killed" for one in listed())


def test_numbers_that_no_log_has(tiny_model: Path) -> None:
    gen(tiny_model, "a")
    most = "9" * 30
    for command in ("show", "use"):
        ran = run("log", command, most)
        assert ran.status == 2 and f"no run {most} in the log" in ran.err
    assert len(listed("-n", most)) == len(listed("-n", most, "-q", "a")) == 1
    assert "removed 0 runs" in run("log", "prune", "--days", most).err
