"""What commands do beyond what a transcript shows: interruptions, scripts, and whatever is typed."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgcli.core.errors import CgcliError
from cgcli.native.interrupt import Interrupt
from cgcli.program.history import Event
from cgcli.program.program_store import ProgramStore
from cgcli.repl import running
from cgcli.repl.command import COMMANDS
from cgcli.repl.loop import attempt, loop
from cgcli.repl.plain_terminal import Script
from cgcli.repl.state import Repl
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict
from tests.repl.scripted import ANSWERS, ScriptedReader, make_repl, play


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
    wanted = """help show undo redo retry n pick start diff edit code drop move branch switch replay from fill run auto
        save open export copy model set seed why compare stats clear quit"""
    assert sorted(COMMANDS) == sorted(wanted.split())


def test_ask_is_another_name_for_compare_and_not_listed(tmp_path: Path) -> None:
    _, shown, status = play(tmp_path, "/ask print the largest | print", "/help ask", "/help")
    assert status == 0
    assert "   2.7  print the largest\n" in shown
    assert "› /help ask\n/compare A | B\n" in shown
    assert "/ask" not in shown.rpartition("› /help\n")[2]


def test_the_program_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown, status = play(tmp_path, "/copy")
    assert status == 2
    kept, program = tmp_path / "kept", tmp_path / "bin" / "pbcopy"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n/bin/cat > {kept}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    repl, shown, status = play(tmp_path, "print the largest", "/copy")
    assert status == 0 and kept.read_text() == repl.program.source()
    assert "copied 1 turn, 4 lines to pbcopy\n" in shown


def test_a_turn_begins_with_what_was_started_also_when_it_is_drawn_again(tmp_path: Path) -> None:
    lines = "/start def f(x):", "a function f", "/retry", "/edit 1 print the largest", "a list with ten numbers"
    repl, shown, status = play(tmp_path, *lines)
    first, second = repl.program.turns
    assert status == 0 and "the next turn begins with def f(x):\n" in shown
    assert (first.start, second.start) == ("def f(x):", "")
    assert first.completion == "def f(x):rest = 0" and second.completion.startswith("numbers = ")
    (drawn, again) = (version.program.turns[0] for version in repl.history.versions[1:3])
    assert drawn.completion == "def f(x):\n    return x" and again.start == "def f(x):"
    assert [one.kept for one in again.candidates] == [9, 9]
    with ProgramStore(tmp_path / "programs").open(repl.journal.id) as journal:
        assert journal.history.program.turns[0].start == "def f(x):"


def test_what_was_started_is_taken_back(tmp_path: Path) -> None:
    repl, _, _ = play(tmp_path, "/start def f(x):", "/start", "a list with ten numbers")
    assert repl.program.turns[0].start == "" and repl.program.turns[0].completion == "numbers = list(range(10))"


def test_a_prompt_that_is_code_gets_a_hint(tmp_path: Path) -> None:
    _, shown, _ = play(tmp_path, "def f(x):", width=160)
    assert "the prompt looks like code, and becomes a comment; to begin with it: /start def f(x):\n" in shown


def test_a_branch_has_a_name(tmp_path: Path) -> None:
    repl, shown, status = play(tmp_path, "/branch ''", "/branch ' '")
    assert list(repl.history.branches) == ["main"]
    assert "a branch needs a name" in shown
    assert status == 2


class TestRunning:
    def test_what_goes_to_stderr_is_not_what_a_program_prints(self, tmp_path: Path) -> None:
        repl, shown, _ = play(tmp_path, "/set unsafe on", "warn", "/run", "/show 1", "/export mtpb x.json")
        run = repl.history.run_of(repl.program)
        assert run is not None
        assert (run.output, run.errors) == ("42\n", "careful")
        assert "candidate 1: prints 42, log-probability -8.50, parses\n" in shown
        assert json.loads((tmp_path / "work" / "x.json").read_text())["outputs"] == [42]

    def test_the_output_of_a_candidate_is_shown_in_one_line(self, tmp_path: Path) -> None:
        _, shown, _ = play(tmp_path, "/set unsafe on", "/n 2", "shout", "/run all", "/show 1", width=180)
        told = [line for line in shown.splitlines() if ", parses" in line and "zzz" in line]
        assert len(told) == 6  # of both: after the runs, in the chooser, by /show
        assert all(len(line) < 180 for line in told)
        assert any(": prints zzzz" in line and "z…z" in line for line in told)
        assert any(": run: ValueError: zzzz" in line and "z…, line 4, log" in line for line in told)

    @pytest.mark.parametrize("word", ["al", "All"])
    def test_a_misspelt_all_is_not_passed_to_a_program_that_reads_nothing(self, tmp_path: Path, word: str) -> None:
        repl, shown, status = play(tmp_path, "/set unsafe on", "a list with ten numbers", f"/run {word}")
        assert (len(repl.history.runs), status) == (0, 2)
        assert f"the program reads no arguments, such as {word}; did you mean /run all?" in shown

    def test_arguments_that_are_not_read_are_named(self, tmp_path: Path) -> None:
        lines = "a list with ten numbers", "/run x.csv", "arguments", "/run al"
        repl, shown, _ = play(tmp_path, "/set unsafe on", *lines)
        assert shown.count("the program does not read its arguments: x.csv\n") == 1
        run = repl.history.run_of(repl.program)
        assert run is not None and run.output == "al\n"

    def test_files_are_opened_to_the_program(self, tmp_path: Path) -> None:
        data = tmp_path / "two words.csv"
        data.write_text("1,2\n")
        lines = f"/set read '{data}'", "/set read", "/set write nothing.csv", "/set read '"
        repl, shown, status = play(tmp_path, *lines, "/set read off", "/set read", width=200)
        assert shown.count(f"read         '{data}'\n") == 2 and shown.count("read         off\n") == 2
        assert "no such file or folder: nothing.csv" in shown and "cannot read the paths '" in shown and status == 2
        repl.set("read", f"'{data}'")
        assert repl.options.policy == Policy(read=(data,))


def test_a_candidate_of_any_turn_is_picked(tmp_path: Path) -> None:
    lines = "/n 3", "a list with ten numbers", "a function f", "/n 1", "print the largest", "/pick 2 1", "/pick 3 1"
    repl, shown, _ = play(tmp_path, *lines, "/pick 4 1", "/pick 1 9", choices=[0, 0])
    assert [turn.completion for turn in repl.program.turns][:2] == ["numbers = [", "def f(x):\n    return x"]
    assert "turn 1 now uses candidate 3 of 3" in shown
    assert "no candidate 4: turn 1 has 3; /show 1" in shown and "no turn 9: the last is 3" in shown


def test_an_only_candidate_is_not_picked_again(tmp_path: Path) -> None:
    repl, shown, status = play(tmp_path, "a list with ten numbers", "/pick", "/pick 1", "/undo")
    assert shown.count("turn 1 has only this candidate; /retry 1 generates another") == 2 and status == 2
    assert not repl.program.turns  # that is what was undone


def test_a_script_runs_no_shell_command(tmp_path: Path) -> None:
    with pytest.raises(CgcliError, match="a script cannot run shell commands"):
        Script(io.BytesIO()).shell("ls", 1)
    _, shown, status = play(tmp_path, "!", script=True)
    assert status == 2 and "no command given after !; !ls lists the files of this folder" in shown


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
        assert "a script cannot edit a prompt by hand; /edit 1 WORDS" in shown
        assert len(repl.ui.reader.defaults) == 4  # type: ignore[attr-defined]


def test_without_a_sandbox_a_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.sandbox.bubblewrap._WHERE", str(tmp_path))  # where no bubblewrap is
    repl, shown, status = play(tmp_path, "a list with ten numbers", "/run", "/set unsafe on", "/run")
    assert "/set unsafe on runs programs without a sandbox" in shown
    assert status == 7
    assert len(repl.history.runs) == 1


def test_a_failure_names_the_turn_whose_line_failed(tmp_path: Path) -> None:
    lines = "/set unsafe on", "print the largest", "two lines", "print their mean", "/run"
    _, shown, status = play(tmp_path, *lines, width=200)
    assert "NameError: name 'numbers' is not defined, line 4, after" in shown
    assert "s; try /retry 1 or /code 1\n" in shown
    assert status == 8


def test_a_failure_without_a_line_names_no_turn(tmp_path: Path) -> None:
    repl, _, _ = play(tmp_path, "a list with ten numbers", "two lines")
    killed = Verdict("crash", "SIGKILL", b"", b"", 1.0, 1.0)
    assert running._next_step(repl, killed) == "/show all shows the program"


class TestLoop:
    def test_the_line_to_edit_has_the_prompt_in_it(self, tmp_path: Path) -> None:
        reader = ScriptedReader(["a list with ten numbers", "/edit 1", "print the largest"])
        repl, _ = make_repl(tmp_path, reader)
        loop(repl)
        assert reader.defaults[2] == "a list with ten numbers"
        assert [turn.prompt for turn in repl.program.turns] == ["print the largest"]

    def test_the_end_of_input_leaves_a_prompt_that_is_edited_alone(self, tmp_path: Path) -> None:
        _, shown, status = play(tmp_path, "a list with ten numbers", "/edit 1")
        assert "turn 1 is unchanged" in shown
        assert status == 0

    def test_a_command_is_no_new_prompt_of_a_turn(self, tmp_path: Path) -> None:
        reader = ScriptedReader(["a list with ten numbers", "/edit 1", "/quit", "print the largest"])
        repl, out = make_repl(tmp_path, reader)
        loop(repl)
        assert reader.defaults[2:4] == ["a list with ten numbers"] * 2
        assert "cgcli: expected a prompt, not a command; Ctrl-C keeps turn 1 as it is\n" in out.getvalue()
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
        again = repl.programs.latest()
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
            again = repl.programs.open(repl.journal.id)
            assert again.history == repl.history
            again.close()


def test_a_known_error_is_no_internal_one(tmp_path: Path) -> None:
    repl, _ = make_repl(tmp_path, ScriptedReader([]))
    error = attempt(repl, "/open /")
    assert isinstance(error, CgcliError)
    assert "internal" not in error.line
