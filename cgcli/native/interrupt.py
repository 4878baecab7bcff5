"""Ctrl-C as a flag that C code reads: the binding of cgk_interrupt_* (kernels/interrupt.c).

While llama.cpp runs, Python runs no signal handlers, and a KeyboardInterrupt raised inside a ctypes callback is lost.
So the handler is in C, and llama.cpp reads the flag through the address of a C function, without the interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Iterator

from cgcli.core.signals import on_signal
from cgcli.native.library import library


class Interrupt:
    """The flag of this process."""

    @property
    def requested(self) -> bool:
        return bool(library().cgk_interrupt_requested(None))

    @property
    def callback_address(self) -> int:
        """Address of a `bool (*)(void *)` that returns the flag: an abort callback for llama.cpp."""
        return ctypes.cast(library().cgk_interrupt_requested, ctypes.c_void_p).value or 0

    def set(self) -> None:
        """Act as if Ctrl-C had been pressed."""
        library().cgk_interrupt_set()

    def clear(self) -> None:
        library().cgk_interrupt_clear()


@contextlib.contextmanager
def interruptible(*, patient: bool = False) -> Iterator[Interrupt]:
    """While the block runs, Ctrl-C sets the flag and raises nothing; a second Ctrl-C ends the process.

    The block checks `requested` whenever it can stop. With `patient`, further Ctrl-C have no effect. Blocks nest, on
    one thread, and the outermost decides on `patient`. SIGTERM and SIGHUP (core/signals.py) set the flag too, except in
    a patient block, which continues after Ctrl-C: there they raise.
    """
    installed = library().cgk_interrupt_install(patient) == 0
    try:
        with on_signal(None if patient else Interrupt().set):
            yield Interrupt()
    finally:
        if installed:
            library().cgk_interrupt_restore()


@contextlib.contextmanager
def handler_kept() -> Iterator[None]:
    """Restore the handler of Ctrl-C after a block that runs an asyncio event loop. Main thread only.

    The loop would leave Python's own handler in place of the one in C.
    """
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.argtypes, get.restype = (ctypes.c_int,), ctypes.c_void_p
    put.argtypes, put.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    handler = get(signal.SIGINT)
    try:
        yield
    finally:
        put(signal.SIGINT, handler)
