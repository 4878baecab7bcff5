"""What the toolbar and completion show of a REPL."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import CgcliError
from cgcli.program.program import Program
from cgcli.repl.command import COMMANDS
from cgcli.repl.loop import attempt
from cgcli.repl.state import Repl
from cgcli.repl.status import StatusBar, last_word, shell_quoted
from tests.repl.scripted import AnsweringEngine, ScriptedReader, make_repl


def look(folder: Path, *lines: str, engine: AnsweringEngine | None = None) -> tuple[StatusBar, Repl]:
    repl, _ = make_repl(folder, ScriptedReader([]), engine=engine)
    bar = StatusBar(repl)
    for line in lines:
        assert attempt(repl, line) is None
    return bar, repl


def offered(bar: StatusBar, typed: str) -> list[str]:
    """What lines `typed` could become."""
    return [typed[: one.start] + one.text for one in bar.completions(typed)]


class TestStatus:
    def test_before_the_model_is_there(self, tmp_path: Path) -> None:
        bar, _ = look(tmp_path)
        now = bar.status()
        assert (now.model, now.quant, now.turn, now.window, now.state) == ("tiny", "q8_0", 1, 0, "not loaded")

    def test_after_a_turn(self, tmp_path: Path) -> None:
        bar, repl = look(tmp_path, "a list with ten numbers", "/branch other")
        now = bar.status()
        assert (now.turn, now.tokens, now.window) == (2, len(repl.program.source()), 100_000)
        assert (now.state, now.branch, now.stale, now.clarity) == ("", "other", 0, "")
        assert now.perplexity == pytest.approx(2.718, abs=0.001)

    def test_tokens_follow_the_program(self, tmp_path: Path) -> None:
        bar, repl = look(tmp_path, "a list with ten numbers")
        before = bar.status().tokens
        attempt(repl, "print their mean")
        assert bar.status().tokens == len(repl.program.source()) > before
        attempt(repl, "/edit 1 a list with two numbers")
        assert bar.status().stale == 1

    def test_the_gauge_is_of_a_turn_that_is_there(self, tmp_path: Path) -> None:
        bar, repl = look(tmp_path, "a list with ten numbers", "print their mean")
        first, second = (turn.facts.prompt_perplexity for turn in repl.program.turns if turn.facts)
        assert bar.status().perplexity == second and repl.last.reading is not None
        attempt(repl, "/undo")
        assert bar.status().perplexity == first and repl.last.reading is None
        attempt(repl, "/undo")
        assert bar.status().perplexity is None

    def test_of_a_folded_program_what_the_model_read_counts(self, tmp_path: Path) -> None:
        engine = AnsweringEngine(window=300)
        bar, repl = look(tmp_path, "/set max_tokens 60", engine=engine)
        (repl.folder / "x.py").write_text("# " + "long " * 50 + "\nimport sys\n")
        repl.loader.wait()
        assert attempt(repl, "/open x.py") is None
        assert bar.status().tokens == len(repl.program.source())
        assert attempt(repl, "print the largest") is None
        assert repl.last.reading is not None and repl.last.reading.plan.fold is not None
        assert bar.status().tokens == repl.last.reading.plan.tokens < 60
        assert attempt(repl, "/clear") is None
        assert bar.status().tokens == len(repl.program.source()) > 0

    def test_stale_turns_are_counted_once_a_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        counted: list[Program] = []
        real = Program.stale

        def stale(program: Program) -> tuple[int, ...]:
            counted.append(program)
            return real(program)

        monkeypatch.setattr(Program, "stale", stale)
        bar, repl = look(tmp_path, "a list with ten numbers", "print their mean", "/edit 1 a list with two numbers")
        del counted[:]
        assert [bar.status().stale for _ in range(3)] == [1, 1, 1]
        assert counted == [repl.program]

    def test_a_program_too_long_to_count_fills_the_window(self, tmp_path: Path) -> None:
        class Full(AnsweringEngine):
            def count(self, text: bytes) -> int:
                if len(text) > 60:
                    raise CgcliError("too long")
                return super().count(text)

        bar, repl = look(tmp_path, engine=Full(window=80))
        repl.loader.wait()
        (tmp_path / "work" / "x.py").write_text("x" * 100)
        assert attempt(repl, "/open x.py") is None
        assert bar.status().tokens == 80


class TestCompletion:
    def test_commands(self, tmp_path: Path) -> None:
        bar, _ = look(tmp_path)
        assert offered(bar, "/re") == ["/retry", "/replay", "/redo"]
        assert len(offered(bar, "/")) == len(COMMANDS)
        assert offered(bar, "//re") == []
        assert offered(bar, "/nothing x") == []

    def test_turns_come_with_their_prompts(self, tmp_path: Path) -> None:
        bar, _ = look(tmp_path, "a list with ten numbers", "print their mean")
        assert [(one.text, one.about) for one in bar.completions("/drop ")] == [
            ("1", "a list with ten numbers"),
            ("2", "print their mean"),
        ]
        assert offered(bar, "/move 1 ") == ["/move 1 1", "/move 1 2"]
        assert offered(bar, "/drop 1 ") == []

    def test_words_of_each_kind(self, tmp_path: Path) -> None:
        bar, _ = look(tmp_path, "/n 2", "a list with ten numbers", "/branch other")
        assert offered(bar, "/switch ma") == ["/switch main"]
        assert offered(bar, "/set te") == ["/set temperature"]
        assert offered(bar, "/model br") == ["/model broken"]
        assert offered(bar, "/auto o") == ["/auto on", "/auto off"]
        assert offered(bar, "/export i") == ["/export ipynb"]
        assert offered(bar, "/pick ") == ["/pick 1", "/pick 2"]
        assert offered(bar, "/diff f") == ["/diff fold"]
        assert offered(bar, "/show a") == ["/show all"]
        assert offered(bar, "/help und") == ["/help undo"]
        assert offered(bar, "/save x.py o") == ["/save x.py over"]

    @pytest.mark.parametrize(
        ("typed", "values"),
        [
            ("guard ", ["on", "off"]),
            ("unsafe o", ["on", "off"]),
            ("until r", ["runs"]),
            ("pick t", ["tests"]),
            ("color ", ["auto", "always", "never"]),
            ("read ", ["off", "a.csv", "b.csv"]),
            ("read a.csv b", ["b.csv"]),
            ("guard on o", []),
            ("temperature ", []),
            ("model ", []),
            ("nothing ", []),
        ],
    )
    def test_values_of_settings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, values: list[str]
    ) -> None:
        bar, repl = look(tmp_path)
        monkeypatch.chdir(repl.folder)
        for name in ("a.csv", "b.csv"):
            (repl.folder / name).touch()
        begun = f"/set {typed}".rpartition(" ")[0]
        assert offered(bar, f"/set {typed}") == [f"{begun} {value}" for value in values]
        for value in values:
            assert attempt(repl, f"{begun} {value}") is None

    def test_files(self, tmp_path: Path) -> None:
        bar, repl = look(tmp_path)
        for name in ("one.py", "two words.py", ".hidden"):
            (repl.folder / name).touch()
        (repl.folder / "folder").mkdir()
        (repl.folder / "folder" / "inner.py").touch()
        assert offered(bar, "/open o") == ["/open one.py"]
        assert offered(bar, "/open ") == ["/open folder/", "/open one.py", "/open 'two words.py'"]
        assert offered(bar, "/open folder/") == ["/open folder/inner.py"]
        assert offered(bar, f"/open {tmp_path}/work/on") == [f"/open {tmp_path}/work/one.py"]
        assert offered(bar, "/open no/such/") == []

    @pytest.mark.parametrize(
        ("typed", "becomes"),
        [
            ("/open tw", ["/open 'two words.py'"]),
            ("/open 'two", ["/open 'two words.py'"]),
            ("/open 'two w", ["/open 'two words.py'"]),
            ('/open "two w', ["/open 'two words.py'"]),
            ("/open two\\ w", ["/open 'two words.py'"]),
            ("/open two\\", ["/open 'two words.py'"]),
            ("/open 'a folder'/", ["/open 'a folder/inner.py'"]),
            ("/export md tw", ["/export md 'two words.py'"]),
            ("/export md 'two words.py' o", ["/export md 'two words.py' over"]),
            ("/open two w", []),
            ("/open ~/on", ["/open ~/one.py"]),
            ("/open ~/tw", ["/open ~/'two words.py'"]),
            ("/open ~/'two w", ["/open ~/'two words.py'"]),
            ("/open ~", []),
            ("/open ~no-such-user/", []),
            ("/open ~no-such-user", []),
            ("/open a\0/", []),
            ("/open \ud800/", []),
        ],
    )
    def test_file_names_in_quotes_and_at_home(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, becomes: list[str]
    ) -> None:
        bar, repl = look(tmp_path)
        monkeypatch.setenv("HOME", str(repl.folder))
        for name in ("one.py", "two words.py"):
            (repl.folder / name).touch()
        (repl.folder / "a folder").mkdir()
        (repl.folder / "a folder" / "inner.py").touch()
        assert offered(bar, typed) == becomes
        for line in becomes:
            assert "internal" not in str(attempt(repl, line))
            assert not list(bar.completions(line))

    def test_names_that_the_program_defines(self, tmp_path: Path) -> None:
        bar, _ = look(tmp_path, "two lines", "clear the folder", "a list with ten numbers")
        assert offered(bar, "print sec") == ["print second"]
        assert offered(bar, "use shu") == ["use shutil"]
        assert offered(bar, "use ") == []
        assert offered(bar, "use numbers") == []
        assert offered(bar, "1") == []


words = st.text(alphabet="ab '\"\\~/\t\n", max_size=8)


@given(st.lists(words.filter(bool), max_size=3), words.filter(bool))
def test_a_word_in_quotes_is_that_word(before: list[str], word: str) -> None:
    begun = "".join(f"{shell_quoted(one)} " for one in before)
    assert shlex.split(shell_quoted(word)) == [word]
    assert last_word(begun + shell_quoted(word)) == (before, len(begun), word)
    assert last_word(begun) == (before, len(begun), "")


@given(words)
def test_what_is_typed_next_goes_behind_the_beginning_of_the_last_word(line: str) -> None:
    before, begin, _ = last_word(line)
    assert shlex.split(line[:begin]) == before
    assert not begin or line[begin - 1].isspace()
