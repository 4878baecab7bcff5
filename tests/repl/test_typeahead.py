"""What is typed while nobody reads."""

from __future__ import annotations

import os
import pty
import signal
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.native.interrupt import interruptible
from cgcli.repl.typeahead import Typeahead, typed_of
from tests.support.patience import PATIENCE_S, eventually


@pytest.mark.parametrize(
    ("keys", "lines", "text"),
    [
        (b"words", [], "words"),
        (b"one\rtwo", ["one"], "two"),
        (b"one\r\ntwo\nthree\r", ["one", "two", "three"], ""),
        (b"\r\rone\r \r\r", ["one"], ""),
        (b"ab\x7f\x7f\x7fc\x08d", [], "d"),
        (b"one\r\x7f\x7f\x15two", ["one"], "two"),
        (b"/old words\x15/show\r", ["/show"], ""),
        (b"print the sum\x17mean\x17\x17min", [], "print min"),
        (b"one\x1b\rtwo\x15three\x15\x15\x15x", [], "x"),
        (b"a\x01\x04\tb\x1a\x00c", [], "abc"),
        (b"a\x1b[Ab\x1b[1;5Cc\x1b[3~d\x1bOPe\x1b[[Af\x1b[24;80Rg", [], "abcdefg"),
        (b"a\x1bbc\x1b\rd\x1b", [], "ac\nd"),
        (b"one\x1b\rtwo\r", ["one\ntwo"], ""),
        (b"a\x1b[200~b\tc\r\x03d\r\n\x1b[201~e\rf", ["ab\tc\n\x03d\ne"], "f"),
        (b"\x1b[200~all of it\rthat came", [], "all of it\nthat came"),
        ("é日\x7f本".encode(), [], "é本"),
        (b"a\x1b[", [], "a"),
        (b"caf\xc3", [], "caf\udcc3"),
        (b"caf\xe9\r", ["caf\udce9"], ""),
    ],
)
def test_what_keys_mean(keys: bytes, lines: list[str], text: str) -> None:
    typed = typed_of(keys)
    assert (typed.lines, typed.text, typed.dropped) == (lines, text, None)
    assert typed_of(typed.rest)[:2] == ([], text)


@pytest.mark.parametrize(
    ("keys", "dropped", "lines", "text"),
    [
        (b"/show\rhalf\x03 of it", ["/show"], [], "half of it"),
        (b"\x03", [], [], ""),
        (b"one\x1b\rtwo\x1b\x03\rthree", [], ["one\ntwo"], "three"),
        (b"one\r\x03two\r\x1b\x03three\rfour", ["one", "two"], ["three"], "four"),
    ],
)
def test_ctrl_c_drops_the_lines_before_it(keys: bytes, dropped: list[str], lines: list[str], text: str) -> None:
    typed = typed_of(keys)
    assert (typed.dropped, typed.lines, typed.text) == (dropped, lines, text)
    assert typed_of(typed.rest)[1:] == (text, typed.rest, None)


@given(st.binary(max_size=60))
def test_keys_that_are_not_text_leave_none(keys: bytes) -> None:
    typed = typed_of(keys.replace(b"\x1b[200~", b""))
    assert all(c == "\n" or c.isprintable() or c > "\x9f" for c in "\n".join([*typed.lines, typed.text]))


@given(st.text(st.sampled_from("ab \t\n\x1b[\x03é"), max_size=40).filter(lambda text: "\x1b[201~" not in text))
def test_a_paste_is_kept_as_it_is(text: str) -> None:
    lines = typed_of(b"\x1b[200~" + text.encode() + b"\x1b[201~\r").lines
    assert lines == ([text.strip("\n")] if text.strip() else [])


@given(
    st.lists(st.sampled_from([b"a", b"b", b"\r", b"\x03", b"\x7f", b"\x1b", b"\x1b[200~", b"\x1b[201~", b"\xc3\xa9"]))
)
def test_it_does_not_matter_in_which_pieces_keys_come(keys: list[bytes]) -> None:
    """Where no paste is cut off, nor ended by a Ctrl-C that comes alone."""
    whole, pieces = (Typeahead(0, interrupt=lambda: None) for _ in range(2))
    data = b"".join(keys) + b"\x1b[201~"
    whole.feed(data)
    for at in range(len(data)):
        pieces.feed(data[at : at + 1])
    if b"\x1b[200~" not in keys or b"\x03" not in keys:
        assert all_of(pieces) == all_of(whole)


