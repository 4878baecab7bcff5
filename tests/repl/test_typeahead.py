"""What is typed while nobody reads."""

from __future__ import annotations

import os
import pty
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.repl.typeahead import Typeahead, lines_of


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (b"words", ["words"]),
        (b"one\rtwo", ["one", "two"]),
        (b"one\r\ntwo\nthree", ["one", "two", "three"]),
        (b"\r\rone\r \r\r", ["one"]),
        (b"ab\x7f\x7f\x7fc\x08d", ["d"]),
        (b"a\x01\x04\tb\x1a\x00c", ["abc"]),
        (b"a\x1b[Ab\x1b[1;5Cc\x1b[3~d\x1bOPe\x1b[[Af\x1b[24;80Rg", ["abcdefg"]),
        (b"a\x1bbc\x1b\rd\x1b", ["ac", "d"]),
        (b"a\x1b[200~b\tc\r\x03d\r\n\x1b[201~e", ["ab\tc\n\x03d\ne"]),
        (b"\x1b[200~all of it\rthat came", ["all of it\nthat came"]),
        ("é日\x7f本".encode(), ["é本"]),
        (b"a\x1b[", ["a"]),
    ],
)
def test_the_lines_of_keys(keys: bytes, lines: list[str]) -> None:
    assert lines_of(keys) == lines


@given(st.binary(max_size=60))
def test_keys_that_are_not_text_leave_none(keys: bytes) -> None:
    assert all(c == "\n" or c.isprintable() or c > "\x9f" for c in "\n".join(lines_of(keys.replace(b"\x1b[200~", b""))))


@given(st.text(st.sampled_from("ab \t\n\x1b[\x03é"), max_size=40).filter(lambda text: "\x1b[201~" not in text))
def test_a_paste_is_kept_as_it_is(text: str) -> None:
    assert lines_of(b"\x1b[200~" + text.encode() + b"\x1b[201~") == ([text.strip("\n")] if text.strip() else [])


@dataclass
class Pair:
    """Both ends of a pseudo-terminal."""

    keyboard: int
    terminal: int

    @property
    def attributes(self) -> list[object]:
        return termios.tcgetattr(self.terminal)


@pytest.fixture
def pair() -> Iterator[Pair]:
    keyboard, terminal = pty.openpty()
    yield Pair(keyboard, terminal)
    os.close(keyboard)
    os.close(terminal)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_nothing_is_echoed_and_all_is_kept(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with typeahead.watching():
        os.write(pair.keyboard, b"abc\rd\x13\x11\x16e")
        wait_until(lambda: len(typeahead._keys) == 9)
        os.write(pair.terminal, b"shown")
        assert os.read(pair.keyboard, 100) == b"shown"
    assert typeahead.typed() == "abc\nde"
    assert typeahead.typed() == ""


@pytest.mark.parametrize(
    ("keys", "typed"),
    [
        (b"/show\r/diff\r", ["/show", "/diff"]),
        (b"one\rtwo\r/diff\rthree\r//four\rhalf", ["one\ntwo", "/diff", "three\n//four\nhalf"]),
        (b"\x1b[200~a\r/b\x1b[201~\r/c", ["a\n/b", "/c"]),
    ],
)
def test_a_command_is_joined_to_no_other_line(pair: Pair, keys: bytes, typed: list[str]) -> None:
    typeahead = Typeahead(pair.terminal)
    with typeahead.watching():
        os.write(pair.keyboard, keys)
        wait_until(lambda: len(typeahead._keys) == len(keys))
    assert [typeahead.typed() for _ in [*typed, ""]] == [*typed, ""]


def test_what_is_typed_stands_behind_a_text_but_a_command_does_not(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with typeahead.watching():
        os.write(pair.keyboard, b"one\r/two\r")
        wait_until(lambda: len(typeahead._keys) == 9)
    assert typeahead.typed(behind="before ") == "before one"
    assert typeahead.typed(behind="before ") == "before "
    assert typeahead.typed() == "/two"


def test_the_terminal_is_as_it_was_whatever_happens(pair: Pair) -> None:
    before = pair.attributes
    typeahead = Typeahead(pair.terminal)
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), typeahead.watching():
            assert pair.attributes != before
            raise error
        assert pair.attributes == before
    with typeahead.watching(), typeahead.watching():
        with typeahead.paused(), typeahead.paused():
            assert pair.attributes == before
        assert pair.attributes != before
    assert pair.attributes == before
    with typeahead.paused():
        assert pair.attributes == before


def test_somebody_reads_while_it_is_paused(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with typeahead.watching():
        os.write(pair.keyboard, b"before ")
        with typeahead.paused():
            os.write(pair.keyboard, b"an answer\n")
            assert os.read(pair.terminal, 100).endswith(b"an answer\n")
        os.write(pair.keyboard, b"after")
    assert typeahead.typed() == "before after"


def test_what_is_typed_at_the_last_moment_is_kept(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    for number in range(50):
        with typeahead.watching():
            os.write(pair.keyboard, str(number).encode())
    assert typeahead.typed() == "".join(map(str, range(50)))


def test_the_rest_of_a_paste_is_waited_for(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)

    def paste() -> None:
        for piece in (b"\x1b[200~one\r", b"two\r", b"three\x1b[201~"):
            os.write(pair.keyboard, piece)
            time.sleep(0.15)

    thread = threading.Thread(target=paste)
    with typeahead.watching():
        thread.start()
        wait_until(lambda: len(typeahead._keys) > 0)
    assert typeahead.typed() == "one\ntwo\nthree"
    thread.join()


def test_pastes_are_marked_only_while_it_watches(pair: Pair) -> None:
    told: list[bool] = []
    typeahead = Typeahead(pair.terminal, told.append)
    with typeahead.watching():
        assert told == [True]
        with typeahead.paused():
            assert told == [True, False]
    assert told == [True, False, True, False]


def test_ctrl_c_is_a_signal_though_much_was_typed_before() -> None:
    """And nothing that was typed is lost by it."""
    pid, keyboard = pty.fork()
    if pid == 0:
        status = 1
        try:
            typeahead = Typeahead(0)
            with typeahead.watching():
                os.write(1, b"watching")
                signal.pause()
        except KeyboardInterrupt:
            status = 42 if typeahead.typed() == "x" * 20_000 else 2
        os._exit(status)
    assert os.read(keyboard, 100) == b"watching"
    keys = b"x" * 20_000 + b"\x1a\x1c\x03"
    while keys:
        keys = keys[os.write(keyboard, keys[:1000]) :]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    os.close(keyboard)


def test_a_pipe_is_watched_too_and_may_end() -> None:
    reader, writer = os.pipe()
    typeahead = Typeahead(reader)
    with typeahead.watching():
        os.write(writer, b"words")
        os.close(writer)
    assert typeahead.typed() == "words"
    os.close(reader)
