"""Files that commands write: the program saved, and what is never written over."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cgcli.core.errors import UsageError
from cgcli.program.export import FORMATS
from cgcli.program.history import Saved
from cgcli.program.source import digest
from cgcli.repl.loop import attempt
from tests.repl.scripted import ScriptedReader, make_repl, play


class TestSave:
    def test_the_saved_file_is_the_program_and_runs(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/save x.py")
        text = (tmp_path / "work" / "x.py").read_text()
        assert text == repl.program.source()
        ast.parse(text)

    def test_an_unknown_file_is_overwritten_only_with_over(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        file = tmp_path / "work" / "x.py"
        file.write_text("mine\n")
        _, shown, status = play(tmp_path, "a list with ten numbers", "/save x.py")
        assert "x.py already exists and was not overwritten; overwrite it: /save x.py" in shown
        assert (file.read_text(), status) == ("mine\n", 1)
        repl, _, status = play(tmp_path, "a list with ten numbers", "/save x.py over")
        assert (file.read_text(), status) == (repl.program.source(), 0)

    def test_a_folder_is_refused_at_once(self, tmp_path: Path) -> None:
        repl, _ = make_repl(tmp_path, ScriptedReader([]))
        assert attempt(repl, "a list with ten numbers") is None
        error = attempt(repl, "/save /")
        assert error is not None and error.line == "cannot write /: it is a folder"

    def test_a_file_that_was_changed_meanwhile_is_left_alone(self, tmp_path: Path) -> None:
        repl, _ = make_repl(tmp_path, ScriptedReader([]))
        file = tmp_path / "work" / "x.py"
        for line in ("a list with ten numbers", "/save x.py", "print their mean"):
            assert attempt(repl, line) is None
        file.write_text(file.read_text() + "# mine\n")
        error = attempt(repl, "/save")
        assert error is not None
        assert error.line == "x.py changed on disk and was not overwritten; overwrite it: /save x.py over"
        assert file.read_text().endswith("# mine\n")
        assert attempt(repl, "/save x.py over") is None
        assert attempt(repl, "/drop 1") is None
        assert attempt(repl, "/save") is None  # what it holds now is known again
        assert file.read_text() == repl.program.source()

    def test_an_opened_file_may_be_replaced_and_its_journal_is_found_again(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        file = tmp_path / "work" / "x.py"
        file.write_text("import sys\n")
        play(tmp_path, "/open x.py", "a list with ten numbers")
        repl, _, _ = play(tmp_path, "/open x.py", "/undo", "/redo", "print their mean", "/save")
        assert [turn.prompt for turn in repl.program.turns] == ["a list with ten numbers", "print their mean"]
        assert file.read_text() == repl.program.source()
        assert file.read_text().startswith("import sys\n\n# a list")

    def test_a_file_to_be_is_saved_where_it_was_named(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, "/open new.go", "a list with ten numbers", "/save", "/run")
        assert "only Python programs can be run, not go; /save writes it to a file" in shown
        assert status == 2
        assert (tmp_path / "work" / "new.go").read_text().startswith("// a list with ten numbers\n")
        assert repl.language.name == "go"
        file = str((tmp_path / "work" / "new.go").resolve())
        assert repl.history.saved == Saved(file, digest(repl.program.source()))

    def test_a_full_name_and_one_with_blanks(self, tmp_path: Path) -> None:
        _, shown, _ = play(
            tmp_path, "a list with ten numbers", f"/save '{tmp_path}/two words.py'", "/save 'or three.py'"
        )
        assert (tmp_path / "two words.py").exists()
        assert "\nor three.py: 4 lines written" in shown

    @pytest.mark.parametrize("name", ["~no-such-user/x.py", "~no-such-user", "x\0y.py", "\ud800.py"])
    @pytest.mark.parametrize("line", ["/save {}", "/open {}", "/export md {}"])
    def test_what_can_be_no_name_of_a_file_is_refused(self, tmp_path: Path, line: str, name: str) -> None:
        repl, _ = make_repl(tmp_path, ScriptedReader([]))
        attempt(repl, "a list with ten numbers")
        error = attempt(repl, line.format(name))
        assert isinstance(error, UsageError)
        assert "invalid file name" in error.line

    def test_a_name_of_its_own_is_one_that_no_file_has(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "print_the_largest.py").write_text("mine")
        play(tmp_path, "print the largest", "/save")
        assert (tmp_path / "work" / "print_the_largest.py").read_text() == "mine"
        assert (tmp_path / "work" / "print_the_largest_2.py").exists()

    def test_each_form_has_a_name_of_its_own(self, tmp_path: Path) -> None:
        play(tmp_path, "print the largest", *(f"/export {form}" for form in FORMATS))
        assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [
            f"print_the_largest{suffix}" for suffix in (".ipynb", ".json", ".md")
        ]

    def test_a_program_that_does_not_parse_is_saved_and_reported(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "/n 3", "a list with ten numbers", "/pick 3", "/save")
        assert "the program is not valid Python yet" in shown