def all_of(typeahead: Typeahead) -> tuple[list[str], list[str], str]:
    """What Ctrl-C dropped, the lines that are queued, and what is half typed."""
    dropped = typeahead.drop() if typeahead._dropped is not None else []
    lines = []
    while (line := typeahead.next()) is not None:
        lines.append(line)
    return dropped, lines, typeahead.half()


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


def test_nothing_is_echoed_and_all_is_kept(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with typeahead.watching():
        os.write(pair.keyboard, b"abc\rd\x13\x11\x16e")
        eventually(lambda: typeahead._keys.endswith(b"e"))
        os.write(pair.terminal, b"shown")
        assert os.read(pair.keyboard, 100) == b"shown"
    assert all_of(typeahead) == ([], ["abc"], "de")
    assert all_of(typeahead) == ([], [], "")


def test_each_queued_line_is_reported(pair: Pair) -> None:
    told: list[str] = []
    typeahead = Typeahead(pair.terminal, queued=told.append)
    with typeahead.watching():
        os.write(pair.keyboard, b"/show\r\r\x1b[200~a\r/b\x1b[201~\r/di")
        eventually(lambda: len(told) == 2)
        os.write(pair.keyboard, b"ff\rhalf")
        eventually(lambda: len(told) == 3)
    assert told == ["/show", "a\n/b", "/diff"]
    assert all_of(typeahead) == ([], told, "half")


def test_ctrl_c_drops_what_was_queued_before_it_and_keeps_what_comes_after(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with interruptible(patient=True) as interrupt, typeahead.watching():
        os.write(pair.keyboard, b"/show\rprint it twice\rha\x03lf\x7f\x7flf\r/show all\r")
        eventually(lambda: interrupt.requested)
        eventually(lambda: not typeahead._keys and len(typeahead._queue) == 2)
        interrupt.clear()
    assert typeahead.drop() == ["/show", "print it twice"]
    assert all_of(typeahead) == ([], ["half", "/show all"], "")


def test_all_lines_are_dropped_where_ctrl_c_was_not_typed(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with typeahead.watching():
        os.write(pair.keyboard, b"one\rtwo\rhalf")
        eventually(lambda: typeahead._keys == b"half")
    assert typeahead.drop() == ["one", "two"]
    assert typeahead.drop() == []
    assert typeahead.half() == "half"


def test_ctrl_c_is_no_part_of_a_paste_that_never_ends(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    with interruptible(patient=True) as interrupt, typeahead.watching():
        os.write(pair.keyboard, b"\x1b[200~cut off\r")
        eventually(lambda: typeahead._keys.endswith(b"\r"))
        os.write(pair.keyboard, b"\x03")
        eventually(lambda: interrupt.requested)
    assert typeahead.drop() == []
    assert typeahead.half() == "cut off"


def test_keys_that_were_read_and_not_used_come_first(pair: Pair) -> None:
    left = [b"one\rtw"]
    typeahead = Typeahead(pair.terminal, unused_keys=lambda: left.pop() if left else b"")
    with typeahead.watching():
        os.write(pair.keyboard, b"o\rthree")
        eventually(lambda: typeahead._keys == b"three")
    assert all_of(typeahead) == ([], ["one", "two"], "three")


def test_typed_text_stands_behind_a_text_but_a_command_does_not(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    typeahead.feed(b"one\r/two\rhalf")
    assert typeahead.behind("before ") == "before one"
    assert typeahead.behind("before ") == "before "
    assert typeahead.next() == "/two"
    assert typeahead.behind("before ") == "before half"
    assert typeahead.behind("before ") == "before "


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
    assert typeahead.half() == "before after"


def test_keys_of_the_last_moment_are_kept(pair: Pair) -> None:
    typeahead = Typeahead(pair.terminal)
    for number in range(50):
        with typeahead.watching():
            os.write(pair.keyboard, str(number).encode())
    assert typeahead.half() == "".join(map(str, range(50)))


def test_the_rest_of_a_paste_is_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.repl.typeahead._PASTE_SECONDS", PATIENCE_S)
    typeahead = Typeahead(pair.terminal)

    def paste() -> None:
        for piece in (b"\x1b[200~one\r", b"two\r", b"three\x1b[201~"):
            os.write(pair.keyboard, piece)
            time.sleep(0.15)

    thread = threading.Thread(target=paste)
    with typeahead.watching():
        thread.start()
        eventually(lambda: len(typeahead._keys) > 0)
    assert typeahead.half() == "one\ntwo\nthree"
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
            status = 42 if typeahead.half() == "x" * 20_000 else 2
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
    assert typeahead.half() == "words"
    os.close(reader)
