"""How fast this machine reads memory: the limit of decoding one token after another, which reads every weight for each.

A plain loop a thread over a buffer that no cache holds; it knows nothing of models.
"""

from __future__ import annotations

import threading
import time

BUFFER = 1 << 28  # bytes
_TURNS = 6


def bytes_per_s(threads: int, *, buffer: int = BUFFER, turns: int = _TURNS) -> float:
    """Bytes read a second by so many threads together: the best of some turns, the others being disturbed ones."""
    import numpy as np

    # The largest byte: NumPy needs the fewest instructions a byte for it, and lets other threads run.
    parts = np.array_split(np.ones(buffer, np.uint8), threads)
    best = float("inf")
    for _ in range(turns):
        readers = [threading.Thread(target=np.max, args=(part,)) for part in parts]
        started = time.perf_counter()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        best = min(best, time.perf_counter() - started)
    return buffer / best
