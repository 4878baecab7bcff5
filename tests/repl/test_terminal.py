"""The line that prompts are typed in, by keys from a pipe. What only a real terminal shows: test_pseudo_terminal.py."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from cgcli.native.interrupt import interruptible
from cgcli.repl.reader import CandidateCard, Status, Suggestion
from cgcli.repl.screen import Screen
from cgcli.repl.terminal import Terminal
from tests.support.patience import PATIENCE_S, eventually

PASTE, PASTE_END = "\x1b[200~", "\x1b[201~"
UP = "\x1b[A"


class FakeView:
    def __init__(self, vi: bool = False) -> None:
        self.vi = vi

    def status(self) -> Status:
        return Status(turn=3)

    def completions(self, before_cursor: str) -> Iterable[Suggestion]:
        word = before_cursor.rpartition(" ")[2]
        return [Suggestion(name, len(before_cursor) - len(word)) for name in ("/show", "mean") if name.startswith(word)]


class Typing:
    """A terminal and the keyboard before it; said: what the screen was told."""

    def __init__(self, keyboard: PipeInput, history: Path | None, vi: bool) -> None:
        self._keyboard = keyboard
        self._said = io.StringIO()
        self.view = FakeView(vi)
        screen = Screen(self._said, color=False)
        self.terminal = Terminal(screen, keyboard, DummyOutput(), history=history, variables={})

    def __call__(self, keys: str, default: str = "") -> str:
        self._keyboard.send_text(keys)
        return self.terminal.read(self.view, default)

    def slowly(self, *keys: str) -> str:
        """Each of the keys when the line stands there, and earlier prompts are loaded behind it."""
        buffer = self.terminal._session.default_buffer
        known = {buffer._load_history_task}

        def loaded() -> bool:
            task = buffer._load_history_task
            return task is not None and task not in known and task.done()

        def press() -> None:
            for some in keys:
                eventually(loaded)
                known.add(buffer._load_history_task)
                self._keyboard.send_text(some)

        pressing = Thread(target=press)
        pressing.start()
        text = self.terminal.read(self.view)
        pressing.join()
        return text

    def when_shown(self, keys: str) -> None:
        """Type the keys when the next line is there to take them."""
        rendered = self.terminal._session.app.after_render

        def type_them(_: object) -> None:
            rendered.remove_handler(type_them)
            self._keyboard.send_text(keys)

        rendered.add_handler(type_them)

    @property
    def said(self) -> str:
        return self._said.getvalue()


@contextmanager
def typing_on(history: Path | None = None, vi: bool = False) -> Iterator[Typing]:
    with create_pipe_input() as keyboard:
        yield Typing(keyboard, history, vi)


@pytest.fixture
def typed() -> Iterator[Typing]:
    with typing_on() as typing:
        yield typing


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("words\r", "words"),
        ("\r  \r words\r", "   words"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("  one\x1b\rtwo\r", "  one\ntwo"),
        ("one\x1b\r\x1b\r\r", "one"),
        ("one\x03two\r", "two"),
        ("\x03\x03one\r", "one"),
        ("one\x1b\rtwo\x03three\r", "three"),
        ("mistkae\x17mistake\r", "mistake"),
        (PASTE + "one\rtwo\tthree\r\nfour" + PASTE_END + "!\r", "one\ntwo\tthree\nfour!"),
        ("/sh\t\r", "/show"),
        ("the m\t\r", "the mean"),
        ("日本\r", "日本"),
    ],
)
def test_keys(typed: Typing, keys: str, text: str) -> None:
    assert typed(keys) == text


def test_a_paste_of_200_lines_is_one_input(typed: Typing) -> None:
    lines = [f"line {n}" for n in range(200)]
    assert typed(PASTE + "\r".join(lines) + PASTE_END + "\r").split("\n") == lines


def test_ctrl_d_leaves_an_empty_line_only(typed: Typing) -> None:
    assert typed("words\x04\r") == "words"
    with pytest.raises(EOFError):
        typed("\x04")
    with pytest.raises(EOFError):
        typed("words\x03\x04")


def test_the_end_of_input_is_the_end(typed: Typing) -> None:
    typed._keyboard.close()
    with pytest.raises(EOFError):
        typed.terminal.read(typed.view)


def test_what_stands_in_the_line_already_can_be_edited(typed: Typing) -> None:
    assert typed("!\r", default="read a file") == "read a file!"
    assert typed("\x01\x0bother\r", default="read a file") == "other"
    assert typed("\x03other\r", default="read a file") == "other"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (" today\r", "read a file today"),
        ("\r", "read a file"),
        ("\x15\r", None),
        ("\x03", None),
        ("\x15\x03", None),
        ("\x15\x04", None),
        ("\x15/quit\r", "/quit"),
    ],
)
def test_a_prompt_is_reworded_or_left(typed: Typing, keys: str, words: str | None) -> None:
    typed._keyboard.send_text(keys)
    assert typed.terminal.reword(typed.view, 1, "read a file") == words
    assert typed("\rnext\r") == "next"


def test_earlier_prompts_come_back_and_are_found(typed: Typing) -> None:
    for prompt in ("read a file", "plot it", "save it"):
        typed(prompt + "\r")
    assert typed.slowly(UP + UP + "\r") == "plot it"
    assert typed.slowly("\x12fi\r\r") == "read a file"
    assert typed.slowly("half\x03", UP + "\r") == "read a file"


def test_keys_of_vi(typed: Typing) -> None:
    typed.view.vi = True
    assert typed("abc\x1b0iX\r") == "Xabc"
    typed.view.vi = False
    assert typed("abc\x01X\r") == "Xabc"


def test_ctrl_c_is_a_flag_again_after_a_line_that_was_typed_meanwhile(typed: Typing) -> None:
    """asyncio, which reads the line, leaves Python's own handler behind."""
    with interruptible(patient=True) as interrupt:
        typed("words\r")
        typed._keyboard.send_text("\r")
        typed.terminal.choose([CandidateCard("1", "", "x"), CandidateCard("2", "", "y")])
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(PATIENCE_S)


