"""Where a converted model came from, as it is recorded in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Provenance:
    """source: `hf:owner/repo` or a folder's name; revision: the commit that was fetched, where there is one;
    sha256: hash of each source file by its name; what is left out is hashed while converting."""

    source: str
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
