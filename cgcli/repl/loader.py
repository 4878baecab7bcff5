"""A model that loads while the user types, on a thread of its own; who asks it something waits for it.

Knows how to wait, to give up and to try again; how a model is opened it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from cgcli.core.errors import Interrupted

if TYPE_CHECKING:
    from cgcli.engine.protocol import Engine


class Loader:
    """open: returns the loaded engine, or raises; Interrupted, soon after the function that it is given says that it is
    not wanted any more. changed: called on the loader's thread when that is over."""

    def __init__(self, open: Callable[[Callable[[], bool]], Engine], changed: Callable[[], None]) -> None:
        self._open = open
        self._changed = changed
        self._closed = threading.Event()
        self._waited = threading.Event()  # so that Ctrl-C is meant for what loads
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self.engine: Engine | None = None
        """None until it is loaded."""

    @property
    def loading(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and self.engine is None and self._error is None

    def start(self) -> None:
        """Load, without waiting for it; nothing happens where it is loaded, or loading."""
        if self.engine is None and not self.loading:
            self._error = None
            self._thread = threading.Thread(target=self._load, name="loader", daemon=True)
            self._thread.start()

    def wait(self) -> Engine:
        """The engine, once it is there. Raises what loading raised; Interrupted after Ctrl-C, and then loads anew when
        it is waited for again."""
        if self._thread is None or isinstance(self._error, Interrupted):
            self.start()
        if self._thread is not None:
            self._waited.set()
            try:
                self._thread.join()
            finally:
                self._waited.clear()
        if self._error is not None:
            raise self._error
        assert self.engine is not None  # nobody waits for a loader that was closed
        return self.engine

    def close(self) -> None:
        """Give the model back; one that is still loading is given up."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self.engine is not None:
            self.engine.close()
            self.engine = None

    def _cancelled(self) -> bool:
        from cgcli.native.interrupt import Interrupt

        return self._closed.is_set() or (self._waited.is_set() and Interrupt().requested)

    def _load(self) -> None:
        try:
            self.engine = self._open(self._cancelled)
        except Exception as error:  # raised again in `wait`, where somebody listens
            self._error = error
        self._changed()
