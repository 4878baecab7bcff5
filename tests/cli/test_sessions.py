"""`cgcli sessions` and its commands on programs that the test has made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cgcli.program.history import Add
from cgcli.program.program import Program, Turn
from cgcli.program.program_store import ProgramStore
from tests.cli.test_complete import complete
from tests.support.cli import run as cgcli

TEXT = b"import csv\n\n# read numbers\nx = '\xff'\n\n# plot\nplot(x)\n"


@pytest.fixture
def programs(tmp_path: Path) -> ProgramStore:
    return ProgramStore(tmp_path / "home" / "data" / "programs")


@pytest.fixture
def one(programs: ProgramStore, tmp_path: Path) -> str:
    """A program with something undone, saved; its id."""
    with programs.new(Program("import csv\n"), "python") as journal:
        history = journal.history
        journal.append(history.commit(Add(Turn("read numbers", "x = '\udcff'"))))
        journal.append(history.commit(Add(Turn("print\x1b[31m them", "print(x)"))))
        journal.append(history.undo())
        journal.append(history.commit(Add(Turn("plot", "plot(x)"))), history.save(tmp_path / "a.py"))
    return journal.id


def test_the_table_has_every_program(one: str, programs: ProgramStore, tmp_path: Path) -> None:
    (programs.folder / "20200101-0000.jsonl").write_bytes(b"junk\n")
    with programs.open(one):
        ran = cgcli("sessions", TZ="UTC")
    lines = [line.split() for line in ran.out.decode().splitlines()]
    assert ran.status == 0
    assert lines[0] == ["ID", "LAST", "CHANGED", "TURNS", "STATE", "TITLE", "FILE"]
    rows = {line[0]: line for line in lines[1:]}
    assert rows[one][3:] == ["2", "open", "read", "numbers", str(tmp_path / "a.py")]
    assert rows["20200101-0000"][3:] == ["damaged"]
    assert f"damaged: {programs.folder / '20200101-0000.jsonl'}, line 1" in ran.err and ran.err.count("\n") == 1


def test_without_programs_there_is_a_word_on_stderr() -> None:
    ran = cgcli("sessions")
    assert (ran.status, ran.out, ran.err) == (0, b"", "no programs yet; type: cgcli repl\n")
    assert json.loads(cgcli("sessions", "--json").out) == []


@pytest.fixture
def empty(programs: ProgramStore, tmp_path: Path) -> str:
    """A program that was only saved; its id."""
    with programs.new(Program("import csv\n"), "python") as journal:
        journal.append(journal.history.save(tmp_path / "b.py"))
    return journal.id


def test_programs_without_turns_are_not_listed_and_prune_removes_them(
    one: str, empty: str, programs: ProgramStore
) -> None:
    listed = cgcli("sessions")
    assert empty not in listed.out.decode() and one in listed.out.decode()
    assert listed.err == "1 program without turns not listed; `cgcli sessions prune` removes them\n"
    assert len(json.loads(cgcli("sessions", "--json").out)) == 2
    with programs.open(empty):
        assert cgcli("sessions", "prune").err == "nothing to remove\n"
    assert cgcli("sessions", "prune", "--dry-run").err == f"would remove {empty}\n"
    assert cgcli("sessions", "prune").err == f"removed {empty}\n"
    assert programs.ids() == (one,)


def test_prune_removes_old_programs(one: str, programs: ProgramStore) -> None:
    assert cgcli("sessions", "prune", "--days", "2").err == "nothing to remove\n"
    old = programs.list()[0].when.timestamp() - 3 * 86400
    os.utime(programs.folder / f"{one}.jsonl", (old, old))
    assert cgcli("sessions", "prune").err == "nothing to remove\n"
    assert cgcli("sessions", "prune", "--days", "2").err == f"removed {one} read numbers\n"
    assert programs.ids() == ()


def test_json(one: str, programs: ProgramStore, tmp_path: Path) -> None:
    (listed,) = json.loads(cgcli("sessions", "--json").out)
    assert listed.pop("changed").startswith("20")
    assert listed == {
        "id": one,
        "turns": 2,
        "bytes": (programs.folder / f"{one}.jsonl").stat().st_size,
        "open": False,
        "title": "read numbers",
        "file": str(tmp_path / "a.py"),
        "damage": None,
    }


def test_show_prints_the_program_byte_for_byte_open_or_not(one: str, programs: ProgramStore) -> None:
    with programs.open(one):
        ran = cgcli("sessions", "show", one[-6:])
    assert (ran.status, ran.out, ran.err) == (0, TEXT, "")


def test_show_journal_prints_the_versions(one: str) -> None:
    lines = [line.rstrip() for line in cgcli("sessions", "show", one, "--journal").out.decode().splitlines()]
    assert lines == [
        "VERSION  FROM  WHAT                            BRANCHES",
        "0              the beginning",
        "1        0     a new turn: read numbers",
        r"2        1     a new turn: print\x1b[31m them  undone-1",
        "3        1     a new turn: plot                *main",
    ]


def test_export(one: str, tmp_path: Path) -> None:
    ran = cgcli("sessions", "export", one, "md")
    assert (ran.status, ran.err) == (0, "") and ran.out.startswith(b"```python\nimport csv\n```\n\n## read numbers\n")
    assert [cell["id"] for cell in json.loads(cgcli("sessions", "export", one, "ipynb").out)["cells"]] == [
        "prefix",
        "turn-1",
        "turn-2",
    ]
    file = tmp_path / "problem.json"
    assert cgcli("sessions", "export", one, "mtpb", "-o", str(file)).out == b""
    assert json.loads(file.read_bytes())["prompts"] == ["read numbers", "plot"]
    ran = cgcli("sessions", "export", one, "ipynbb")
    assert (ran.status, ran.err) == (
        2,
        "cgcli: unknown format 'ipynbb', did you mean ipynb?; choose one of: ipynb, md, mtpb\n",
    )


def test_rm_removes_all_or_says_what_is_wrong(one: str, programs: ProgramStore) -> None:
    ran = cgcli("sessions", "rm", one, "other")
    assert (ran.status, ran.out) == (2, b"")
    assert ran.err == "cgcli: no program 'other'; type: cgcli sessions\n"
    with programs.open(one):
        ran = cgcli("sessions", "rm", one)
        assert (ran.status, ran.err) == (
            1,
            f"cgcli: program {one} is open in another cgcli; type: cgcli sessions show {one}\n",
        )
    (programs.folder / "20200101-0000.jsonl").write_bytes(b"junk\n")
    ran = cgcli("sessions", "rm", one, "2020", one)
    assert (ran.status, ran.err) == (0, f"removed {one}\nremoved 20200101-0000\n")
    assert programs.list() == ()


def test_resume_is_the_repl_on_that_program(one: str, tiny_model: Path) -> None:
    """Without a terminal it is a script: nothing typed, and the program on stdout at the end."""
    ran = cgcli("sessions", "resume", one, CGCLI_MODEL=str(tiny_model))
    assert (ran.status, ran.out) == (0, TEXT), ran.err
    assert cgcli("sessions", "resume", CGCLI_MODEL=str(tiny_model)).out == TEXT


def test_ids_and_formats_are_completed(one: str) -> None:
    for command in ("show", "rm", "export", "resume"):
        assert complete(f"sessions {command} {one[:4]}").out.decode().split() == [one]
    assert complete(f"sessions export {one} m").out.decode().split() == ["md", "mtpb"]
    assert complete("sessions show x").out.strip() == b""
