"""Journals: no event that `append` confirmed is lost, and one process at a time has a program open."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import CgcliError
from cgcli.program.history import Add, Drop, History, Point
from cgcli.program.journal import Journal, hold, read_journal
from cgcli.program.program import Program, Turn
from tests.conftest import REPOSITORY
from tests.program.steps import Step, event, programs, steps
from tests.support.patience import PATIENCE_S


def begun(folder: Path, *prompts: str) -> Journal:
    journal = Journal.new(folder, Program("import csv\n"), "python")
    for prompt in prompts:
        journal.append(journal.history.commit(Add(Turn(prompt, f"# code of {prompt}"))))
    return journal


def prompts(history: History) -> list[str | None]:
    return [turn.prompt for turn in history.program.turns]


@given(programs, steps)
def test_the_file_read_again_is_the_history(program: Program, chosen: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        journal = Journal.new(Path(folder), program, "python")
        for step in chosen:
            if happens := event(journal.history, step):
                journal.append(happens)
                assert read_journal(journal.path).history == journal.history
        path = journal.path
        journal.close()
        if journal.id:
            with Journal.open(path) as again:
                assert (again.history, again.id, again.language) == (journal.history, journal.id, "python")
                assert again.note is None


def test_a_program_in_which_nothing_was_done_leaves_no_trace(tmp_path: Path) -> None:
    with Journal.new(tmp_path / "programs", Program("import csv\n"), "python") as journal:
        assert journal.id == ""
    assert not list(tmp_path.iterdir())


def test_ids_are_the_minute_and_a_number(tmp_path: Path) -> None:
    journals = [begun(tmp_path, "read") for _ in range(3)]
    ids = [journal.id for journal in journals]
    for minute in {one[:13] for one in ids}:
        assert time.strptime(minute, "%Y%m%d-%H%M")
        assert [one for one in ids if one.startswith(minute)] in (
            [minute, f"{minute}-2", f"{minute}-3"][:length] for length in (1, 2, 3)
        )
    assert [journal.path.name for journal in journals] == [f"{one}.jsonl" for one in ids]
    for journal in journals:
        journal.close()


def test_an_event_that_cannot_happen_is_not_written(tmp_path: Path) -> None:
    journal = begun(tmp_path, "read")
    before = journal.path.read_bytes()
    with pytest.raises(IndexError):
        journal.append(Point("main", 7))
    assert journal.path.read_bytes() == before
    journal.append(Point("main", 0))
    journal.close()
    assert read_journal(journal.path).history == journal.history


def test_events_that_belong_together_are_written_together(tmp_path: Path) -> None:
    journal = Journal.new(tmp_path, Program("import csv\n"), "python")
    saved = journal.history.save(tmp_path / "a.py")
    journal.append(saved, journal.history.commit(Add(Turn("read", "x"))))
    found = read_journal(journal.path).history
    assert found.saved == saved and prompts(found) == ["read"]
    journal.close()


@given(st.data())
def test_an_incomplete_last_line_is_removed_and_reported(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        journal = begun(Path(folder), "read", "sört")
        journal.close()
        whole = journal.path.read_bytes()
        journal = Journal.open(journal.path)
        journal.append(journal.history.commit(Add(Turn("print", "é\nx"))))
        journal.close()
        torn = data.draw(st.integers(1, len(journal.path.read_bytes()) - len(whole) - 1))
        os.truncate(journal.path, len(whole) + torn)
        assert prompts(read_journal(journal.path).history) == ["read", "sört"]
        with Journal.open(journal.path) as again:
            assert prompts(again.history) == ["read", "sört"]
            assert again.note == f"{journal.path}: removed the last {torn} bytes, an incomplete record"
            assert journal.path.read_bytes() == whole
            again.append(again.history.commit(Drop(0)))
        with Journal.open(journal.path) as again:
            assert prompts(again.history) == ["sört"] and again.note is None


@pytest.mark.parametrize(
    ("number", "line", "said", "hint"),
    [
        (1, b"junk", "not JSON: Expecting value: line 1 column 1 (char 0)", "sessions rm"),
        (1, b'{"format": 9}', "format is 9; this version of cgcli reads format 1", "another version"),
        (2, b"", "not JSON: Expecting value: line 1 column 1 (char 0)", "head -n 1 "),
        (3, b'{"time": "now", "event": "point", "branch": "main", "version": 9}', "no version 9", "head -n 2 "),
        (3, b'{"time": "now", "event": "dance"}', "event is 'dance', none of", "head -n 2 "),
        (4, b"\xff", "not JSON: not UTF-8 at byte 0", "head -n 3 "),
    ],
)
def test_damage_is_named_by_file_and_line(tmp_path: Path, number: int, line: bytes, said: str, hint: str) -> None:
    journal = begun(tmp_path, "read", "sort", "print")
    journal.close()
    lines = journal.path.read_bytes().split(b"\n")
    lines[number - 1] = line
    damaged = b"\n".join(lines)
    journal.path.write_bytes(damaged)
    for look in (read_journal, Journal.open):
        with pytest.raises(CgcliError) as raised:
            look(journal.path)
        assert raised.value.message.startswith(f"damaged: {journal.path}, line {number}: {said}")
        assert raised.value.hint and hint in raised.value.hint
    assert journal.path.read_bytes() == damaged


def test_a_line_that_is_missing_is_damage(tmp_path: Path) -> None:
    journal = begun(tmp_path, "read", "sort", "print")
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(CgcliError, match="line 3: version 2 is not the current one, which is 1"):
        read_journal(journal.path)


def test_opening_a_program_twice_is_an_error(tmp_path: Path) -> None:
    journal = begun(tmp_path, "read")
    with pytest.raises(CgcliError, match=f"program {journal.id} is open in another cgcli"):
        Journal.open(journal.path)
    assert prompts(read_journal(journal.path).history) == ["read"]
    journal.close()
    Journal.open(journal.path).close()


def worker(folder: Path, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.program.append", str(folder), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY)


def test_two_processes_on_one_program(tmp_path: Path) -> None:
    first = worker(tmp_path, 1)
    assert first.stdout and first.stdout.readline() == b"open\n" and first.stdout.readline() == b"1\n"
    second = worker(tmp_path, 2)
    _, said = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1 and b"is open in another cgcli" in said
    first.kill()
    first.communicate()
    (path,) = tmp_path.glob("*.jsonl")
    Journal.open(path).close()


def test_a_process_that_is_killed_loses_nothing_that_append_returned_for(tmp_path: Path) -> None:
    """One program, killed again and again at any moment of its work; each time the next one goes on with it."""
    chance = random.Random(4)
    kept, files = 0, set()
    for seed in range(8):
        process = worker(tmp_path, seed)
        assert process.stdout and process.stdout.readline() == b"open\n"
        said: list[bytes] = []
        for _ in range(chance.randint(1, 6)):
            said.append(process.stdout.readline())
        time.sleep(chance.random() * 0.02)
        process.kill()
        said += process.stdout.read().split()
        process.communicate()
        told = int(said[-1])
        files = set(tmp_path.glob("*.jsonl"))
        if files:
            (path,) = files
            recording = read_journal(path)
            # The line in flight may be whole as well.
            kept = path.read_bytes()[: recording.whole].count(b"\n") - 1
            assert told <= kept <= told + 1
    assert files and kept > 8


def test_a_full_disk_loses_nothing(mount: Callable[..., Path]) -> None:
    """What could not be written has happened all the same, and is written when there is room again."""
    disk = mount("size=64k")
    journal = begun(disk / "programs", "read")
    ballast = disk / "ballast"
    with pytest.raises(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    for prompt in ("sort", "print"):
        with pytest.raises(CgcliError) as raised:
            journal.append(journal.history.commit(Add(Turn(prompt, "x = 1\n" * 2000))))
        assert raised.value.message == f"no space left while writing {journal.path}"
        assert raised.value.hint == "it is kept in memory and written with the next step"
        assert prompts(journal.history)[-1] == prompt
        # The half of a line that there was room for is not left in the file.
        assert read_journal(journal.path).torn == 0 and prompts(read_journal(journal.path).history) == ["read"]
    ballast.unlink()
    journal.append(journal.history.undo())
    assert read_journal(journal.path).history == journal.history
    journal.close()


def test_a_full_disk_at_the_beginning(mount: Callable[..., Path]) -> None:
    disk = mount("size=64k")
    (disk / "programs" / ".locks").mkdir(parents=True)
    ballast = disk / "ballast"
    with pytest.raises(OSError):
        ballast.write_bytes(bytes(100_000))
    journal = Journal.new(disk / "programs", Program("import csv\n"), "python")
    with pytest.raises(CgcliError, match="no space left"):
        journal.append(journal.history.commit(Add(Turn("read", "x"))))
    assert not list((disk / "programs").glob("*.jsonl"))
    ballast.unlink()
    journal.close()
    assert read_journal(journal.path).history == journal.history


def test_a_disk_that_cannot_be_written_at_all(mount: Callable[..., Path]) -> None:
    disk = mount("size=64k,ro")
    journal = Journal.new(disk / "programs", Program("import csv\n"), "python")
    for prompt in ("read", "sort"):
        with pytest.raises(CgcliError, match=f"cannot write {disk}/programs.*: read-only file system"):
            journal.append(journal.history.commit(Add(Turn(prompt, "x"))))
    assert prompts(journal.history) == ["read", "sort"]
    with pytest.raises(CgcliError, match="read-only") as raised:
        journal.close()
    assert raised.value.hint == "the changes since the last write are lost"


def test_what_somebody_else_has_written_is_left_as_it_is(tmp_path: Path) -> None:
    journal = begun(tmp_path, "read")
    for more, fewer in ((b"mine\n", 0), (b"", 1)):
        whole = journal.path.read_bytes()
        changed = whole[: len(whole) - fewer] + more
        journal.path.write_bytes(changed)
        with pytest.raises(CgcliError, match="another program has changed it"):
            journal.append(journal.history.commit(Add(Turn("sort", "x"))))
        assert journal.path.read_bytes() == changed
        journal.path.write_bytes(whole)
        journal.flush()
        assert read_journal(journal.path).history == journal.history
    journal.close()


def test_reading_a_program_does_not_lock_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path, "read")
    journal.close()
    looking = hold(journal.path)
    monkeypatch.setattr("cgcli.program.journal._GLANCE_S", PATIENCE_S)
    monkeypatch.setattr("time.sleep", lambda seconds: looking.release())  # while the second waits
    Journal.open(journal.path).close()


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    begun(tmp_path / "data" / "programs", "read").close()
    assert (tmp_path / "data" / "programs").stat().st_mode & 0o777 == 0o700
