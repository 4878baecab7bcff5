"""The programs in a folder: found by id or by file, listed even if damaged, removed."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.program.history import Add
from cgcli.program.journal import Recording, read_journal
from cgcli.program.program import Program, Turn
from cgcli.program.program_store import ProgramStore


@pytest.fixture
def store(tmp_path: Path) -> ProgramStore:
    return ProgramStore(tmp_path / "programs")


def kept(store: ProgramStore, name: str, *prompts: str | None, file: Path | None = None, age: int = 0) -> str:
    """A program of that id in the store. age: seconds since something was last done to it."""
    with store.new(Program("import csv\n"), "python") as journal:
        for prompt in prompts:
            journal.append(journal.history.commit(Add(Turn(prompt, "x = 1"))))
        if file:
            journal.append(journal.history.save(file))
        path = journal.path.rename(store.folder / f"{name}.jsonl")
    written = path.stat().st_mtime - age
    os.utime(path, (written, written))
    return name


def test_an_empty_store(store: ProgramStore) -> None:
    assert (store.list(), store.ids(), store.latest(), store.of_file(Path("a.py"), "")) == ((), (), None, None)
    with pytest.raises(UsageError, match="no program 'x'"):
        store.open("x")
    assert not store.folder.exists()


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
def test_a_program_is_found_by_what_is_enough_of_its_id(store: ProgramStore, wanted: str, found: str) -> None:
    for name in ("20261123-0415", "20261123-0415-2", "20250101-0000"):
        kept(store, name, "read")
    assert store.find(wanted) == found
    with store.open(wanted) as journal:
        assert journal.id == found


def test_an_ambiguous_or_unknown_id_is_an_error(store: ProgramStore) -> None:
    for name in ("20261123-0415", "20261123-0415-2", "20261123-0415-3", "20261123-0416"):
        kept(store, name, "read", age=len(name))
    with pytest.raises(UsageError) as raised:
        store.read("2026")
    assert raised.value.message.startswith("'2026' matches 4 programs: 2026") and "…" in raised.value.message
    with pytest.raises(UsageError, match="no program '20261123-0461', did you mean 20261123-0416"):
        store.remove("20261123-0461")
    with pytest.raises(UsageError, match="no program"):
        store.open("../programs/20261123-0416")


def test_the_list_says_what_each_is(store: ProgramStore, tmp_path: Path) -> None:
    kept(store, "b", None, "read a CSV\nwith a header", "sort it", file=tmp_path / "a.py", age=100)
    kept(store, "a", None)
    newest, older = store.list()
    assert (newest.id, newest.turns, newest.title, newest.file, newest.open) == ("a", 1, "", None, False)
    assert (older.id, older.turns, older.title) == ("b", 3, "read a CSV")
    assert older.file == str((tmp_path / "a.py").resolve())
    assert older.size == (store.folder / "b.jsonl").stat().st_size
    assert timedelta(seconds=99) < datetime.now(UTC) - older.when < timedelta(hours=1)
    with store.open("b"):
        assert [one.open for one in store.list()] == [False, True]
    assert [one.open for one in store.list()] == [False, False]


def test_a_damaged_program_is_listed_as_that_and_hides_nothing(store: ProgramStore, tmp_path: Path) -> None:
    kept(store, "good", "read", file=tmp_path / "a.py")
    kept(store, "bad", "read", age=9)
    (store.folder / "bad.jsonl").write_bytes(b"junk\n")
    (store.folder / "bytes.jsonl").write_bytes(b"\xff" * 99)
    found = {one.id: one for one in store.list()}
    assert found["good"].damage is None
    assert (found["bad"].damage or "").startswith(f"damaged: {store.folder / 'bad.jsonl'}, line 1: ")
    assert found["bytes"].damage and found["bytes"].size == 99
    with pytest.raises(CgcliError, match="damaged"):
        store.open("bad")
    store.remove("bad")
    assert set(store.ids()) == {"good", "bytes"}


def test_the_latest_is_what_was_last_worked_on(store: ProgramStore) -> None:
    kept(store, "20260101-0000", "old", age=50)
    kept(store, "20260102-0000", "new", age=100)
    with store.latest() or pytest.fail() as journal:
        assert journal.id == "20260101-0000"
        with pytest.raises(CgcliError, match="is open in another cgcli"):
            store.latest()


def test_a_program_is_found_by_its_file_and_the_text_in_it(store: ProgramStore, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    kept(store, "old", "read", file=file, age=100)
    kept(store, "new", "read", file=file)
    kept(store, "other", "read", file=tmp_path / "b.py")
    kept(store, "longer", "read", "sort", file=file)
    (store.folder / "junk.jsonl").write_bytes(b"junk")
    text = store.read("new").history.program.source()
    with store.of_file(tmp_path / "x" / ".." / "a.py", text) or pytest.fail() as journal:
        assert journal.id == "new"
    (tmp_path / "link.py").symlink_to(file)
    with store.of_file(tmp_path / "link.py", text) or pytest.fail() as journal:
        journal.append(journal.history.commit(Add(Turn("not saved yet", "y"))))
    with store.of_file(file, text) or pytest.fail() as journal:
        assert journal.id == "new" and len(journal.history.program.turns) == 2
        journal.append(journal.history.save(tmp_path / "elsewhere.py"))
    with store.of_file(file, text) or pytest.fail() as journal:
        assert journal.id == "old"
    assert store.of_file(file, text + "#") is None
    assert store.of_file(tmp_path / "c.py", text) is None


def test_removing(store: ProgramStore) -> None:
    kept(store, "20261123-0415", "read")
    with store.open("20261123-0415"), pytest.raises(CgcliError, match="is open in another cgcli"):
        store.remove("20261123-0415")
    assert store.remove("0415") == "20261123-0415"
    assert store.list() == () and not (store.folder / ".locks" / "20261123-0415.lock").exists()


@pytest.mark.parametrize("name", ["new.py", "caf\udce9.py", 'a"b\n.py'])
def test_a_file_of_no_session_reads_no_journal(
    store: ProgramStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = ""
    for number in range(3):
        text = store.read(kept(store, f"one-{number}", "read", file=tmp_path / f"{number}.py")).history.program.source()
    parsed: list[Path] = []

    def reading(path: Path) -> Recording:
        parsed.append(path)
        return read_journal(path)

    monkeypatch.setattr("cgcli.program.program_store.read_journal", reading)
    assert store.of_file(tmp_path / name, text) is None and store.saved_to(tmp_path / name) is None
    assert not parsed
    kept(store, "its", "read", file=tmp_path / name)
    assert store.saved_to(tmp_path / name) == "its"
    with store.of_file(tmp_path / name, text) or pytest.fail() as journal:
        assert journal.id == "its"
    assert {path.stem for path in parsed} == {"its"}
