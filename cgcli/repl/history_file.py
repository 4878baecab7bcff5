"""The history of prompts in a file that only the user can read; in memory alone where that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory

from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error


class HistoryFile(FileHistory):
    """path: None: in memory from the start. trouble: why nothing is kept any more, until somebody takes it."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path or os.devnull)
        self._path = path
        self.trouble: CgcliError | None = None

    def load_history_strings(self) -> Iterable[str]:
        if self._path is None:
            return []
        try:
            if self._path.exists() and not self._path.is_file():
                raise CgcliError(f"the history {self._path} is not a regular file")
            return super().load_history_strings()
        except OSError as error:
            self._give_up(CgcliError(f"cannot read the history {self._path}: {error.strerror or error}"))
        except CgcliError as error:
            self._give_up(error)
        return []

    def store_string(self, string: str) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600))
            super().store_string(string)
        except OSError as error:
            self._give_up(disk_error(self._path, error))

    def _give_up(self, error: CgcliError) -> None:
        self.trouble = CgcliError(f"{error.message}; prompts are remembered in this session only", hint=error.hint)
        self._path = None
