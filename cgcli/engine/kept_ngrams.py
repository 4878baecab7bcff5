"""The n-grams of other texts than the one that is drawn: built once, kept in a file, and mapped by later runs.

Guesses from them change the speed and never a draw, so a file that is somewhat out of date does no harm: it is built
again when a tenth of its texts has changed. It contains the texts' tokens and belongs to the user alone.
"""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cgcli.core.files import temporary
from cgcli.native.draft import KeptNgrams, NgramIndex

MAX_BYTES = 1 << 20  # of all texts
_SECONDS = 0.5  # to build an index
_FILES = 20  # kept in the folder
_MAGIC = b"cgcli n-grams 1\n"
_BETWEEN = -1  # the token between two texts


@dataclass(frozen=True)
class DraftText:
    """A text to guess from."""

    name: str
    size: int  # bytes
    changed: int  # when, in ns
    read: Callable[[], bytes]  # may raise OSError


def kept_ngrams(
    texts: Sequence[DraftText], file: Path, model: str, tokenize: Callable[[bytes], list[int]]
) -> KeptNgrams | None:
    """The n-grams of the texts, from `file` if that is recent enough, else built and kept there; None without texts.

    The first texts are taken, up to MAX_BYTES. model: names the vocabulary of `tokenize`.
    """
    taken, size = [], 0
    for text in texts:
        if size + text.size <= MAX_BYTES:
            taken.append(text)
            size += text.size
    if not taken:
        return None
    facts = {text.name: [text.size, text.changed] for text in taken}
    found = _kept(file, model, facts)
    if found is None:
        memory = _built(taken, tokenize)
        header = json.dumps({"model": model, "texts": facts}).encode() + b"\n"
        header += b" " * (-len(_MAGIC + header) % 8)
        with suppress(OSError):
            _keep(file, _MAGIC + header + memory)
        found = KeptNgrams(bytearray(memory))
    return found


def _kept(file: Path, model: str, texts: Mapping[str, list[int]]) -> KeptNgrams | None:
    """The index in a file, if it is of this model and nine tenths of it are of these texts."""
    try:
        with file.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
            if opened.readline() != _MAGIC:
                return None
            line = opened.readline()
        header = json.loads(line)
        known = header["texts"]
        same = sum(size for name, [size, changed] in texts.items() if known.get(name) == [size, changed])
        most = max(sum(size for size, _ in texts.values()), sum(size for size, _ in known.values()))
        if header["model"] != model or same < 0.9 * most:
            return None
        begin = -(-len(_MAGIC + line) // 8) * 8
        return KeptNgrams(memoryview(mapped)[begin:])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or damaged
        return None


def _built(texts: Sequence[DraftText], tokenize: Callable[[bytes], list[int]]) -> bytes:
    tokens: list[int] = [_BETWEEN]
    until = time.monotonic() + _SECONDS
    for text in texts:
        if time.monotonic() > until:
            break
        with suppress(OSError):
            tokens += [*tokenize(text.read()[:MAX_BYTES]), _BETWEEN]
    index = NgramIndex(len(tokens))
    index.append(tokens)
    return index.memory()


def _keep(file: Path, data: bytes) -> None:
    """Write the file, and remove those of the folder that were not written for the longest time."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with temporary(file) as beside:  # its mode is 0600
        beside.write_bytes(data)
        beside.replace(file)
    for old in sorted(file.parent.glob(f"*{file.suffix}"), key=lambda one: one.stat().st_mtime)[:-_FILES]:
        old.unlink(missing_ok=True)
