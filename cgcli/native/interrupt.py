"""Ctrl-C as a flag that C code reads: the binding of cgk_interrupt_* (kernels/interrupt.c).

While llama.cpp runs, Python runs no signal handler, and a KeyboardInterrupt raised inside a ctypes callback is lost.
So the handler is C, and llama.cpp asks for the flag through an address of C code, without the interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Iterator

from cgcli.core.ending import answering
from cgcli.native.library import library


class Interrupt:
    """The flag of this process."""

    @property
    def requested(self) -> bool:
        return bool(library().cgk_interrupt_requested(None))

    @property
    def callback_address(self) -> int:
        """Address of a `bool (*)(void *)` that returns the flag: an abort callback of llama.cpp."""
        return ctypes.cast(library().cgk_interrupt_requested, ctypes.c_void_p).value or 0

    def set(self) -> None:
        """As if Ctrl-C had been pressed."""
        library().cgk_interrupt_set()

    def clear(self) -> None:
        library().cgk_interrupt_clear()


@contextlib.contextmanager
def interruptible(*, patient: bool = False) -> Iterator[Interrupt]:
    """While the block runs, the first Ctrl-C sets the flag and raises nothing; a second one ends the process.

    patient: it does not, and neither do any after it. The block looks at `requested` when it can stop. Blocks nest, on
    one thread, and the outermost one's patience holds. A SIGTERM or SIGHUP (core/ending.py) sets the flag, too; in a
    patient block, which goes on after Ctrl-C, it raises. Without sigaction (Windows) Ctrl-C stays a KeyboardInterrupt
    and the flag is only what `set` makes it.
    """
    installed = library().cgk_interrupt_install(patient) == 0
    try:
        with answering(None if patient else Interrupt().set):
            yield Interrupt()
    finally:
        if installed:
            library().cgk_interrupt_restore()


@contextlib.contextmanager
def handler_kept() -> Iterator[None]:
    """What Ctrl-C does after the block is what it did before it, though the block runs an event loop of asyncio.

    That leaves Python's own handler behind, which knows nothing of one in C. Only for the main thread.
    """
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.argtypes, get.restype = (ctypes.c_int,), ctypes.c_void_p
    put.argtypes, put.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    handler = get(signal.SIGINT)
    try:
        yield
    finally:
        put(signal.SIGINT, handler)
