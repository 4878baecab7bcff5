"""A model of bytes that anybody can build: interpolated Kneser-Ney, what a trained model must at least beat.

P(w | h) = max(c(h w) - D, 0) / c(h) + D n(h) / c(h) * P(w | h'), where h' is h without its first byte, n(h) the number
of different bytes seen after h, and D = n1 / (n1 + 2 n2) of an order's counts of one and two; orders below the highest
count in how many contexts an n-gram was seen, not how often (Kneser and Ney 1995; Chen and Goodman, TR-10-98, section
2.7, with one discount an order). Below the unigram every byte is as likely as another.

An n-gram is a number of 64 bits, its last byte the lowest: counts are sorted arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.bits import Bits

Codes = np.ndarray[Any, np.dtype[np.uint64]]  # of n-grams or contexts, ascending
Numbers = np.ndarray[Any, np.dtype[np.float64]]

ORDER = 5
_PIECE = 1 << 23  # bytes counted at once: 64 MiB of codes


@dataclass(frozen=True)
class _Order:
    """n-grams with their counts [n], the contexts of these with how often and with how many kinds they go on [c]."""

    grams: Codes
    counts: Numbers
    contexts: Codes
    seen: Numbers
    kinds: Numbers
    discount: float


class NGram:
    """Trained on `texts`, all of them in one pass."""

    def __init__(self, texts: Iterable[str], order: int = ORDER) -> None:
        grams, counts = _counted(texts, order)
        self.orders: list[_Order] = []  # from the highest to the unigram
        for length in range(order, 0, -1):
            self.orders.append(_order(grams, counts))
            if length > 1:
                # In how many contexts: every different n-gram counts once for what is left of it.
                shorter = grams & np.uint64((1 << 8 * (length - 1)) - 1)
                grams, inverse = np.unique(shorter, return_inverse=True)
                counts = np.bincount(inverse).astype(np.float64)

    def bits(self, texts: Sequence[str]) -> Bits:
        """What it needs for `texts`, each on its own, all of its bytes counted."""
        total, size = 0.0, 0
        for text in texts:
            codes = _codes(text.encode(), len(self.orders))
            total -= float(np.log2(self.probabilities(codes)).sum())
            size += len(codes)
        return Bits(total, size)

    def probabilities(self, codes: Codes) -> Numbers:
        """Of each n-gram's last byte after those before it."""
        found = np.full(len(codes), 1 / 256)
        for length, order in enumerate(reversed(self.orders), 1):
            grams = codes & np.uint64(2 ** (8 * length) - 1)
            seen, kinds = _looked_up(order.contexts, grams >> np.uint64(8), order.seen, order.kinds)
            (counts,) = _looked_up(order.grams, grams, order.counts)
            known = seen > 0
            share = (np.maximum(counts - order.discount, 0) + order.discount * kinds * found) / np.maximum(seen, 1)
            found = np.where(known, share, found)
        return found


def _codes(data: bytes, order: int) -> Codes:
    """The n-gram that ends in each byte; before the first there are newlines."""
    padded = np.frombuffer(b"\n" * (order - 1) + data, np.uint8)
    codes = np.zeros(len(data), np.uint64)
    for index in range(order):
        codes = codes << np.uint64(8) | padded[index : index + len(data)].astype(np.uint64)
    return codes


def _counted(texts: Iterable[str], order: int) -> tuple[Codes, Numbers]:
    grams, counts = np.zeros(0, np.uint64), np.zeros(0)
    held: list[Codes] = []
    size = 0

    def merged() -> tuple[Codes, Numbers]:
        new, times = np.unique(np.concatenate(held), return_counts=True)
        both, inverse = np.unique(np.concatenate([grams, new]), return_inverse=True)
        return both, np.bincount(inverse, np.concatenate([counts, times])).astype(np.float64)

    for text in texts:
        held.append(_codes(text.encode(), order))
        size += len(held[-1])
        if size >= _PIECE:
            grams, counts = merged()
            held, size = [], 0
    return merged() if held else (grams, counts)


def _order(grams: Codes, counts: Numbers) -> _Order:
    contexts, begins, kinds = np.unique(grams >> np.uint64(8), return_index=True, return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else 0.5
    seen = np.add.reduceat(counts, begins) if len(begins) else np.zeros(0)
    return _Order(grams, counts, contexts, seen, kinds.astype(np.float64), discount)


def _looked_up(keys: Codes, wanted: Codes, *values: Numbers) -> list[Numbers]:
    """The values of the keys, 0 where there is none."""
    if not len(keys):
        return [np.zeros(len(wanted)) for _ in values]
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = keys[at] == wanted
    return [np.where(there, value[at], 0.0) for value in values]
