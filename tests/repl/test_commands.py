"""What commands do beyond what a transcript shows: files, interruptions, folding, scripts, and whatever is typed."""

from __future__ import annotations

import ast
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgcli.core.config import Settings
from cgcli.core.errors import CgcliError, UsageError
from cgcli.native.interrupt import Interrupt
from cgcli.program.export import FORMS
from cgcli.program.history import Event, Saved
from cgcli.program.program import digest
from cgcli.repl.command import COMMANDS
from cgcli.repl.loop import attempt, loop
from cgcli.repl.state import Repl
from tests.repl.scripted import ANSWERS, AnsweringEngine, ScriptedReader, make_repl


def play(folder: Path, *lines: str, choices: Sequence[int] = (), **how: object) -> tuple[Repl, str, int]:
    """A session of these lines: the REPL after it, what was shown, the status."""
    repl, out = make_repl(folder, ScriptedReader(lines, choices), **how)  # type: ignore[arg-type]
    status = loop(repl)
    repl.close()
    return repl, out.getvalue(), status


def test_help_is_one_screen() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, shown, _ = play(Path(folder), "/help")
    rows = shown.splitlines()
    assert len(rows) < 24
    assert max(map(len, rows)) <= 80
    for name, command in COMMANDS.items():
        assert f"{command.usage} " in shown, name
        assert command.summary in shown, name


def test_commands_are_all_that_was_asked_for() -> None:
    wanted = """help show undo redo retry n pick diff edit code drop move branch switch replay from run auto save open
        export model set seed why ask stats clear quit"""
    assert sorted(COMMANDS) == sorted(wanted.split())


