"""pass@k by the unbiased estimator, and means over problems with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000
LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Mean:
    """A mean over problems and its bootstrap interval at LEVEL, as if similar problems had been asked."""

    value: float
    interval: tuple[float, float] | None  # None if all problems have the same value: resampling says nothing then


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of `k` samples passes, if `c` of `n` did: unbiased, and for k <= n only.

    Source: Chen et al. 2021, Evaluating Large Language Models Trained on Code (arXiv 2107.03374), section 2.1.
    Raises ValueError for other numbers.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} is undefined for {c} of {n} samples")
    fail = 1.0
    for left in range(n - c + 1, n + 1):
        fail *= max(0.0, 1 - k / left)
    return 1 - fail


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Mean | None:
    """The mean pass@k over problems, given as (samples, passed); None if a problem has fewer than `k` samples."""
    if not counts or min(n for n, _ in counts) < k:
        return None
    return bootstrap_mean([(pass_at_k(n, c, k), 1) for n, c in counts])


def bootstrap_mean(clusters: Sequence[tuple[float, float]], *, seed: int = 0) -> Mean:
    """The mean over clusters (a problem with all its samples), each given as (sum, size).

    The interval is a percentile bootstrap that draws whole clusters with replacement, which keeps the samples of a
    problem together (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13).
    Raises ValueError if there are no clusters.
    """
    import numpy as np

    if not clusters:
        raise ValueError("no clusters")
    sums, sizes = np.array(clusters, dtype=np.float64).T
    value = float(sums.sum() / sizes.sum())
    if np.all(sums * sizes[0] == sums[0] * sizes):
        return Mean(value, None)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    at_once = max(1, 1_000_000 // len(clusters))  # numbers in memory
    for begin in range(0, RESAMPLES, at_once):
        drawn = generator.integers(len(clusters), size=(min(at_once, RESAMPLES - begin), len(clusters)))
        means[begin : begin + at_once] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(value, (float(low), float(high)))
