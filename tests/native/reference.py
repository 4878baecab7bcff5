"""NumPy reference of every kernel: implements kernels/include/cgk.h as plainly as possible.

It sorts, allocates and is slow. Tokens, kept sets and log-probabilities have the same bits as the kernels'; only the
entropy is a floating-point sum in any order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgcli.native.sample import Sampled, Sampling, Scored

Floats = NDArray[np.float32]
Weights = NDArray[np.uint64]

ONE = 1 << 40  # weight of the greatest logit

FLOAT_MAX = float(np.finfo(np.float32).max)


def scale(temperature: float) -> np.float32:
    """log2(e) / temperature, rounded to float32."""
    with np.errstate(over="ignore", divide="ignore"):
        exact = np.float64(1.4426950408889634) / np.float64(temperature)
    return np.float32(min(float(exact), FLOAT_MAX))


def weights(logits: Floats, temperature: float) -> Weights:
    """Integer weights of float32 [n] logits against their own maximum: uint64 [n]. NaN weighs 0."""
    top = np.fmax.reduce(logits)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        y = np.where(logits == top, np.float32(0), logits - top) * scale(temperature)
        y = np.where(y > -64, y, np.float32(-64))
        n = (y + np.float32(12582912)) - np.float32(12582912)
        f = y - n
        p = np.full_like(f, float.fromhex("0x1.5bba14p-10"))
        for coefficient in ("0x1.3cea88p-7", "0x1.c6b752p-5", "0x1.ebf9bcp-3", "0x1.62e42ap-1", "0x1p0"):
            p = p * f + np.float32(float.fromhex(coefficient))
    return np.asarray(np.ldexp(p, n.astype(np.int32) + 40).astype(np.uint64))


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 of 32-bit words (Salmon et al., SC 2011)."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (b >> 32) ^ x1 ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ x3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x0, x1, x2, x3


def kept(weight: Weights, sampling: Sampling) -> NDArray[np.intp]:
    """Ids that may be drawn, in order of ids."""
    order = np.argsort(ONE - weight.astype(np.int64), kind="stable")
    order = order[weight[order] > 0]
    if sampling.top_k:
        order = order[: sampling.top_k]
    if sampling.top_p < 1:
        sums = np.cumsum(weight[order])
        need = math.ceil(sampling.top_p * float(int(sums[-1])))
        order = order[: 1 + int(np.searchsorted(sums, min(need, int(sums[-1]))))]
    return np.sort(order[weight[order] >= math.ceil(sampling.min_p * ONE)])


def sample(
    logits: Floats, sampling: Sampling, *, turn: int = 0, candidate: int = 0, index: int = 0, banned: Any = None
) -> Sampled:
    """Like cgk_sample. logits: float32 [n_vocab]; banned: bool [n_vocab] or None. Raises ValueError if it fails."""
    open_to_choice = np.ones(len(logits), bool) if banned is None else ~np.asarray(banned, bool)
    if np.isnan(logits[open_to_choice]).any():
        raise ValueError("NaN")
    masked = np.where(open_to_choice, logits, np.float32(-np.inf))
    if masked.max() == -np.inf:
        raise ValueError("no candidate")
    if sampling.temperature == 0:
        token, size = int(np.argmax(masked)), 1
    else:
        weight = np.where(open_to_choice, weights(masked, sampling.temperature), np.uint64(0))
        ids = kept(weight, sampling)
        sums = np.cumsum(weight[ids])
        words = philox4x32((index, candidate, turn, 0), (sampling.seed & 0xFFFFFFFF, sampling.seed >> 32))
        target = ((words[0] | words[1] << 32) * int(sums[-1])) >> 64
        token, size = int(ids[np.searchsorted(sums, target, side="right")]), len(ids)
    return Sampled(token, float(_logprob(logits, token)), size)


def details(logits: Floats, tokens: NDArray[np.int32]) -> list[Scored]:
    """Like cgk_logprob. logits: float32 [rows, n_vocab]; tokens: int32 [rows]."""
    ids = np.arange(logits.shape[1])
    scored = []
    for values, token in zip(logits, tokens.tolist(), strict=True):
        rank = int(np.sum((values > values[token]) | ((values == values[token]) & (ids < token))))
        weight = weights(values, 1.0)
        p = weight[weight > 0] / float(int(weight.sum()))
        scored.append(Scored(float(_logprob(values, token)), rank, float(-np.sum(p * np.log(p)))))
    return scored


def top(logits: Floats, k: int) -> list[tuple[int, float]]:
    """Like cgk_top. logits: float32 [n_vocab]."""
    return [(int(token), float(_logprob(logits, int(token)))) for token in np.argsort(-logits, kind="stable")[:k]]


def _logprob(logits: Floats, token: int) -> np.float32:
    top = np.fmax.reduce(logits)
    relative = 0.0 if logits[token] == top else float(logits[token]) - float(top)
    return np.float32(relative - math.log(int(weights(logits, 1.0).sum()) / ONE))
