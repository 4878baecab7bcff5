"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that it cleans up first.

Without a handler they would kill the process and leave its temporary files. Within `handled_signals` they raise
`Terminated` in the main thread, or call the function of an `on_signal` block.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_NUMBERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_ONCE_S = 1.0  # one signal per second counts: closing terminals and service managers send several
_answers: list[Callable[[], None] | None] = []


class Terminated(SystemExit):
    """A signal ends the process; `code` is the exit status that shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class SignalHandler:
    """The signal handler of `handled_signals`."""

    def __init__(self) -> None:
        self.status: int | None = None  # the exit status after a signal; None before
        self._last = -_ONCE_S

    def __call__(self, number: int, frame: object) -> None:
        """Handle a signal: the first one may be answered by a block, later ones always raise."""
        now = time.monotonic()
        if now - self._last < _ONCE_S:
            return
        answer = _answers[0] if _answers and self.status is None else None
        self._last, self.status = now, 128 + number
        if answer is not None:
            answer()
            return
        # asyncio would report an exception raised inside a task as that task's own.
        if loop := _event_loop():
            loop(_leave, number)
        else:
            _leave(number)


@contextmanager
def handled_signals() -> Iterator[SignalHandler]:
    """Raise `Terminated` for SIGTERM and SIGHUP in the block, unless they are ignored (nohup) or handled already."""
    handler = SignalHandler()
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in _NUMBERS if main and signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, handler)
        yield handler
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def on_signal(answer: Callable[[], None] | None) -> Iterator[None]:
    """Call `answer` for the first signal during the block, instead of raising; None: raise. The outermost of nested
    blocks applies."""
    _answers.append(answer)
    try:
        yield
    finally:
        _answers.pop()


def _leave(number: int) -> None:
    raise Terminated(number)


def _event_loop() -> Callable[..., object] | None:
    """`call_soon_threadsafe` of the event loop that runs in this thread; None without one."""
    if asyncio := sys.modules.get("asyncio"):
        with suppress(RuntimeError):
            call: Callable[..., object] = asyncio.get_running_loop().call_soon_threadsafe
            return call
    return None