class TestSave:
    def test_what_is_saved_is_the_program_and_runs(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/save x.py")
        text = (tmp_path / "work" / "x.py").read_text()
        assert text == repl.program.source()
        ast.parse(text)

    def test_a_file_that_nobody_knows_is_left_alone_until_told_twice(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        file = tmp_path / "work" / "x.py"
        file.write_text("mine\n")
        _, shown, status = play(tmp_path, "a list with ten numbers", "/save x.py")
        assert "x.py is there already, and is left as it is; /save x.py over" in shown
        assert (file.read_text(), status) == ("mine\n", 1)
        repl, _, status = play(tmp_path, "a list with ten numbers", "/save x.py over")
        assert (file.read_text(), status) == (repl.program.source(), 0)

    def test_a_file_that_was_changed_meanwhile_is_left_alone(self, tmp_path: Path) -> None:
        repl, _ = make_repl(tmp_path, ScriptedReader([]))
        file = tmp_path / "work" / "x.py"
        for line in ("a list with ten numbers", "/save x.py", "print their mean"):
            assert attempt(repl, line) is None
        file.write_text(file.read_text() + "# mine\n")
        error = attempt(repl, "/save")
        assert error is not None
        assert error.line == "x.py was changed meanwhile, and is left as it is; /save x.py over"
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
        assert "only Python programs are run here, this one is go; /save it" in shown
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
        assert "no file can be called" in error.line

    def test_a_name_of_its_own_is_one_that_no_file_has(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "print_the_largest.py").write_text("mine")
        play(tmp_path, "print the largest", "/save")
        assert (tmp_path / "work" / "print_the_largest.py").read_text() == "mine"
        assert (tmp_path / "work" / "print_the_largest_2.py").exists()

    def test_each_form_has_a_name_of_its_own(self, tmp_path: Path) -> None:
        play(tmp_path, "print the largest", *(f"/export {form}" for form in FORMS))
        assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [
            f"print_the_largest{suffix}" for suffix in (".ipynb", ".json", ".md")
        ]

    def test_what_does_not_parse_is_saved_and_told(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "/n 3", "a list with ten numbers", "/pick 3", "/save")
        assert "it is not valid Python yet" in shown


def test_a_branch_has_a_name(tmp_path: Path) -> None:
    repl, shown, status = play(tmp_path, "/branch ''", "/branch ' '")
    assert list(repl.history.branches) == ["main"]
    assert "a branch needs a name" in shown
    assert status == 2


class TestDrawing:
    def test_an_interrupted_turn_is_kept_and_told(self, tmp_path: Path) -> None:
        engine = AnsweringEngine(interrupt_after=4)
        repl, shown, status = play(tmp_path, "a list with ten numbers", "/show", engine=engine)
        assert repl.program.turns[0].completion == "numbers = li"
        assert "interrupted, what was written is kept: /undo takes it back, /retry 1 draws again" in shown
        assert "ten numbers  interrupted" in shown
        assert status == 0

    def test_nothing_written_before_the_interruption_changes_nothing(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, "two lines", engine=AnsweringEngine(interrupt_after=0))
        assert not repl.program.turns
        assert "cgcli: interrupted before anything was written" in shown
        assert status == 130

    def test_what_is_cut_says_how_to_go_on(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "no end", settings=Settings(seed=1, max_tokens=7))
        assert "cut at 7 tokens: /from 6 goes on" in shown

    def test_a_cut_turn_that_is_not_the_last_goes_on_where_it_ends(self, tmp_path: Path) -> None:
        how = Settings(seed=1, max_tokens=7)
        lines = "no end", "print the largest", "/retry 1"
        repl, shown, _ = play(tmp_path, *lines, settings=how)
        hint = re.findall(r"(/from \d+) goes on", shown)[-1]
        again, _, status = play(tmp_path, *lines, hint, settings=how)
        assert status == 0
        before, after = repl.program.turns, again.program.turns
        assert after[0].completion.startswith(before[0].completion)
        assert after[0].completion.endswith("rest = 0")
        assert after[1].completion == before[1].completion

    def test_the_comment_of_a_turn_draws_all_of_it_again(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        play(tmp_path, "two lines", "print the largest", "/from 8", engine=engine)
        assert engine.requests[-1].context.endswith(b"\n\n# print the largest\n")

    @pytest.mark.parametrize("other", ["/seed 9", "/model other", "/set temperature 0.9", "/set max_tokens 99"])
    def test_candidates_that_were_drawn_otherwise_do_not_stay(self, tmp_path: Path, other: str) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", other, "/retry", engine=engine)
        assert [one.draw for one in repl.program.turns[0].candidates] == [0]
        assert [request.candidate for request in engine.requests] == [0, 0]

    def test_a_retry_makes_the_next_draws(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/retry", "/retry 1", engine=engine)
        assert [request.candidate for request in engine.requests] == [0, 1, 2]
        assert [one.draw for one in repl.program.turns[0].candidates] == [0, 1, 2]
        assert repl.program.turns[0].accepted == 2
        assert not repl.program.stale()

    def test_a_reworded_turn_begins_with_new_candidates(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/retry", "/edit 1 print the largest", engine=engine)
        assert [request.candidate for request in engine.requests] == [0, 1, 0]
        assert [one.text for one in repl.program.turns[0].candidates] == ["print(max(numbers))"]

    def test_a_stale_turn_begins_with_new_candidates(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "print the largest", "print their mean", "/drop 1", "/retry")
        assert len(repl.program.turns[0].candidates) == 1
        assert not repl.program.stale()

    def test_turns_are_redrawn_behind_what_is_before_them_only(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        play(tmp_path, "a list with ten numbers", "print their mean", "/retry 1", engine=engine)
        assert b"mean" not in engine.requests[-1].context
        assert engine.requests[-1].turn == 0

    def test_going_on_from_a_line_keeps_what_is_before_it(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "two lines", "/from 5", engine=engine)
        assert engine.requests[-1].context.endswith(b"# two lines\nfirst = 1\n")
        assert repl.program.turns[0].completion == "first = 1\nrest = 0"

    def test_going_on_from_the_end_takes_the_last_turn(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "two lines", "print their mean", "/from 9")
        assert repl.program.turns[1].completion.endswith("len(numbers))\nrest = 0")

    def test_the_chosen_candidate_stands(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "/n 2", "a list with ten numbers", choices=[1])
        assert repl.program.turns[0].completion == "numbers = [1, 2, 3]"
        assert repl.program.turns[0].accepted == 1

    def test_an_empty_candidate_is_not_taken(self, tmp_path: Path) -> None:
        repl, shown, status = play(tmp_path, "now and then", "/show 1", "/pick 1")
        assert repl.program.turns[0].completion == "x = 1"
        assert "  candidate 1: log-probability -0.50, empty\n" in shown
        assert "candidate 1 is empty; take another one" in shown
        assert status == 2

    @pytest.mark.parametrize("line", ["now and then", "/pick"])
    def test_the_chooser_does_not_take_an_empty_one_either(self, tmp_path: Path, line: str) -> None:
        how = {"choices": [0, 1] if line == "now and then" else [1, 0, 1]}
        repl, shown, status = play(tmp_path, "/n 2", "now and then", *[line] * (line == "/pick"), **how)
        assert len(repl.program.turns) == 1
        assert repl.program.turns[0].completion == "x = 1"
        assert shown.count("candidate 1 is empty") == 1
        assert status == 0

    def test_a_replay_asks_for_no_choice(self, tmp_path: Path) -> None:
        repl, _, _ = play(
            tmp_path, "/n 2", "a list with ten numbers", "print the largest", "/pick 1", "/drop 1", "/replay",
            choices=[1, 1, 1],
        )  # fmt: skip
        assert len(repl.reader.cards) == 2  # type: ignore[attr-defined]
        assert not repl.program.stale()

    def test_a_replay_is_run_once_when_all_is_drawn(self, tmp_path: Path) -> None:
        repl, shown, status = play(
            tmp_path, "a list with two numbers", "print their mean", "print the largest", "/set unsafe on",
            "/edit 1 two lines", "/auto on", "/replay",
        )  # fmt: skip
        assert not repl.program.stale()
        assert list(repl.history.runs) == [digest(repl.program.source())]
        assert "ZeroDivisionError" in shown
        assert status == 8

    def test_what_is_folded_is_told_before(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.py").write_text("# " + "long " * 50 + "\n" + "import sys\n")
        engine = AnsweringEngine(window=300)
        how = Settings(seed=1, max_tokens=60)
        repl, shown, status = play(
            tmp_path, "/open x.py", "print the largest", "/retry", "/diff fold", "/set fold off", "print their mean",
            engine=engine, settings=how, width=200,
        )  # fmt: skip
        told = shown.index(
            "too long for the window of 300 tokens, the model does not read: prefix: comments; 253 tokens less"
        )
        assert told < shown.index("-# long long") < shown.index("print(max(numbers))")
        assert shown.count("does not read: prefix") == 2
        assert shown.count("-# long long") == 2  # once told, and not where it is the same again; once asked for
        assert "the window has 300 tokens" in shown  # and not folded, refused
        assert status == 6
        assert repl.program.source().startswith("# long long")
        assert repl.program.turns[0].facts is not None
        assert repl.program.turns[0].facts.folded > 0

    def test_what_is_folded_is_told_once_where_prompts_are_compared(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.py").write_text("# " + "long " * 50 + "\n" + "import sys\n")
        _, shown, status = play(
            tmp_path, "/open x.py", "/ask one | two", "/diff fold", engine=AnsweringEngine(window=300),
            settings=Settings(seed=1, max_tokens=60), width=200,
        )  # fmt: skip
        assert shown.count("does not read: prefix: comments") == 1
        assert shown.index("does not read") < shown.index("2.7  one")
        assert shown.count("-# long long") == 2  # told with it, and asked for
        assert status == 0

    def test_prompts_are_compared_without_a_trace(self, tmp_path: Path) -> None:
        engine = AnsweringEngine()
        repl, _, _ = play(tmp_path, "a list with ten numbers", "/ask one | two", engine=engine)
        assert engine.asides == [repl.program.source().encode()]

    def test_a_window_that_is_nearly_full_is_told_before(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "x.py").write_text("x = 1\n" * 45)
        engine, how = AnsweringEngine(window=400), Settings(seed=1, max_tokens=100)
        lines = "/open x.py", "count", "print the largest"
        _, shown, status = play(tmp_path, *lines, engine=engine, settings=how)
        told = [line for line in shown.splitlines() if "room for" in line]
        assert told == ["the window of 400 tokens has room for 65 more, not for 100"]
        assert shown.index("range(50)") < shown.index("room for") < shown.index("print(max(numbers))")
        assert status == 0


class TestRunning:
    def test_what_goes_to_stderr_is_not_what_a_program_prints(self, tmp_path: Path) -> None:
        repl, shown, _ = play(tmp_path, "/set unsafe on", "warn", "/run", "/show 1", "/export mtpb x.json")
        run = repl.history.run_of(repl.program)
        assert run is not None
        assert (run.output, run.errors) == ("42\n", "careful")
        assert "parses, prints 42\n" in shown
        assert json.loads((tmp_path / "work" / "x.json").read_text())["outputs"] == [42]

    def test_what_a_candidate_prints_is_told_in_a_line(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "/set unsafe on", "/n 2", "shout", "/run all", "/show 1")
        assert "parses, prints zzzz" in shown
        told = [line for line in shown.splitlines() if "parses, " in line and "zzz" in line]
        assert len(told) == 6  # of both: after the runs, in the chooser, by /show
        assert all(len(line) < 110 and line.rstrip("]").endswith("…") for line in told)


class TestScripts:
    def test_code_is_not_shown_while_it_comes(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "a list with ten numbers", script=True)
        assert "perplexity 2.7" in shown
        assert "numbers =" not in shown

    def test_the_status_is_that_of_the_last_error(self, tmp_path: Path) -> None:
        assert play(tmp_path, "a list with ten numbers", "/show")[2] == 0
        assert play(tmp_path, "nothing", "/shwo", "a list with ten numbers")[2] == 2
        assert play(tmp_path, "/shwo", "nothing")[2] == 1

    def test_quit_ends_it(self, tmp_path: Path) -> None:
        repl, _, _ = play(tmp_path, "/quit", "a list with ten numbers")
        assert not repl.program.turns

    def test_nobody_is_asked_for_new_words(self, tmp_path: Path) -> None:
        repl, shown, _ = play(tmp_path, "a list with ten numbers", "/edit 1", "/show", script=True)
        assert "a script says the new words: /edit 1 WORDS" in shown
        assert len(repl.reader.defaults) == 4  # type: ignore[attr-defined]


def test_without_a_sandbox_a_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.sandbox.bubblewrap._WHERE", str(tmp_path))  # where no bubblewrap is
    repl, shown, status = play(tmp_path, "a list with ten numbers", "/run", "/set unsafe on", "/run")
    assert "/set unsafe on runs programs without it" in shown
    assert status == 7
    assert len(repl.history.runs) == 1


def test_a_failure_names_the_turn_whose_line_failed(tmp_path: Path) -> None:
    lines = "/set unsafe on", "print the largest", "two lines", "print their mean", "/run"
    _, shown, status = play(tmp_path, *lines, width=200)
    assert "NameError: name 'numbers' is not defined, line 4, after" in shown
    assert "s; /retry 1, or /code 1\n" in shown
    assert status == 8


class TestLoop:
    def test_what_is_typed_meanwhile_stands_in_the_next_prompt(self, tmp_path: Path) -> None:
        reader = ScriptedReader(["/show", "/show"])
        reader.typeahead = "print the"
        repl, _ = make_repl(tmp_path, reader)
        loop(repl)
        assert reader.defaults == ["", "print the", ""]

    def test_the_line_to_edit_has_the_prompt_in_it(self, tmp_path: Path) -> None:
        reader = ScriptedReader(["a list with ten numbers", "/edit 1", "print the largest"])
        repl, _ = make_repl(tmp_path, reader)
        loop(repl)
        assert reader.defaults[2] == "a list with ten numbers"
        assert [turn.prompt for turn in repl.program.turns] == ["print the largest"]
        assert repl.turn is None

    def test_the_end_of_input_leaves_a_prompt_that_is_edited_alone(self, tmp_path: Path) -> None:
        _, shown, status = play(tmp_path, "a list with ten numbers", "/edit 1")
        assert "turn 1 is left as it was" in shown
        assert status == 0

    def test_a_command_is_no_new_prompt_of_a_turn(self, tmp_path: Path) -> None:
        reader = ScriptedReader(["a list with ten numbers", "/edit 1", "/quit", "print the largest"])
        repl, out = make_repl(tmp_path, reader)
        loop(repl)
        assert reader.defaults[2:4] == ["a list with ten numbers"] * 2
        assert "cgcli: a prompt, not a command: Ctrl-C leaves turn 1 as it is\n" in out.getvalue()
        assert [turn.prompt for turn in repl.program.turns] == ["print the largest"]

    def test_a_prompt_with_a_slash_is_typed_and_edited_with_two(self, tmp_path: Path) -> None:
        reader = ScriptedReader(["//tmp is read", "/edit 1", "//tmp is written"])
        repl, _ = make_repl(tmp_path, reader)
        loop(repl)
        assert reader.defaults[2] == "//tmp is read"
        assert [turn.prompt for turn in repl.program.turns] == ["/tmp is written"]

    def test_an_unexpected_error_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        repl, out = make_repl(tmp_path, ScriptedReader([]))
        monkeypatch.setattr(repl.models, "choose", lambda name: 1 / 0)
        error = attempt(repl, "/model x")
        assert error is not None
        assert error.message == "internal error: ZeroDivisionError: division by zero"
        assert out.getvalue() == ""
        attempt(repl, "/model x", debug=True)
        assert "Traceback" in out.getvalue()

    def test_an_interruption_of_a_command_ends_only_that(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(name: str) -> None:
            raise KeyboardInterrupt

        repl, _ = make_repl(tmp_path, ScriptedReader([]))
        monkeypatch.setattr(repl.models, "choose", interrupted)
        error = attempt(repl, "/model x")
        assert error is not None
        assert error.status == 130

    def test_ctrl_c_stops_running_candidates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        repl, _ = make_repl(tmp_path, ScriptedReader([]))
        repl.set("unsafe", "on")
        attempt(repl, "/n 3")
        attempt(repl, "a list with ten numbers")
        real = repl.do

        def done_and_interrupted(event: Event) -> None:
            real(event)
            Interrupt().set()

        monkeypatch.setattr(repl, "do", done_and_interrupted)
        attempt(repl, "/run all")
        assert len(repl.history.runs) == 1

    def test_what_the_disk_does_not_take_has_happened(self, tmp_path: Path) -> None:
        (tmp_path / "programs").write_text("in the way")
        repl, shown, status = play_unclosed(tmp_path, "a list with ten numbers", "/show")
        assert len(repl.program.turns) == 1
        assert "written with the next step" in shown
        assert status == 1
        (tmp_path / "programs").unlink()
        repl.close()
        again = repl.shelf.latest()
        assert again is not None
        assert again.history.program == repl.program


def play_unclosed(folder: Path, *lines: str) -> tuple[Repl, str, int]:
    repl, out = make_repl(folder, ScriptedReader(lines))
    status = loop(repl)
    return repl, out.getvalue(), status


ARGUMENTS = ["", "1", "2", "3", "9", "0", "-1", "x", "all", "fold", "on", "off", "main", "other", "a.py", "over", "'",
             "md", "temperature 0.5", "seed x", "1 2", "2 1", "1 words", "|", "a | b",
             "/help", "\\", "unsafe"]  # fmt: skip
RUNS = {"run", "auto"}  # a process each: the transcripts have them
LINES = st.one_of(
    st.builds(
        lambda name, argument: f"/{name} {argument}",
        st.sampled_from(sorted({*COMMANDS} - RUNS)),
        st.sampled_from(ARGUMENTS),
    ),
    st.sampled_from(sorted(ANSWERS)),
    st.text(min_size=1, max_size=12).filter(str.strip),
)


@settings(max_examples=150)
@given(st.lists(LINES, max_size=25), st.lists(st.integers(0, 2), max_size=3))
def test_no_line_ends_the_loop(lines: list[str], choices: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reader = ScriptedReader(lines, choices, edits=["x = 1\n", "", "\udcff"])
        repl, out = make_repl(Path(folder), reader)
        status = loop(repl)
        repl.close()
        assert "internal error" not in out.getvalue()
        assert status in (0, 1, 2, 3, 6)
        assert not reader.lines or repl.ended
        # Whatever was done is on disk, and comes back the same.
        if repl.journal.id:
            again = repl.shelf.open(repl.journal.id)
            assert again.history == repl.history
            again.close()


def test_a_known_error_is_no_internal_one(tmp_path: Path) -> None:
    repl, _ = make_repl(tmp_path, ScriptedReader([]))
    error = attempt(repl, "/open /")
    assert isinstance(error, CgcliError)
    assert "internal" not in error.line
