"""What is typed while nobody reads: kept off the screen, and kept for the next prompt. Ctrl-C stays a signal.

A thread empties the terminal's queue all the while: a full one would hold back Ctrl-C, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
import threading
from collections.abc import Callable, Iterator

from cgcli.repl.reader import Lent, is_command

_PASTE, _PASTE_END = b"\x1b[200~", b"\x1b[201~"
_PASTE_SECONDS = 0.5
"""How long the rest of a paste that has begun may take to come."""

# What a terminal sends: a bracketed paste, a key's sequence (ECMA-48 5.4; the Linux console's own for F1 to F5), a key
# with Alt, a line end, rubbing out, other control characters, text.
_KEYS = re.compile(
    r"\x1b\[200~(?P<paste>.*?)(?:\x1b\[201~|\Z)|\x1b\[(?:\[[A-E]|[0-?]*[ -/]*[@-~]?)|\x1bO.?|\x1b[^\r\n]?"
    r"|(?P<end>\r\n?|\n)|(?P<rub>[\x08\x7f])|[\x00-\x1f\x80-\x9f]|(?P<text>.)",
    re.DOTALL,
)


def lines_of(keys: bytes) -> list[str]:
    """The lines that were typed: Enter ends one, Backspace is done, all other control keys and sequences are dropped.

    What is pasted is all in one line, with its line ends. Blank lines are dropped.
    """
    text: list[str] = []
    for key in _KEYS.finditer(keys.decode("utf-8", "replace")):
        if key["paste"] is not None:
            text.extend(re.sub(r"\r\n?", "\n", key["paste"]))
        elif key["end"]:
            text.append("\r")
        elif key["rub"]:
            del text[-1:]
        elif key["text"]:
            text.append(key["text"])
    return [line.strip("\n") for line in "".join(text).split("\r") if line.strip()]


class Typeahead:
    """descriptor: of what is typed on; brackets: tells the terminal to mark pastes, or not to."""

    def __init__(self, descriptor: int, brackets: Callable[[bool], None] = lambda on: None) -> None:
        self._descriptor = descriptor
        self._brackets = brackets
        self._keys = bytearray()
        self._lines: list[str] = []
        self._lock = threading.Lock()  # of the keys, while they are taken
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
                with self._lock:
                    self._keys += lent.unread

    def typed(self, behind: str = "") -> str:
        """What was typed first and not returned yet, behind a text that stands already: lines, which end before a
        command, or a command alone."""
        with self._lock:
            keys, self._keys = self._keys, bytearray()
        self._lines += lines_of(bytes(keys))
        if behind and self._lines and not is_command(self._lines[0]):
            return behind + self._lines.pop(0)
        if behind or not self._lines:
            return behind
        text = self._lines.pop(0)
        while self._lines and not is_command(text) and not is_command(self._lines[0]):
            text += "\n" + self._lines.pop(0)
        return text

    def _start(self) -> None:
        self._watch = contextlib.ExitStack()
        self._watch.enter_context(_quiet(self._descriptor))
        self._watch.callback(self._brackets, False)
        self._brackets(True)
        self._watch.enter_context(self._collecting())

    def _stop(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

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
                self._keys.rfind(_PASTE) > self._keys.rfind(_PASTE_END)
                and select.select([self._descriptor], [], [], _PASTE_SECONDS)[0]
            ):
                try:
                    data = os.read(self._descriptor, 4096)
                except OSError:  # the terminal has gone
                    return
                if not data:
                    return
                with self._lock:
                    self._keys += data
            else:
                return


@contextlib.contextmanager
def _quiet(descriptor: int) -> Iterator[None]:
    """No echo, no line editing, of the keys that are signals only Ctrl-C, which throws away nothing that was typed."""
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # no terminal
        yield
        return
    quiet = termios.tcgetattr(descriptor)
    quiet[0] &= ~(termios.IXON | termios.ICRNL)
    quiet[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    quiet[3] |= termios.ISIG | termios.NOFLSH
    off = bytes([os.fpathconf(descriptor, "PC_VDISABLE") & 0xFF])
    quiet[6][termios.VSUSP] = quiet[6][termios.VQUIT] = off
    quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
