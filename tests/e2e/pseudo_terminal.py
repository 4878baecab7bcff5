"""A program in a pseudo-terminal, and what that terminal shows: pexpect runs it, pyte is the screen."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect
import pyte

SPLIT = 0.05  # seconds between looks at the screen


class PseudoTerminal:
    """`screen` is what is visible; `scrolled` counts on pyte's history. Times are in seconds."""

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        folder: Path | None = None,
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self.child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=dict(variables),
            dimensions=(rows, columns),
            cwd=str(folder) if folder else None,
            timeout=60,
        )
        self.child.delaybeforesend = None
        self._screen.write_process_input = self.child.send  # type: ignore[method-assign]  # says where the cursor is

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.child.close(force=True)

    def send(self, text: str) -> None:
        self.child.send(text)

    def resize(self, columns: int, rows: int = 24) -> None:
        self.child.setwinsize(rows, columns)
        self._screen.resize(rows, columns)

    def read(self, seconds: float) -> None:
        """Let the screen take what comes within so long, or until the program ends."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._stream.feed(self.child.read_nonblocking(65536, timeout=min(left, SPLIT)))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                return

    def wait(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Until a regular expression is found on the screen. Raises AssertionError with the screen where it is not."""
        deadline = time.monotonic() + seconds
        while True:
            if found := re.search(pattern, self.shown, re.MULTILINE):
                return found
            if time.monotonic() > deadline or (not self.child.isalive() and not self._more()):
                raise AssertionError(f"no {pattern!r} on the screen:\n{self.everything}")
            self.read(SPLIT)

    def _more(self) -> bool:
        before = self.shown
        self.read(SPLIT)
        return self.shown != before

    def ended(self, seconds: float = 30.0) -> int:
        """Wait for the end; the exit status, or minus the number of the signal."""
        deadline = time.monotonic() + seconds
        while self.child.isalive() and time.monotonic() < deadline:
            self.read(SPLIT)
        self.read(SPLIT)
        assert not self.child.isalive(), f"still running:\n{self.everything}"
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)

    @property
    def shown(self) -> str:
        """The screen, without blanks at the ends of lines and empty lines at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n")

    @property
    def everything(self) -> str:
        """What has scrolled off the top, and the screen."""
        width = self._screen.columns
        above = ["".join(line[column].data for column in range(width)).rstrip() for line in self._screen.history.top]
        return "\n".join([*above, self.shown])
