"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it began is put away on the way out.

Without a handler they end a process where it stands, with its temporary files beside the user's. With `unwinding` they
raise `Ended` in the main thread, or do what Ctrl-C does where a block is `answering` for it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_NUMBERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_ONCE_S = 1.0  # signals within it are one: a terminal that closes, and service managers, send several
_answers: list[Callable[[], None] | None] = []


class Ended(SystemExit):
    """A signal ends the process; `code` is the status that a shell expects then."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class Ending:
    """status: what the process ends with once a signal has come; None before."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._last = -_ONCE_S

    def __call__(self, number: int, frame: object) -> None:
        """The handler. The first signal is answered where a block does that, later ones always raise."""
        now = time.monotonic()
        if now - self._last < _ONCE_S:
            return
        answer = _answers[0] if _answers and self.status is None else None
        self._last, self.status = now, 128 + number
        if answer is not None:
            answer()
            return
        # Raised inside a task of asyncio it would be shown as that task's error.
        if loop := _event_loop():
            loop(_leave, number)
        else:
            _leave(number)


@contextmanager
def unwinding() -> Iterator[Ending]:
    """While the block runs, a SIGTERM or SIGHUP raises `Ended`; one that is ignored (nohup) or handled stays so."""
    ending = Ending()
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in _NUMBERS if main and signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, ending)
        yield ending
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def answering(answer: Callable[[], None] | None) -> Iterator[None]:
    """While the block runs, the first signal calls `answer` and raises nothing; None: it raises all the same. Blocks
    nest, and the outermost one holds."""
    _answers.append(answer)
    try:
        yield
    finally:
        _answers.pop()


def _leave(number: int) -> None:
    raise Ended(number)


def _event_loop() -> Callable[..., object] | None:
    """How to call a function from the event loop that this thread runs; None where it runs none."""
    if asyncio := sys.modules.get("asyncio"):
        with suppress(RuntimeError):
            call: Callable[..., object] = asyncio.get_running_loop().call_soon_threadsafe
            return call
    return None
