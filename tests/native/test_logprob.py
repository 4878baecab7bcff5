"""cgk_logprob through its binding and bare: the same as NumPy, and as log-softmax in double."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from cgcli.core.errors import CgcliError
from cgcli.native import reference
from cgcli.native.library import CGK_OK, library
from cgcli.native.logprob import logprob

LOGPROB_TOLERANCE = 5e-7
ENTROPY_TOLERANCE = 1e-5


def scored(logits: NDArray[np.float32], tokens: NDArray[np.int32]) -> reference.Scored:
    rows, n_vocab = logits.shape
    found = reference.Scored(np.empty(rows, np.float32), np.empty(rows, np.uint32), np.empty(rows, np.float32))
    outputs = [values.ctypes.data for values in (found.logprob, found.rank, found.entropy)]
    assert library().cgk_logprob(logits.ctypes.data, rows, n_vocab, tokens.ctypes.data, *outputs) == CGK_OK
    return found


@pytest.mark.parametrize("n_vocab", [1, 2, 17, 1000, 51200])
@pytest.mark.parametrize("deviation", [0.0, 1.3, 10.0])
def test_rows_agree_with_numpy_and_with_log_softmax(n_vocab: int, deviation: float) -> None:
    rng = np.random.default_rng(n_vocab)
    logits = (deviation * rng.standard_normal((3, n_vocab))).astype(np.float32)
    tokens = rng.integers(0, n_vocab, 3).astype(np.int32)
    found, expected = scored(logits, tokens), reference.logprob(logits, tokens)
    np.testing.assert_array_equal(found.logprob, expected.logprob)
    np.testing.assert_array_equal(found.rank, expected.rank)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=ENTROPY_TOLERANCE, rtol=0)
    exact = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.logprob, exact[np.arange(3), tokens], atol=LOGPROB_TOLERANCE, rtol=2**-23)
    np.testing.assert_allclose(found.entropy, -(np.exp(exact) * exact).sum(axis=1), atol=ENTROPY_TOLERANCE, rtol=0)


def test_infinities() -> None:
    logits = np.array([[np.inf, 1, np.inf], [-np.inf, 0, 0]], np.float32)
    found = scored(logits, np.array([1, 0], np.int32))
    assert found.logprob.tolist() == [-np.inf, -np.inf] and found.rank.tolist() == [2, 2]
    assert found.entropy == pytest.approx([np.log(2)] * 2)
    assert logprob(logits[0].ctypes.data, 3, 2) == pytest.approx(-np.log(2))


@pytest.mark.parametrize("row", [[0.0, np.nan], [-np.inf, -np.inf]])
def test_rows_without_a_distribution_are_refused(row: list[float]) -> None:
    with pytest.raises(CgcliError, match="token 0"):
        logprob(np.array(row, np.float32).ctypes.data, 2, 0)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    row = (ctypes.c_float * 2)(0, 0)
    for token in (-1, 2):
        with pytest.raises(CgcliError, match=f"token {token}"):
            logprob(ctypes.addressof(row), 2, token)
