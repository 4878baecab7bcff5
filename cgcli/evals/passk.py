"""pass@k, and how sure it is: the unbiased estimator, and intervals by drawing the problems anew.

Nothing here knows what passed, or at what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over problems; interval: from where to where it lies at LEVEL, were other problems of the kind asked.

    There is none where all are alike: problems drawn anew say nothing then.
    """

    value: float
    interval: tuple[float, float] | None


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that of `k` samples at least one passes, where `c` of `n` did: without bias, and for k <= n only.

    Source: Chen et al. 2021, Evaluating Large Language Models Trained on Code (arXiv 2107.03374), section 2.1.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"no pass@{k} of {c} in {n} samples")
    fail = 1.0
    for left in range(n - c + 1, n + 1):
        fail *= max(0.0, 1 - k / left)
    return 1 - fail


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Estimate | None:
    """pass@k over problems, each with its samples and how many of them passed; None where one has fewer than `k`."""
    if not counts or min(n for n, _ in counts) < k:
        return None
    return estimate([(pass_at_k(n, c, k), 1) for n, c in counts])


def estimate(clusters: Sequence[tuple[float, float]], *, seed: int = 0) -> Estimate:
    """The mean of what lies in clusters (a problem with all its samples), each given as its sum and its size.

    The interval is the bootstrap's by percentiles: whole clusters are drawn with replacement, so what lies in one
    together stays together (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13).
    Raises ValueError for no clusters.
    """
    import numpy as np

    if not clusters:
        raise ValueError("no clusters to draw from")
    sums, sizes = np.array(clusters, dtype=np.float64).T
    value = float(sums.sum() / sizes.sum())
    if np.all(sums * sizes[0] == sums[0] * sizes):
        return Estimate(value, None)
    generator = np.random.default_rng(seed)
    means = np.empty(DRAWS)
    at_once = max(1, 1_000_000 // len(clusters))  # numbers in memory
    for begin in range(0, DRAWS, at_once):
        drawn = generator.integers(len(clusters), size=(min(at_once, DRAWS - begin), len(clusters)))
        means[begin : begin + at_once] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, (float(low), float(high)))
