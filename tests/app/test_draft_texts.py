"""The texts to guess from: which files of a project, in which order, and the programs of the data folder."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.app.draft_texts import draft_texts
from cgcli.app.run import Run
from cgcli.core.config import Settings
from cgcli.core.errors import UsageError
from cgcli.program.history import Add
from cgcli.program.program import Program, Turn
from cgcli.program.program_store import ProgramStore
from tests.support.cli import run as cgcli

FILES = ("a/b/program.py", "a/b/beside.py", "a/above.py", "top.py", "c/other.py", "a/b/notes.txt", "a/b/untracked.py")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose files git tracks, but for one."""
    folder = tmp_path / "project"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    (folder / "c" / "large.py").write_text("#" * 200_000)
    (folder / "c" / "empty.py").write_text("")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "add", ":!a/b/untracked.py"], check=True)
    return folder


def names(project: Path, file: Path | None, draft_from: str = "auto", draft: str = "ngram") -> list[str]:
    settings = replace(Settings(), draft=draft, draft_from=draft_from)
    found = draft_texts(Run.from_process(), settings, file)
    assert all(text.read() == Path(text.name).read_bytes() for text in found)
    return [str(Path(text.name).relative_to(project)) for text in found]


def test_the_files_of_the_project_the_nearest_first(project: Path) -> None:
    assert names(project, project / "a" / "b" / "program.py") == ["a/b/beside.py", "a/above.py", "top.py", "c/other.py"]
    assert names(project, project / "c" / "new.txt") == ["a/b/notes.txt"]  # of the same kind


def test_no_project_no_file_or_switched_off_is_no_text(project: Path, tmp_path: Path) -> None:
    (tmp_path / "lone.py").write_text("x = 1\n")
    assert names(tmp_path, tmp_path / "lone.py") == names(project, None) == []
    program = project / "a" / "b" / "program.py"
    assert names(project, program, "off") == names(project, program, draft="off") == []


def test_a_file_or_a_folder_may_be_named(project: Path, tmp_path: Path) -> None:
    assert names(project, None, str(project / "top.py")) == ["top.py"]
    (tmp_path / "plain" / ".hidden").mkdir(parents=True)
    for name in ("one.py", "two.txt", ".hidden/three.py"):
        (tmp_path / "plain" / name).write_text("x = 1\n")
    assert names(tmp_path, project / "top.py", str(tmp_path / "plain")) == ["plain/one.py"]
    shutil.copytree(tmp_path / "plain", project / "built")  # not tracked
    assert names(project, None, str(project / "built")) == ["built/one.py"]
    with pytest.raises(UsageError, match=r"--draft-from: .*nowhere does not exist"):
        names(project, None, str(tmp_path / "nowhere"))


def test_the_last_programs_are_among_them(project: Path) -> None:
    run = Run.from_process()
    programs = ProgramStore(run.environment.data / "programs")
    for number in range(12):
        with programs.new(Program(f"x = {number}\n"), "python") as journal:
            journal.append(journal.history.commit(Add(Turn("go on", "y = 1\n"))))
    found = draft_texts(run, Settings(), project / "top.py")[4:]
    assert len(found) == 10
    assert all(text.read().startswith(b"x = ") and text.read().endswith(b"# go on\ny = 1\n") for text in found)


def test_gen_guesses_from_the_project_and_writes_the_same(project: Path, tiny_model: Path) -> None:
    program, words = project / "a" / "b" / "program.py", ("--seed", "1", "-t", "0", "--max-tokens", "40", "--exact")
    texts = []
    for option in ("auto", "off", "auto"):
        program.write_text("x = 1\n")
        ran = cgcli("-v", "gen", "go on", "--into", str(program), "-m", str(tiny_model), *words, "--draft-from", option)
        assert ran.status == 0, ran.err
        assert ("guessing also from 4 other texts" in ran.err) is (option == "auto")
        texts.append(program.read_bytes())
    assert len(set(texts)) == 1
    assert len(list((project.parent / "home" / "cache" / "ngrams").iterdir())) == 1


def test_a_repl_of_a_file_guesses_from_its_project(project: Path, tiny_model: Path) -> None:
    ran = cgcli("-v", "repl", str(project / "top.py"), "-m", str(tiny_model), "--max-tokens", "4", stdin=b"go on\n")
    assert "guessing also from 4 other texts" in ran.err
