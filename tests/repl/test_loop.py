"""The loop ends where it should, and nowhere else: Ctrl-C at any moment, full disks, errors of our own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cgcli.engine.request import Completion, Request
from cgcli.program.journal import is_open, read_journal
from cgcli.repl.loop import attempt, loop
from cgcli.repl.reader import View
from cgcli.repl.state import Models
from tests.repl.scripted import AnsweringEngine, ScriptedReader, make_repl


class PressedEngine(AnsweringEngine):
    """Ctrl-C is pressed while it writes, and while it is closed."""

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        pieces = super().stream(request)
        yield next(pieces)
        signal.raise_signal(signal.SIGINT)
        return (yield from pieces)

    def close(self) -> None:
        signal.raise_signal(signal.SIGINT)
        super().close()


class PressedReader(ScriptedReader):
    """Ctrl-C is pressed before a line is read, when the watch over what is typed ends, and when it drops lines."""

    pressed = pressed_again = False

    def read(self, view: View, default: str = "") -> str:
        self.pressed = not self.pressed
        if self.pressed:
            raise KeyboardInterrupt
        return super().read(view, default)

    @contextmanager
    def watching(self) -> Iterator[None]:
        yield
        signal.raise_signal(signal.SIGINT)

    def drop(self) -> Sequence[str]:
        self.pressed_again = not self.pressed_again
        if self.pressed_again:
            signal.raise_signal(signal.SIGINT)
        return super().drop()


def test_ctrl_c_ends_a_script_and_keeps_what_was_written(tmp_path: Path) -> None:
    reader = ScriptedReader(["count", "print the largest", "/show"])
    repl, out = make_repl(tmp_path, reader, engine=PressedEngine(), script=True)
    assert loop(repl) == 130
    assert reader.lines == ["print the largest", "/show"]
    assert "cgcli: interrupted\n" in out.getvalue()
    assert [turn.prompt for turn in repl.program.turns] == ["count"]
    repl.close()
    assert not is_open(repl.journal.path)


def test_ctrl_c_ends_a_script_that_waits_for_its_next_line(tmp_path: Path) -> None:
    repl, _ = make_repl(tmp_path, PressedReader(["count"]), script=True)
    assert loop(repl) == 130


def test_ctrl_c_at_any_moment_ends_no_session_with_a_person(tmp_path: Path) -> None:
    reader = PressedReader(["count", "print the largest"])
    repl, _ = make_repl(tmp_path, reader, engine=PressedEngine())
    assert loop(repl) == 0
    repl.close()
    assert [turn.prompt for turn in repl.program.turns] == ["count", "print the largest"]
    assert not is_open(repl.journal.path)


def test_quitting_with_unsaved_work_warns_once(mount: Callable[[str], Path]) -> None:
    disk = mount("size=64k")

    class Filling(ScriptedReader):
        def read(self, view: View, default: str = "") -> str:
            line = super().read(view, default)
            if line == "fill":
                with pytest.raises(OSError), (disk / "filling").open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(64))
                line = "nothing\\" * 1000  # more than the file's last block has room for
            if line == "free":
                (disk / "filling").unlink()
                line = "/show"
            return line

    reader = Filling(["count", "fill", "/quit", "/show", "/quit", "/quit", "not read"])
    repl, out = make_repl(disk, reader, width=400)
    loop(repl)
    hint = "/save FILE saves it to another disk; /quit again leaves without it"
    said = f"no space left while writing {repl.journal.path}; {hint}"
    assert out.getvalue().count(said) == 2
    assert reader.lines == ["not read"]
    reader.lines = ["/quit", "free", "/quit", "not read"]
    loop(repl)
    assert out.getvalue().count(said) == 3
    assert reader.lines == ["not read"]
    assert len(read_journal(repl.journal.path).history.program.turns) == 2
    repl.close()


def test_an_error_of_our_own_names_a_command_that_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Models, name: str | None) -> None:
        raise ZeroDivisionError("oh")

    repl, _ = make_repl(tmp_path, ScriptedReader([]))
    monkeypatch.setattr(type(repl.models), "choose", broken)
    error = attempt(repl, "/model x")
    assert error is not None
    assert error.line == "internal error: ZeroDivisionError: oh; type: cgcli --debug repl"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("exit", "/quit"), ("quit", "/quit"), (" exit() ", "/quit"), (":q", "/quit"), ("help", "/help")],
)
def test_a_word_that_leaves_elsewhere_is_no_prompt(tmp_path: Path, word: str, meant: str) -> None:
    repl, _ = make_repl(tmp_path, ScriptedReader([]))
    error = attempt(repl, word)
    assert error is not None
    assert error.line == f"{word.strip()} is not a command; did you mean {meant}?"
    assert attempt(repl, "//quit") is None
    assert attempt(repl, "quit the loop") is None
    assert [turn.prompt for turn in repl.program.turns] == ["/quit", "quit the loop"]


def test_an_error_names_where_its_line_stands(tmp_path: Path) -> None:
    reader = ScriptedReader(["/frobnicate"])
    reader.where = "line 3"
    repl, out = make_repl(tmp_path, reader)
    loop(repl)
    assert "cgcli: line 3: unknown command /frobnicate; /help lists the commands\n" in out.getvalue()


def test_queued_lines_run_in_order_as_if_they_were_typed(tmp_path: Path) -> None:
    reader = ScriptedReader(["count", "print the largest"])
    reader.queue = ["/undo", "print their mean", "/nothing", "warn"]
    repl, out = make_repl(tmp_path, reader)
    assert loop(repl) == 2
    assert [turn.prompt for turn in repl.program.turns] == ["print their mean", "warn", "count", "print the largest"]
    assert "dropped" not in out.getvalue()


def test_ctrl_c_drops_the_queue_and_says_so(tmp_path: Path) -> None:
    reader = ScriptedReader(["count", "warn"])

    class Queueing(PressedEngine):
        def stream(self, request: Request) -> Generator[str, None, Completion]:
            if not self.requests:
                reader.queue = ["/show", "print it\ntwice", "/show all"]
            return (yield from super().stream(request))

    repl, out = make_repl(tmp_path, reader, engine=Queueing(), width=200)
    loop(repl)
    assert [turn.prompt for turn in repl.program.turns] == ["count", "warn"]
    assert out.getvalue().count("dropped 3 queued lines: /show · print it twice · /show all\n") == 1


def test_quitting_reports_queued_lines(tmp_path: Path) -> None:
    reader = ScriptedReader([])
    reader.queue = ["count", "/quit", "/show all"]
    repl, out = make_repl(tmp_path, reader)
    loop(repl)
    assert out.getvalue().endswith("dropped 1 queued line: /show all\n")


@pytest.mark.parametrize(
    ("lines", "defaults"),
    [
        (["nothing", "/show"], ["", "nothing", ""]),
        (["//nothing"], ["", ""]),  # it is another prompt, which yields something
        (["/model broken", "print it", "/model tiny", "/show"], ["", "", "print it", "", ""]),
        (["/model broken", "//x"], ["", "", "//x"]),
        (["warn", "/edit 1 nothing", "/show"], ["", "", "/edit 1 nothing", ""]),
        (["warn", "/edit 1", "nothing"], ["", "", "warn", "/edit 1 nothing"]),
        (["warn", "/set", "/frobnicate", "quit", "/retry 9"], [""] * 6),
        (["/set unsafe on", "/auto on", "shout", "/seed 1", "/retry"], [""] * 6),  # the turn is there, its run fails
    ],
)
def test_a_prompt_that_comes_to_nothing_stands_in_the_line_again(
    tmp_path: Path, lines: list[str], defaults: list[str]
) -> None:
    reader = ScriptedReader(lines)
    repl, _ = make_repl(tmp_path, reader)
    loop(repl)
    assert reader.defaults == defaults
    repl.close()


def test_a_prompt_that_ctrl_c_ends_before_anything_came_stands_in_the_line_again(tmp_path: Path) -> None:
    reader = ScriptedReader(["count"])
    repl, _ = make_repl(tmp_path, reader, engine=AnsweringEngine(interrupt_after=0))
    loop(repl)
    assert reader.defaults == ["", "count"]
