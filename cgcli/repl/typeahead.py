"""What is typed while nobody reads, as a line editor would take it: Enter queues a line, the rest waits for the prompt.

A thread reads all the while: keys stay off the screen, and Ctrl-C drops what was queued before it and becomes a signal.
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
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cgcli.program.source import decode, encode
from cgcli.repl.reader import Lent, is_command

_PASTE, _PASTE_END = b"\x1b[200~", b"\x1b[201~"
_PASTE_SECONDS = 0.5
"""How long the rest of a paste that has begun may take to come."""

# What a terminal sends: a bracketed paste, Alt-Enter, a key's sequence (ECMA-48 5.4; the Linux console's own for F1 to
# F5), another key with Alt, Enter, Ctrl-C, Backspace, Ctrl-U, Ctrl-W, other control characters, text.
_KEYS = re.compile(
    r"\x1b\[200~(?P<paste>.*?)(?:\x1b\[201~|\Z)|(?P<newline>\x1b[\r\n])|\x1b\[(?:\[[A-E]|[0-?]*[ -/]*[@-~]?)"
    r"|\x1bO[^\x03]?|\x1b[^\x03]?|(?P<end>\r\n?|\n)|(?P<stop>\x03)|(?P<rub>[\x08\x7f])|(?P<line>\x15)|(?P<word>\x17)"
    r"|[\x00-\x1f\x80-\x9f]|(?P<text>.)",
    re.DOTALL,
)
_PRINTS = re.compile(r"\x1b\[200~|\x1b[\r\n]|[^\x1b]")
_DECIDES = re.compile(rb"[\r\n\x03]")
"""Keys that may end a line, or everything."""


class Typed(NamedTuple):
    """lines: that Enter ended; text: what stands behind them; rest: the keys of that text; dropped: the lines before
    the last Ctrl-C, None where there was none."""

    lines: list[str]
    text: str
    rest: bytes
    dropped: list[str] | None


def typed_of(keys: bytes) -> Typed:
    """What keys mean. Backspace, Ctrl-W and Ctrl-U rub out, Alt-Enter is a line end within a line, a paste is text with
    its line ends; all other control keys and sequences do nothing, and blank lines are dropped.
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
            lines, rest = [], [one for one in rest if _PRINTS.match(one)]  # not the beginning of a sequence
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
    """Ctrl-C as the terminal itself sends it, where Python waits for it."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class Typeahead:
    """descriptor: of what is typed on; brackets: tells the terminal to mark pastes, or not to; queued: is told of each
    line when it is queued, on any thread; left: keys that whoever read last has read and not used; interrupt: what
    Ctrl-C does."""

    def __init__(
        self,
        descriptor: int,
        brackets: Callable[[bool], None] = lambda on: None,
        queued: Callable[[str], None] = lambda line: None,
        left: Callable[[], bytes] = lambda: b"",
        interrupt: Callable[[], None] = _interrupt,
    ) -> None:
        self._descriptor = descriptor
        self._brackets = brackets
        self._told = queued
        self._left = left
        self._interrupt = interrupt
        self._keys = bytearray()  # of the line that Enter has not ended
        self._undecided = False  # whether they may end it, once the paste that has begun ends
        self._queue: deque[str] = deque()
        self._dropped: list[str] | None = None  # by a Ctrl-C that was typed
        self._lock = threading.Lock()  # of the keys and the queue
        self._watch: contextlib.ExitStack | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is typed during the block; the terminal is as it was after it, whatever happens. Blocks nest."""
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
        """Somebody reads in the block, which may lie in one of `watching`, and has the terminal as it was before."""
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
        """A program reads in the block; what it leaves unread is typed ahead."""
        lent = Lent(self._descriptor)
        with self.paused():
            try:
                yield lent
            finally:
                self.feed(lent.unread)

    def feed(self, keys: bytes) -> None:
        """These keys were typed next."""
        with self._lock:
            if keys == b"\x03" and self._in_paste():  # the end of that paste never comes
                self._keys += _PASTE_END
            self._keys += keys
            self._undecided |= bool(_DECIDES.search(keys))
        if not self._in_paste():
            self._decide()

    def _decide(self) -> None:
        """Queue the lines that Enter ended, and do what Ctrl-C asks for."""
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
            self._told(line)
        if typed.dropped is not None:
            self._interrupt()

    def next(self) -> str | None:
        """The line that was queued first, which leaves the queue; None where there is none."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    def half(self) -> str:
        """What was typed behind the last Enter; it is the caller's now."""
        with self._lock:
            text = typed_of(bytes(self._keys)).text
            self._keys.clear()
            return text

    def behind(self, text: str) -> str:
        """A text that stands in the line already, with what was typed behind it: the next line, unless it is a command;
        without one, what is half typed."""
        if not self._queue:
            return text + self.half()
        return text if is_command(self._queue[0]) else text + (self.next() or "")

    def drop(self) -> list[str]:
        """After Ctrl-C: the lines that it dropped, which were queued before it; all, where it was not typed here."""
        with self._lock:
            dropped, self._dropped = self._dropped, None
            if dropped is None:
                dropped = list(self._queue)
                self._queue.clear()
            return dropped

    def _start(self) -> None:
        self._watch = contextlib.ExitStack()
        self._watch.enter_context(_quiet(self._descriptor))
        self._watch.callback(self._brackets, False)
        self._brackets(True)
        self.feed(self._left())
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
        """Take what comes until `wake` ends, and nothing is left, and no paste is half there."""
        while True:
            ready, _, _ = select.select([self._descriptor, wake], [], [])
            if self._descriptor in ready or (
                self._in_paste() and select.select([self._descriptor], [], [], _PASTE_SECONDS)[0]
            ):
                try:
                    data = os.read(self._descriptor, 4096)
                except OSError:  # the terminal has gone
                    return
                if not data:
                    return
                self.feed(data)
            else:
                return


@contextlib.contextmanager
def _quiet(descriptor: int) -> Iterator[None]:
    """No echo, no line editing, no keys that are signals."""
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # no terminal
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
