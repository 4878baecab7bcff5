"""The programs of a folder: found by id or by file, listed whatever state they are in, removed."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.program.journal import Recording, read
from cgcli.program.operations import Add
from cgcli.program.program import Program
from cgcli.program.shelf import Shelf
from cgcli.program.turn import Turn


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "programs")


def kept(shelf: Shelf, name: str, *prompts: str | None, file: Path | None = None, age: int = 0) -> str:
    """A program of that id on the shelf. age: seconds since something was last done to it."""
    with shelf.new(Program("import csv\n"), "python") as journal:
        for prompt in prompts:
            journal.append(journal.history.commit(Add(Turn(prompt, "x = 1"))))
        if file:
            journal.append(journal.history.save(file))
        path = journal.path.rename(shelf.folder / f"{name}.jsonl")
    written = path.stat().st_mtime - age
    os.utime(path, (written, written))
    return name


def test_an_empty_shelf(shelf: Shelf) -> None:
    assert (shelf.list(), shelf.ids(), shelf.latest(), shelf.of_file(Path("a.py"), "")) == ((), (), None, None)
    with pytest.raises(UsageError, match="no program 'x'"):
        shelf.open("x")
    assert not shelf.folder.exists()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("20261123-0415", "20261123-0415"),  # itself, though others begin so
        ("20261123-0415-2", "20261123-0415-2"),
        ("-2", "20261123-0415-2"),
        ("0415-2", "20261123-0415-2"),
        ("2025", "20250101-0000"),
        ("0000", "20250101-0000"),
    ],
)
def test_a_program_is_found_by_what_is_enough_of_its_id(shelf: Shelf, wanted: str, found: str) -> None:
    for name in ("20261123-0415", "20261123-0415-2", "20250101-0000"):
        kept(shelf, name, "read")
    assert shelf.find(wanted) == found
    with shelf.open(wanted) as journal:
        assert journal.id == found


def test_what_is_not_enough_or_wrong_is_said(shelf: Shelf) -> None:
    for name in ("20261123-0415", "20261123-0415-2", "20261123-0415-3", "20261123-0416"):
        kept(shelf, name, "read", age=len(name))
    with pytest.raises(UsageError) as raised:
        shelf.read("2026")
    assert raised.value.message.startswith("4 programs are named like '2026': 2026") and "…" in raised.value.message
    with pytest.raises(UsageError, match="no program '20261123-0461', did you mean 20261123-0416"):
        shelf.remove("20261123-0461")
    with pytest.raises(UsageError, match="no program"):
        shelf.open("../programs/20261123-0416")


def test_the_list_says_what_each_is(shelf: Shelf, tmp_path: Path) -> None:
    kept(shelf, "b", None, "read a CSV\nwith a header", "sort it", file=tmp_path / "a.py", age=100)
    kept(shelf, "a", None)
    newest, older = shelf.list()
    assert (newest.id, newest.turns, newest.title, newest.file, newest.open) == ("a", 1, "", None, False)
    assert (older.id, older.turns, older.title) == ("b", 3, "read a CSV")
    assert older.file == str((tmp_path / "a.py").resolve())
    assert older.size == (shelf.folder / "b.jsonl").stat().st_size
    assert timedelta(seconds=99) < datetime.now(UTC) - older.when < timedelta(hours=1)
    with shelf.open("b"):
        assert [one.open for one in shelf.list()] == [False, True]
    assert [one.open for one in shelf.list()] == [False, False]


def test_a_damaged_program_is_listed_as_that_and_hides_nothing(shelf: Shelf, tmp_path: Path) -> None:
    kept(shelf, "good", "read", file=tmp_path / "a.py")
    kept(shelf, "bad", "read", age=9)
    (shelf.folder / "bad.jsonl").write_bytes(b"junk\n")
    (shelf.folder / "bytes.jsonl").write_bytes(b"\xff" * 99)
    found = {one.id: one for one in shelf.list()}
    assert found["good"].damage is None
    assert (found["bad"].damage or "").startswith(f"damaged: {shelf.folder / 'bad.jsonl'}, line 1: ")
    assert found["bytes"].damage and found["bytes"].size == 99
    with pytest.raises(CgcliError, match="damaged"):
        shelf.open("bad")
    shelf.remove("bad")
    assert set(shelf.ids()) == {"good", "bytes"}


def test_the_latest_is_what_was_last_worked_on(shelf: Shelf) -> None:
    kept(shelf, "20260101-0000", "old", age=50)
    kept(shelf, "20260102-0000", "new", age=100)
    with shelf.latest() or pytest.fail() as journal:
        assert journal.id == "20260101-0000"
        with pytest.raises(CgcliError, match="is open in another cgcli"):
            shelf.latest()


def test_a_program_is_found_by_its_file_and_the_text_in_it(shelf: Shelf, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    kept(shelf, "old", "read", file=file, age=100)
    kept(shelf, "new", "read", file=file)
    kept(shelf, "other", "read", file=tmp_path / "b.py")
    kept(shelf, "longer", "read", "sort", file=file)
    (shelf.folder / "junk.jsonl").write_bytes(b"junk")
    text = shelf.read("new").history.program.source()
    with shelf.of_file(tmp_path / "x" / ".." / "a.py", text) or pytest.fail() as journal:
        assert journal.id == "new"
    (tmp_path / "link.py").symlink_to(file)
    with shelf.of_file(tmp_path / "link.py", text) or pytest.fail() as journal:
        journal.append(journal.history.commit(Add(Turn("not saved yet", "y"))))
    with shelf.of_file(file, text) or pytest.fail() as journal:
        assert journal.id == "new" and len(journal.history.program.turns) == 2
        journal.append(journal.history.save(tmp_path / "elsewhere.py"))
    with shelf.of_file(file, text) or pytest.fail() as journal:
        assert journal.id == "old"
    assert shelf.of_file(file, text + "#") is None
    assert shelf.of_file(tmp_path / "c.py", text) is None


def test_removing(shelf: Shelf) -> None:
    kept(shelf, "20261123-0415", "read")
    with shelf.open("20261123-0415"), pytest.raises(CgcliError, match="is open in another cgcli"):
        shelf.remove("20261123-0415")
    assert shelf.remove("0415") == "20261123-0415"
    assert shelf.list() == () and not (shelf.folder / ".locks" / "20261123-0415.lock").exists()


@pytest.mark.parametrize("name", ["new.py", "caf\udce9.py", 'a"b\n.py'])
def test_a_file_that_no_session_wrote_makes_nobody_read_the_journals(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = ""
    for number in range(3):
        text = shelf.read(kept(shelf, f"one-{number}", "read", file=tmp_path / f"{number}.py")).history.program.source()
    parsed: list[Path] = []

    def reading(path: Path) -> Recording:
        parsed.append(path)
        return read(path)

    monkeypatch.setattr("cgcli.program.shelf.read", reading)
    assert shelf.of_file(tmp_path / name, text) is None and shelf.wrote(tmp_path / name) is None
    assert not parsed
    kept(shelf, "its", "read", file=tmp_path / name)
    assert shelf.wrote(tmp_path / name) == "its"
    with shelf.of_file(tmp_path / name, text) or pytest.fail() as journal:
        assert journal.id == "its"
    assert {path.stem for path in parsed} == {"its"}
