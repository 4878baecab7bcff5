"""Bits per byte: how well a model predicts texts, in a unit that no vocabulary changes. Also what `xz` makes of them.

The fewer, the better; 8 is knowing nothing. It knows texts and an engine, not where either is from.
"""

from __future__ import annotations

import lzma
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError
from cgcli.core.progress import Progress, Silent
from cgcli.core.reading import lines, open_regular, parse_json, unreadable
from cgcli.core.typed import typed
from cgcli.engine.protocol import Engine


@dataclass(frozen=True)
class Bits:
    """bits: of all that was predicted; bytes: of it, in UTF-8."""

    bits: float
    bytes: int

    @property
    def per_byte(self) -> float:
        return self.bits / self.bytes if self.bytes else math.nan


def bits(engine: Engine, texts: Sequence[str], progress: Progress | None = None) -> Bits:
    """What the engine's model needs for `texts`, each read on its own.

    A text longer than the window is read in windows that overlap by half. A text's first token, which nothing predicts,
    is counted neither in bits nor in bytes.
    """
    nats, size = 0.0, 0
    with (progress or Silent()).task("bytes scored", sum(len(text.encode()) for text in texts)) as task:
        for text in texts:
            data = text.encode()
            for score in engine.surprise(data, stride=engine.window // 2):
                nats -= score.logprob
                size += len(score.piece)
            task.advance(len(data))
    return Bits(nats / math.log(2), size)


def xz(texts: Sequence[str]) -> Bits:
    """What `xz -9e` makes of the texts, one after the other, knowing nothing but them."""
    data = "".join(texts).encode()
    return Bits(8.0 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)), len(data))


def read_texts(path: Path, size: int | None = None, seed: int = 0) -> list[str]:
    """The texts of JSON lines with a "text", as `cgcli train` keeps them (held_out.jsonl).

    size: bytes that are enough: whole texts, drawn by `seed`, the one that goes beyond it left out.
    """
    try:
        with open_regular(path) as file:
            rows = [typed(dict[str, Any], parse_json(line), "line") for line in lines(file)]
        texts = [typed(str, row.get("text"), "text") for row in rows]
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise CgcliError(f'{path} is not JSON lines with a "text"') from error
    if size is None:
        return texts
    random.Random(seed).shuffle(texts)
    kept: list[str] = []
    for text in texts:
        if (size := size - len(text.encode())) < 0:
            break
        kept.append(text)
    return kept
