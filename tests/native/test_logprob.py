"""cgk_logprob and cgk_top through their binding, compared with NumPy and with log-softmax in double."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from cgcli.core.errors import CgcliError
from cgcli.native.sample import score_tokens, top_tokens
from tests.native import reference
from tests.native.bindings import logprob, logprobs

LOGPROB_TOLERANCE = 5e-7
ENTROPY_TOLERANCE = 1e-5


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(exact - np.log(np.exp(exact).sum(axis=-1, keepdims=True)))


@pytest.mark.parametrize("n_vocab", [1, 2, 17, 1000, 51200])
@pytest.mark.parametrize("deviation", [0.0, 1.3, 10.0])
def test_rows_agree_with_numpy_and_with_log_softmax(n_vocab: int, deviation: float) -> None:
    rng = np.random.default_rng(n_vocab)
    logits = (deviation * rng.standard_normal((3, n_vocab))).astype(np.float32)
    tokens = rng.integers(0, n_vocab, 3).astype(np.int32)
    found, expected = score_tokens(logits.ctypes.data, n_vocab, tokens.tolist()), reference.details(logits, tokens)
    numbers = [one.logprob for one in found]
    assert numbers == [one.logprob for one in expected] == logprobs(logits.ctypes.data, n_vocab, tokens.tolist())
    assert numbers[0] == logprob(logits.ctypes.data, n_vocab, int(tokens[0]))
    assert [one.rank for one in found] == [one.rank for one in expected]
    entropy = [one.entropy for one in found]
    np.testing.assert_allclose(entropy, [one.entropy for one in expected], atol=ENTROPY_TOLERANCE, rtol=0)
    exact = log_softmax(logits)
    np.testing.assert_allclose(numbers, exact[np.arange(3), tokens], atol=LOGPROB_TOLERANCE, rtol=2**-23)
    np.testing.assert_allclose(entropy, -(np.exp(exact) * exact).sum(axis=1), atol=ENTROPY_TOLERANCE, rtol=0)


@pytest.mark.parametrize("n_vocab", [1, 2, 17, 1000, 51200])
@pytest.mark.parametrize("values", [1, 4, 1 << 20])
def test_the_top_is_numpy_s(n_vocab: int, values: int) -> None:
    logits = np.random.default_rng(n_vocab).integers(0, values, n_vocab).astype(np.float32)
    for k in {1, min(2, n_vocab), min(9, n_vocab), min(n_vocab, 1000)}:
        assert top_tokens(logits.ctypes.data, n_vocab, k) == tuple(reference.top(logits, k))


def test_infinities() -> None:
    logits = np.array([[np.inf, 1, np.inf], [-np.inf, 0, 0]], np.float32)
    found = score_tokens(logits.ctypes.data, 3, [1, 0])
    assert [(one.logprob, one.rank) for one in found] == [(-np.inf, 2), (-np.inf, 2)]
    assert [one.entropy for one in found] == pytest.approx([np.log(2)] * 2)
    assert logprob(logits[0].ctypes.data, 3, 2) == pytest.approx(-np.log(2))
    assert [token for token, _ in top_tokens(logits[0].ctypes.data, 3, 3)] == [0, 2, 1]
    assert top_tokens(logits[1].ctypes.data, 3, 3) == tuple(reference.top(logits[1], 3))


def test_no_token_has_no_score() -> None:
    assert logprobs(np.zeros(2, np.float32).ctypes.data, 2, []) == []


@pytest.mark.parametrize("row", [[0.0, np.nan], [-np.inf, -np.inf]])
def test_rows_without_a_distribution_are_refused(row: list[float]) -> None:
    logits = np.array([[1, 2], row], np.float32)
    with pytest.raises(CgcliError, match="token 0"):
        score_tokens(logits[1].ctypes.data, 2, [0])
    with pytest.raises(CgcliError, match="one of 2 tokens"):
        score_tokens(logits.ctypes.data, 2, [0, 1])
    with pytest.raises(CgcliError, match=r"not a number|no token left"):
        top_tokens(logits[1].ctypes.data, 2, 1)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    row = (ctypes.c_float * 2)(0, 0)
    for token in (-1, 2):
        with pytest.raises(CgcliError, match="invalid logits"):
            logprob(ctypes.addressof(row), 2, token)


def test_more_than_there_is_is_refused() -> None:
    row = (ctypes.c_float * 2)(0, 0)
    assert top_tokens(ctypes.addressof(row), 2, 0) == ()
    with pytest.raises(CgcliError, match="status"):
        top_tokens(ctypes.addressof(row), 2, 3)
