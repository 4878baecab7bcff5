"""Loads a model on a thread of its own, while the user types."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from cgcli.core.errors import Interrupted

if TYPE_CHECKING:
    from cgcli.engine.protocol import Engine


class Loader:
    """A model that is loaded in the background, and can be awaited, cancelled and loaded again."""

    def __init__(self, open: Callable[[Callable[[], bool]], Engine], changed: Callable[[], None]) -> None:
        """open: loads and returns the engine; raises Interrupted soon after the function that it is given returns True.

        changed: called on the loader's thread when loading ends, successfully or not.
        """
        self._open = open
        self._changed = changed
        self._closed = threading.Event()
        self._awaited = threading.Event()  # Ctrl-C then means the load
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self.engine: Engine | None = None  # None until it is loaded

    @property
    def loading(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and self.engine is None and self._error is None

    def start(self) -> None:
        """Start loading; does nothing if the model is loaded or loading."""
        if self.engine is None and not self.loading:
            self._error = None
            self._thread = threading.Thread(target=self._load, name="loader", daemon=True)
            self._thread.start()

    def wait(self) -> Engine:
        """Return the engine when it is loaded. Raises what loading raised.

        Raises Interrupted after Ctrl-C; the next call then starts over.
        """
        if self._thread is None or isinstance(self._error, Interrupted):
            self.start()
        if self._thread is not None:
            self._awaited.set()
            try:
                self._thread.join()
            finally:
                self._awaited.clear()
        if self._error is not None:
            raise self._error
        assert self.engine is not None  # nobody waits for a loader that was closed
        return self.engine

    def close(self) -> None:
        """Free the model; cancels a load that is under way."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self.engine is not None:
            self.engine.close()
            self.engine = None

    def _cancelled(self) -> bool:
        from cgcli.native.interrupt import Interrupt

        return self._closed.is_set() or (self._awaited.is_set() and Interrupt().requested)

    def _load(self) -> None:
        try:
            self.engine = self._open(self._cancelled)
        except Exception as error:  # raised again by `wait`
            self._error = error
        self._changed()
