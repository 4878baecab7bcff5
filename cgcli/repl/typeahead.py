"""Collects the keys typed while a command runs: Enter queues a line, the rest waits for the next prompt.

A thread reads the keys without echo. Ctrl-C drops the lines queued before it and raises SIGINT.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from cgcli.program.source import decode, encode
from cgcli.repl.editor import edit_text, run_in_shell, undisturbed
from cgcli.repl.reader import Lent, is_command

_PASTE, _PASTE_END = b"\x1b[200~", b"\x1b[201~"
_PASTE_SECONDS = 0.5  # how long to wait for the rest of a paste

# Input from a terminal: a bracketed paste, Alt-Enter, a key's sequence (ECMA-48 5.4; the Linux console's own for F1 to
# F5), another key with Alt, Enter, Ctrl-C, Backspace, Ctrl-U, Ctrl-W, other control characters, text.
_KEYS = re.compile(
    r"\x1b\[200~(?P<paste>.*?)(?:\x1b\[201~|\Z)|(?P<newline>\x1b[\r\n])|\x1b\[(?:\[[A-E]|[0-?]*[ -/]*[@-~]?)"
    r"|\x1bO[^\x03]?|\x1b[^\x03]?|(?P<end>\r\n?|\n)|(?P<stop>\x03)|(?P<rub>[\x08\x7f])|(?P<line>\x15)|(?P<word>\x17)"
    r"|[\x00-\x1f\x80-\x9f]|(?P<text>.)",
    re.DOTALL,
)
_PRINTS = re.compile(r"\x1b\[200~|\x1b[\r\n]|[^\x1b]")
_DECIDES = re.compile(rb"[\r\n\x03]")  # Enter and Ctrl-C


class Typed(NamedTuple):
    """The meaning of a series of keys."""

    lines: list[str]  # ended by Enter
    text: str  # after these lines
    rest: bytes  # the keys of `text`
    dropped: list[str] | None  # lines before the last Ctrl-C; None without one


def typed_of(keys: bytes) -> Typed:
    """Interpret keys as a line editor would.

    Backspace, Ctrl-W and Ctrl-U delete, Alt-Enter adds a line end within a line, a paste keeps its line ends. Other
    control keys and sequences do nothing; blank lines are skipped.
    """
    lines: list[str] = []
    dropped: list[str] | None = None
    text: list[str] = []
    rest: list[str] = []
    for key in _KEYS.finditer(decode(keys)):
        rest += [] if key["stop"] else [key[0]]
        if key["paste"] is not None:
            text.extend(re.sub(r"\r\n?", "\n", key["paste"]))
        elif key["newline"]:
            text.append("\n")
        elif key["end"]:
            lines += [line] if (line := _text(text)).strip() else []
            text, rest = [], []
        elif key["stop"]:
            dropped = [*(dropped or ()), *lines]
            lines, rest = [], [one for one in rest if _PRINTS.match(one)]  # not the start of a sequence
        elif key["rub"]:
            del text[-1:]
        elif key["line"] or key["word"]:
            text = list(re.sub(r"[^\n]+\Z|\n\Z" if key["line"] else r"\S*\s*\Z", "", "".join(text), count=1))
        elif key["text"]:
            text.append(key["text"])
    return Typed(lines, _text(text), encode("".join(rest)), dropped)


def _text(characters: list[str]) -> str:
    return decode(encode("".join(characters))).strip("\n")


def _interrupt() -> None:
    """Raise SIGINT in the main thread, as the terminal does for Ctrl-C."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class Typeahead:
    """Keys typed ahead on a terminal."""

    def __init__(
        self,
        descriptor: int,
        set_bracketed_paste: Callable[[bool], None] = lambda on: None,
        queued: Callable[[str], None] = lambda line: None,
        unused_keys: Callable[[], bytes] = lambda: b"",
        interrupt: Callable[[], None] = _interrupt,
    ) -> None:
        """descriptor: of the terminal. set_bracketed_paste: lets the terminal mark pastes, or stops that.

        queued: called with each queued line, on any thread. unused_keys: keys that the line editor read but did not
        use. interrupt: called for Ctrl-C.
        """
        self.descriptor = descriptor
        self._set_bracketed_paste = set_bracketed_paste
        self._on_queued = queued
        self._unused_keys = unused_keys
        self._interrupt = interrupt
        self._keys = bytearray()  # of the line that Enter has not ended yet
        self._undecided = False  # they contain Enter or Ctrl-C, to be handled when the current paste ends
        self._queue: deque[str] = deque()
        self._dropped: list[str] | None = None  # lines dropped by Ctrl-C
        self._lock = threading.Lock()  # guards the keys and the queue
        self._watch: contextlib.ExitStack | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Collect keys in the block; the terminal is restored after it. Blocks may be nested."""
        if self._watch is not None:
            yield
            return
        try:
            self._start()
            yield
        finally:
            self._stop()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend `watching` in the block, so that somebody else can read from the terminal."""
        if self._watch is None:
            yield
            return
        self._stop()
        try:
            yield
        finally:
            self._start()

    @contextlib.contextmanager
    def lent(self) -> Iterator[Lent]:
        """Lend the terminal to a program in the block; what it leaves unread is typed ahead."""
        lent = Lent(self.descriptor)
        with self.paused():
            try:
                yield lent
            finally:
                self.feed(lent.unread)

    def feed(self, keys: bytes) -> None:
        """Add keys."""
        with self._lock:
            if keys == b"\x03" and self._in_paste():  # the end of that paste will never arrive
                self._keys += _PASTE_END
            self._keys += keys
            self._undecided |= bool(_DECIDES.search(keys))
        if not self._in_paste():
            self._decide()

    def _decide(self) -> None:
        """Queue the lines that Enter ended, and handle Ctrl-C."""
        with self._lock:
            if not self._undecided:
                return
            typed = typed_of(bytes(self._keys))
            self._keys[:], self._undecided = typed.rest, False
            if typed.dropped is not None:
                self._dropped = [*(self._dropped or ()), *self._queue, *typed.dropped]
                self._queue.clear()
            self._queue += typed.lines
        for line in typed.lines:
            self._on_queued(line)
        if typed.dropped is not None:
            self._interrupt()

    def next(self) -> str | None:
        """Take the first line from the queue; None if it is empty."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    def half(self) -> str:
        """Take what was typed after the last Enter."""
        with self._lock:
            text = typed_of(bytes(self._keys)).text
            self._keys.clear()
            return text

    def behind(self, text: str) -> str:
        """Append to a text what was typed ahead: the next queued line, unless it is a command.

        With an empty queue, the unfinished line is appended.
        """
        if not self._queue:
            return text + self.half()
        return text if is_command(self._queue[0]) else text + (self.next() or "")

    def drop(self) -> list[str]:
        """Return the lines dropped by Ctrl-C; empties the queue if Ctrl-C did not come through here."""
        with self._lock:
            dropped, self._dropped = self._dropped, None
            if dropped is None:
                dropped = list(self._queue)
                self._queue.clear()
            return dropped

    def _start(self) -> None:
        self._watch = contextlib.ExitStack()
        self._watch.enter_context(_quiet(self.descriptor))
        self._watch.callback(self._set_bracketed_paste, False)
        self._set_bracketed_paste(True)
        self.feed(self._unused_keys())
        self._watch.enter_context(self._collecting())

    def _in_paste(self) -> bool:
        return self._keys.rfind(_PASTE) > self._keys.rfind(_PASTE_END)

    def _stop(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
            self._decide()

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[None]:
        wake, waker = os.pipe()
        thread = threading.Thread(target=self._collect, args=(wake,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(waker)
            thread.join()
            os.close(wake)

    def _collect(self, wake: int) -> None:
        """Read keys until `wake` is closed, no keys are left, and no paste is incomplete."""
        while True:
            ready, _, _ = select.select([self.descriptor, wake], [], [])
            if self.descriptor in ready or (
                self._in_paste() and select.select([self.descriptor], [], [], _PASTE_SECONDS)[0]
            ):
                try:
                    data = os.read(self.descriptor, 4096)
                except OSError:  # the terminal is gone
                    return
                if not data:
                    return
                self.feed(data)
            else:
                return


class TypeaheadReader:
    """The part of a Reader that is the same on every terminal: keys typed ahead, and the user's editor."""

    where = ""

    def __init__(self, typeahead: Typeahead, variables: Mapping[str, str]) -> None:
        """variables: the environment, for EDITOR."""
        self._typeahead = typeahead
        self._variables = variables

    def watching(self) -> AbstractContextManager[None]:
        return self._typeahead.watching()

    def lent(self) -> AbstractContextManager[Lent]:
        return self._typeahead.lent()

    def drop(self) -> Sequence[str]:
        return self._typeahead.drop()

    def shell(self, command: str, output: int) -> int:
        with self._typeahead.paused(), undisturbed(), _modes_kept(self._typeahead.descriptor):
            return run_in_shell(command, output, self._variables)

    def edit(self, text: str, suffix: str) -> str:
        with self._typeahead.paused(), undisturbed():
            return edit_text(text, suffix, self._variables)


@contextlib.contextmanager
def _modes_kept(descriptor: int) -> Iterator[None]:
    """Restore the terminal's modes after the block: a program may end without doing so."""
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # not a terminal
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


@contextlib.contextmanager
def _quiet(descriptor: int) -> Iterator[None]:
    """Turn off echo, line editing and signal keys in the block."""
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # not a terminal
        yield
        return
    quiet = termios.tcgetattr(descriptor)
    quiet[0] &= ~(termios.IXON | termios.ICRNL)
    quiet[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
