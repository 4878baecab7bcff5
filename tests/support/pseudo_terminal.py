"""A program in a pseudo-terminal, and the screen that a terminal emulator then shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pyte

from tests.support.patience import PATIENCE_S


class _Emulator(pyte.Screen):
    """Answers what the program asks the terminal, such as where its cursor is."""

    answer: Callable[[str], object] = staticmethod(lambda data: None)

    def write_process_input(self, data: str) -> None:
        self.answer(data)


class PseudoTerminal:
    """sent: all that the program wrote."""

    def __init__(self, command: list[str], rows: int, columns: int, variables: dict[str, str]) -> None:
        self.screen = _Emulator(columns, rows)
        self.sent = ""
        self._rows: list[str] | None = None  # of the screen as it is now; to make them takes a millisecond
        self._stream = pyte.Stream(self.screen)
        environment: Any = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        environment |= {"TERM": "xterm-256color", **variables}
        self.process = pexpect.spawn(
            command[0], command[1:], env=environment, dimensions=(rows, columns), encoding="utf-8", echo=True
        )
        self.process.delaybeforesend = None
        self.screen.answer = self.process.send

    def send(self, keys: str) -> None:
        self.process.send(keys)

    def resize(self, rows: int, columns: int) -> None:
        self.pump()
        self.screen.resize(rows, columns)
        self._rows = None
        self.process.setwinsize(rows, columns)

    def pump(self, seconds: float = 0.0) -> None:
        """Show what comes in so many seconds, or what is there."""
        until = time.monotonic() + seconds
        while True:
            try:
                data = self.process.read_nonblocking(65536, timeout=max(0.0, min(0.05, until - time.monotonic())))
                self.sent += data
                self._stream.feed(data)
                self._rows = None
            except pexpect.TIMEOUT:
                if time.monotonic() >= until:
                    return
            except pexpect.EOF:
                return

    def wait(self, condition: Callable[[], object]) -> None:
        """Until `condition` holds; fails with the screen where it does not, at once where the program has ended."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            ended = not self.process.isalive()
            self.pump(0.02)
            assert condition() or not ended, f"the program has ended:\n{self.text}"
            assert time.monotonic() < until, self.text

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until `text` stands on the screen."""
        self.wait(lambda: self.text.count(text) >= times)

    @property
    def rows(self) -> list[str]:
        if self._rows is None:
            self._rows = [row.rstrip() for row in self.screen.display]
        return self._rows

    @property
    def text(self) -> str:
        return "\n".join(self.rows).rstrip()

    @property
    def line(self) -> str:
        """The line that the cursor stands in."""
        return self.rows[self.screen.cursor.y]


@contextmanager
def pseudo_terminal(*command: str, rows: int = 24, columns: int = 80, **variables: str) -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(list(command), rows, columns, variables)
    try:
        yield terminal
    finally:
        terminal.process.close(force=True)
