"""One text to train on, and where it is from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """path: of the file, inside `source`; source: the package, archive, folder or JSON lines that it is from; licence:
    an SPDX expression, or "unknown"."""

    path: str
    source: str
    text: str
    licence: str = "unknown"
