"""Selects the texts to train on, and keeps them in files of JSON lines.

The filters are those of CodeGen's data (arXiv 2203.13474, appendix on training data): they drop data files and
generated code. A text that occurs twice is used once; a share of the sources is held out. The files written here can be
read again through `[data] paths`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError
from cgcli.core.progress import Progress
from cgcli.terminal.text import plural
from cgcli.train.commented_turns import commented_programs
from cgcli.train.recipe import DataPart
from cgcli.train.sources import MAX_BYTES, FileCounts, Source

MEAN_LINE = 100  # characters; the mean must be below
LONGEST_LINE = 1000  # characters
DIGITS = 0.9  # share of the characters that are not white space

_WHITE = b" \t\n\r\f\v"
_DIGITS = b"0123456789abcdefABCDEF"
# What to do if every file was skipped, by the reason.
_REMEDIES = {
    "compressed": "unpack them first; .zip, .whl and .tar.* can be read as they are",
    "JSON line without a text": 'write an object with the text on each line: {"text": "..."}',
    "not UTF-8": "iconv -f latin1 -t utf-8 OLD > NEW",
    "too large": f"a text has {MAX_BYTES:,} bytes at most: split it, or give texts as JSON lines",
}


class DuplicateFilter:
    """Remembers texts by their SHA-256."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def seen(self, text: str) -> bool:
        """Whether the same text came before; remembers it."""
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        known = digest in self._digests
        self._digests.add(digest)
        return known


@dataclass
class TextSelection:
    """Decides, text by text, what is trained on, what is held out and what is skipped."""

    data: DataPart
    skipped: FileCounts
    held_out_sources: frozenset[str] = frozenset()  # by the list of packages, beside the share in `data`
    duplicates: DuplicateFilter = field(default_factory=DuplicateFilter)

    def accepts(self, source: Source, size: int = 0) -> bool:
        """Whether the text is used at all; a text that is not is counted, with `size` bytes."""
        reason = fault(source.text) or ("duplicate" if self.duplicates.seen(source.text) else None)
        if reason:
            self.skipped.add(reason, size)
        return reason is None

    def holds_out(self, source: Source) -> bool:
        return source.source in self.held_out_sources or in_share(source.source, self.data.seed, self.data.held_out)

    def check_not_empty(self, used: int, held_out: int) -> None:
        """Raises CgcliError with the reasons if no text is left to train on."""
        if used:
            return
        reasons = {"held out": held_out, **dict(self.skipped.files.most_common())}
        counts = ", ".join(f"{files} {reason}" for reason, files in reasons.items() if files)
        if not counts:
            kinds = " or ".join(self.data.extensions)
            raise CgcliError(
                f"no file to train on in {', '.join(self.data.paths)}: none ends in {kinds}",
                hint="name the files themselves, or set [data] extensions in a recipe",
            )
        hint = next((hint for reason, hint in _REMEDIES.items() if reason in reasons), None)
        raise CgcliError(f"no usable text in {plural(sum(reasons.values()), 'file')}: {counts}", hint=hint)


def fault(text: str) -> str | None:
    """Why a text is not used for training; None if it is."""
    lines = text.removesuffix("\n").split("\n")
    visible = text.encode("utf-8").translate(None, _WHITE)
    if not visible:
        return "empty"
    if sum(map(len, lines)) >= MEAN_LINE * len(lines):
        return f"mean line of {MEAN_LINE} characters or more"
    if max(map(len, lines)) > LONGEST_LINE:
        return f"line over {LONGEST_LINE} characters"
    if len(visible) - len(visible.translate(None, _DIGITS)) > DIGITS * len(visible):
        return f"over {DIGITS:.0%} digits"
    return None


def in_share(name: str, seed: int, share: float) -> bool:
    """Whether `name` belongs to a random `share` of all names. Depends on the name and the seed alone, not on the other
    names."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


class TextWriter:
    """Writes sources to the file `path`, one JSON line each; a context manager."""

    def __init__(self, path: Path) -> None:
        self.starts: list[int] = []  # offset of each line, in bytes
        self._file = path.open("wb")

    def add(self, source: Source) -> None:
        self.starts.append(self._file.tell())
        self._file.write(json.dumps(asdict(source)).encode() + b"\n")

    def __enter__(self) -> TextWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def read_texts(path: Path, starts: Sequence[int]) -> Iterator[str]:
    """The texts of the lines at the offsets `starts`, in that order."""
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            text: str = json.loads(file.readline())["text"]
            yield text


def write_texts(
    sources: Iterable[Source], selection: TextSelection, folder: Path, progress: Progress
) -> tuple[dict[str, Any], list[int]]:
    """Write the selected texts to texts.jsonl and held_out.jsonl in `folder`.

    Returns the counts and the offset of each text in texts.jsonl. Raises CgcliError if no text is left.
    """
    data = selection.data
    totals, licences = FileCounts(), FileCounts()
    held_out_sources: set[str] = set()
    with (
        TextWriter(folder / "texts.jsonl") as trained,
        TextWriter(folder / "held_out.jsonl") as held_out,
        progress.task("texts", None) as task,
    ):
        for source in sources:
            size = len(source.text.encode())
            task.advance(size)
            totals.add("read", size)
            if not selection.accepts(source, size):
                continue
            if selection.holds_out(source):
                held_out_sources.add(source.source)
                totals.add("held_out", size)
                held_out.add(source)
                continue
            totals.add("trained_on", size)
            licences.add(source.licence, size)
            trained.add(source)
            if in_share(f"turns of {source.path}", data.seed, data.turns):
                for program in commented_programs(source.text, data.seed):
                    if not selection.duplicates.seen(program):
                        totals.add("turns", len(program.encode()))
                        trained.add(replace(source, path=f"{source.path} (turns)", text=program))
    selection.check_not_empty(len(trained.starts), totals.files["held_out"])
    counts = {
        **totals.table(),
        "held_out_sources": len(held_out_sources),
        "dropped": selection.skipped.table(),
        "licences": licences.table(),
    }
    return counts, trained.starts
