"""Texts on disk: a file of JSON lines, a text a line with where it is from, written once and read back in any order.

It is what `cgcli train` keeps of the data beside the records; each line is also one that `[data] paths` can name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from cgcli.train.sources import Source


class TextWriter:
    """Writes the file `path`; a context manager. starts: where the line of each text begins, in bytes."""

    def __init__(self, path: Path) -> None:
        self.starts: list[int] = []
        self._file = path.open("wb")

    def add(self, source: Source) -> None:
        self.starts.append(self._file.tell())
        self._file.write(json.dumps(asdict(source)).encode() + b"\n")

    def __enter__(self) -> TextWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def texts(path: Path, starts: Sequence[int]) -> Iterator[str]:
    """The texts of the lines that begin at `starts`, in that order."""
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            text: str = json.loads(file.readline())["text"]
            yield text