def test_lines_that_were_typed_meanwhile_are_read_one_by_one_and_the_rest_can_be_edited(typed: Typing) -> None:
    with typed.terminal.watching():
        typed._keyboard.send_text("/show\rone\x1b\rtwo\rhalf of")
        eventually(lambda: typed.terminal._typeahead._keys == b"half of")
    assert typed.said == "queued: /show\nqueued: one two\n"
    assert typed.terminal.read(typed.view, "put back") == "/show"
    assert typed.terminal.read(typed.view) == "one\ntwo"
    assert typed.said.endswith("\n3 › /show\n3 › one\n  · two\n")
    assert typed("\x17a word\r", default="put back") == "half a word"
    assert typed("x\r") == "x"


def test_what_was_typed_meanwhile_can_be_cleared_and_stays_away(typed: Typing) -> None:
    with typed.terminal.watching():
        typed._keyboard.send_text("\x1b[200~old\rlines\x1b[201~")
        eventually(lambda: typed.terminal._typeahead._keys.endswith(b"~"))
    assert typed("\x03new\r") == "new"
    assert typed("newer\r") == "newer"
    assert typed.terminal.drop() == []


def test_lines_that_are_typed_at_once_are_queued_before_those_that_come_later(typed: Typing) -> None:
    """prompt_toolkit has read all of them when the first one ends."""
    assert typed("count\r/show\r" + PASTE + "a\rb" + PASTE_END + "\rha") == "count"
    with typed.terminal.watching():
        typed._keyboard.send_text("lf\rlast\r")
        eventually(lambda: typed.said.count("queued:") == 4)
    assert typed.terminal.drop() == ["/show", "a\nb", "half", "last"]
    assert typed("fresh\r") == "fresh"


def test_ctrl_c_that_is_typed_at_once_behind_a_line_stops_what_the_line_does(typed: Typing) -> None:
    assert typed("count\r/show\r\x03") == "count"
    with interruptible(patient=True) as interrupt, typed.terminal.watching():
        assert interrupt.requested
    assert typed.terminal.drop() == ["/show"]


def test_a_line_that_was_typed_meanwhile_stands_behind_the_words_of_a_turn(typed: Typing) -> None:
    with typed.terminal.watching():
        typed._keyboard.send_text("typed\r/meanwhile\rhalf")
        eventually(lambda: typed.terminal._typeahead._keys == b"half")
        typed.when_shown("!\r")
        assert typed.terminal.reword(typed.view, 1, "and ") == "and typed!"
        typed.when_shown("!\r")
        assert typed.terminal.reword(typed.view, 1, "and") == "and!"
    assert typed.terminal.read(typed.view) == "/meanwhile"
    assert typed("\r") == "half"


def test_lines_that_were_queued_are_in_the_history(tmp_path: Path) -> None:
    with typing_on(tmp_path / "history") as typed:
        with typed.terminal.watching():
            typed._keyboard.send_text("one\rtwo\r")
            eventually(lambda: typed.said.count("queued:") == 2)
        typed.terminal.read(typed.view)
        typed.terminal.read(typed.view)
    kept = (tmp_path / "history").read_text().splitlines()
    assert [line for line in kept if line.startswith("+")] == ["+one", "+two"]


def test_the_history_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "history"
    old = os.umask(0)
    try:
        with typing_on(file) as typed:
            assert not file.exists()
            typed("one\x1b\rtwo\r")
            typed("three\r")
    finally:
        os.umask(old)
    assert file.stat().st_mode & 0o777 == 0o600
    with typing_on(file) as typed:
        assert typed.slowly(UP + "\r") == "three"
        assert typed.slowly(UP + UP + "\r") == "one\ntwo"
        assert typed.said == ""


def no_folder(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "history"


def a_folder(folder: Path) -> Path:
    return folder


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def full(folder: Path) -> Path:
    (folder / "full").symlink_to("/dev/full")
    return folder / "full"


@pytest.mark.parametrize("place", [no_folder, a_folder, a_pipe, full])
def test_an_unwritable_history_is_reported_once_and_kept_in_memory(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    with typing_on(place(tmp_path)) as typed:
        typed("one\r")
        typed("two\r")
        assert typed.slowly(UP + UP + "\r") == "one"
        assert typed.said.count("cgcli:") == 1 and "prompts are remembered for this session only" in typed.said
        assert typed.said.startswith("cgcli: ")


def test_bytes_that_are_not_text_in_the_history_harm_nothing(tmp_path: Path) -> None:
    (tmp_path / "history").write_bytes(b"\n# yesterday\n+caf\xe9\n+\x00\n\x00\xff\n+whole\n")
    with typing_on(tmp_path / "history") as typed:
        assert typed.slowly(UP + "\r") == "whole"
        assert typed.said == ""
