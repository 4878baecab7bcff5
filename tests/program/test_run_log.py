"""The log: what is begun and ended comes back, whatever its bytes; searches find it; faults are CgcliError."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from cgcli.core.errors import CgcliError, UsageError
from cgcli.program.history import Add
from cgcli.program.log_reader import LogReader, recorded_run
from cgcli.program.program import Layout, Program, Setup, Turn
from cgcli.program.program_store import ProgramStore
from cgcli.program.run_log import RunEnd, RunStart
from cgcli.program.source import decode, encode
from tests.program.steps import drawn, texts

SETUP = Setup("ab" * 32, "", "0.1.0", "a processor", 2, 0, 2048, False, "ngram")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogReader]:
    one = LogReader(tmp_path / "data" / "log.sqlite")
    yield one
    one.close()


def start(
    *prompts: str, before: str = "", prefix: str | None = None, file: str | None = None, folder: str = "/home/me"
) -> RunStart:
    prefix = before if prefix is None else prefix
    return RunStart(folder, ("gen", *prompts), prompts, before, prefix, "python", Layout(), True, file, {"seed": 1})


def wrote(log: LogReader, first: RunStart, text: str, status: int = 0) -> int:
    turn = drawn(Program(first.prefix), first.prompts[0] if first.prompts else None, text)
    number = log.begin(first)
    log.finish(number, first, RunEnd(text, (turn,), "ran", status))
    return number


@given(texts, texts, texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_comes_back_whatever_its_bytes(log: LogReader, prompt: str, before: str, text: str) -> None:
    prompt, before, text = (decode(encode(one)) for one in (prompt, before, text))  # as read from a file
    first = start(prompt, before=before, prefix=before or "#!\n", file="/tmp/\udcff.py", folder=f"/{prompt}")
    end = RunEnd(text, (drawn(Program(before), prompt, text),), prompt, 8)
    number = log.begin(first)
    log.finish(number, first, end)
    found = log.run(number)
    assert (found.start, found.end) == (first, end)
    assert found.program == before + text and found.state == "program failed"
    assert recorded_run(found).program == Program(first.prefix, end.turns, first.layout)


def test_what_drew_a_turn_comes_back(log: LogReader) -> None:
    first, turn = start("a"), drawn(Program(), "a", "x")
    assert turn.facts
    turn = replace(turn, facts=replace(turn.facts, setup=SETUP, stops=("\n",), batch=4))
    number = log.begin(first)
    log.finish(number, first, RunEnd("x", (turn,), "", 0))
    found = log.run(number).end
    assert found and found.turns == (turn,)


def test_only_the_owner_may_read_it(log: LogReader) -> None:
    log.begin(start("a"))
    files = list(log.path.parent.iterdir())
    assert log.path in files and {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}


def test_the_program_so_far_is_kept_once(log: LogReader) -> None:
    for _ in range(3):
        wrote(log, start("a", before="x = 1\n" * 1000), "y")
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("SELECT count(*) FROM programs").fetchone() == (1,)


def test_a_run_without_an_end_is_running_or_was_killed(log: LogReader) -> None:
    assert log.run(log.begin(start("a"))).state == "running"
    begin = (
        "import sys; from pathlib import Path; from cgcli.program.log_reader import LogReader; "
        "from tests.program.test_run_log import start; "
        "print(LogReader(Path(sys.argv[1])).begin(start('b')), flush=True); import os; os.kill(os.getpid(), 9)"
    )
    child = subprocess.run([sys.executable, "-c", begin, log.path], capture_output=True, check=False)
    assert log.run(int(child.stdout)).state == "killed"


def test_a_later_process_of_the_same_number_is_another_one(log: LogReader) -> None:
    number = log.begin(start("a"))
    log.close()
    with sqlite3.connect(log.path) as connection:
        connection.execute("UPDATE runs SET process = ?", (f"{os.getpid()} 1",))
    assert log.run(number).state == "killed"


def test_a_search_finds_prompts_and_text_by_their_beginnings(log: LogReader, tmp_path: Path) -> None:
    programs = ProgramStore(tmp_path / "programs")
    mean = wrote(log, start("the mean of a column"), "import csv\nprint(row_mean)\n")
    other = wrote(log, start("sort words"), "words.sort()\n")

    def found(words: str) -> list[int | None]:
        return [one.run.number if one.run else None for one in log.search(words, 9, programs)]

    assert found("csv mea") == [mean] and found("wor") == [other] and found("MEAN") == [mean]
    assert found("print sort") == [] and found('("words*') == [other]
    with pytest.raises(UsageError):
        found('"')


def test_a_search_finds_sessions_as_they_are_now(log: LogReader, tmp_path: Path) -> None:
    programs = ProgramStore(tmp_path / "programs")
    wrote(log, start("sort words"), "words.sort()\n")
    with programs.new(Program("import os\n"), "python") as journal:
        journal.append(journal.history.commit(Add(Turn("list the folder", "print(os.listdir())"))))
        assert [one.session for one in log.search("listdir", 9, programs)] == [journal.id]
        journal.append(journal.history.commit(Add(Turn("a zebra", "x"))))
        assert [one.prompts for one in log.search("zebra os", 9, programs)] == ["list the folder\na zebra"]
        name = journal.id
    programs.remove(name)
    assert log.search("zebra", 9, programs) == []


def test_a_program_is_found_by_its_text_its_file_and_its_folder(log: LogReader, tmp_path: Path) -> None:
    file = tmp_path / "prog.py"
    first = wrote(log, start("a", file=str(file)), "x = 1\n")
    second = wrote(log, start("b", before="x = 1\n", folder="/elsewhere"), "\ny = 2\n")

    def number(text: str) -> int | None:
        found = log.of_text(text)
        return found.number if found else None

    assert number("x = 1\n") == number("x = 1\r\n") == first
    assert number("x = 1\n\ny = 2\n") == number("\ny = 2\n") == second and number("z") is None
    by_file, last = log.of_file(file), log.last_text("/elsewhere")
    assert by_file and by_file.number == first and last and last.number == second
    assert log.last_text("/nowhere") is None


def test_a_pruned_log_has_no_programs_left_over(log: LogReader) -> None:
    wrote(log, start("a", before="x = 1\n"), "y")
    assert log.prune(1) == 0 and log.prune(0) == 1
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("SELECT count(*) FROM programs").fetchone() == (0,)
    assert log.last(9) == []


def test_a_log_that_another_process_has_locked_is_an_error_at_once(log: LogReader) -> None:
    log.begin(start("a"))
    holder = sqlite3.connect(log.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(CgcliError, match=r"cannot use the log .*: database is locked"):
        log.begin(start("b"))
    assert len(log.last(9)) == 1  # it can be read
    holder.close()
    log.begin(start("b"))


@pytest.mark.parametrize("data", [b"not a database, but a long text " * 99, b"SQLite format 3\0" + bytes(4080)])
def test_a_damaged_file_is_an_error(log: LogReader, data: bytes) -> None:
    log.path.parent.mkdir()
    log.path.write_bytes(data)
    with pytest.raises(CgcliError, match=r"the log .* is damaged"):
        log.begin(start("a"))
    assert log.path.read_bytes() == data


def test_a_page_that_is_overwritten_is_an_error(log: LogReader) -> None:
    for _ in range(30):
        wrote(log, start("a"), "some words " * 99)
    log.close()
    data = log.path.read_bytes()
    log.path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(CgcliError, match=r"the log .* is damaged"):
        log.last(9)


def test_a_log_of_a_newer_cgcli_is_left_alone(log: LogReader) -> None:
    log.begin(start("a"))
    with sqlite3.connect(log.path) as connection:
        connection.execute("PRAGMA user_version = 9")
    log.close()
    with pytest.raises(CgcliError, match="newer cgcli"):
        log.begin(start("b"))


def test_a_log_that_a_killed_run_left_is_read_where_nothing_can_be_written(
    log: LogReader, mount: Callable[..., Path]
) -> None:
    """Its last rows are in the write-ahead log alone, which SQLite cannot read there."""
    wrote(log, start("a"), "x = 1")
    disk = mount("size=4m")
    for file in log.path.parent.glob("log.sqlite*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, disk)
    assert (disk / "log.sqlite-wal").stat().st_size
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    there = LogReader(disk / log.path.name)
    assert [one.end.text for one in there.last(9) if one.end] == ["x = 1"]
    with pytest.raises(CgcliError, match="readonly"):
        there.begin(start("b"))
    there.close()
