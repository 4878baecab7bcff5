"""cgk_sample through its binding: bit for bit the NumPy reference, and the right distribution."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cgcli.core.errors import CgcliError, UsageError
from cgcli.native.library import library
from cgcli.native.sample import Draw, Mask, Sampled, Sampler, Sampling
from tests.native import reference

Floats = NDArray[np.float32]

LOGPROB_TOLERANCE = 5e-7
"""Of log-probabilities against exp in double: weights are within 2e-7 of exp, and cut to 2^-40."""

SETTINGS = [
    Sampling(0),
    Sampling(seed=1),
    Sampling(0.8, seed=(1 << 64) - 1),
    Sampling(1, top_p=1, seed=3),
    Sampling(1, top_p=0, seed=4),
    Sampling(0.8, top_p=0.9, top_k=40, min_p=0.02, seed=5),
    Sampling(1.2, top_p=1, min_p=0.1, seed=6),
    Sampling(1, top_p=1, min_p=1, seed=7),
    Sampling(1, top_p=1, top_k=1, seed=8),
    Sampling(1e-6, seed=9),
    Sampling(1e-310, top_p=1, seed=10),
    Sampling(1e300, seed=11),
]

SHAPES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "gaussian": lambda rng, n: 3 * rng.standard_normal(n),
    "flat": lambda rng, n: np.full(n, -2.5),
    "one-hot": lambda rng, n: np.where(np.arange(n) == n // 2, 50, -50),
    "ties": lambda rng, n: rng.integers(0, 4, n),
    "+inf": lambda rng, n: np.where((rng.random(n) < 0.2) | (np.arange(n) == 0), np.inf, rng.standard_normal(n)),
    "-inf": lambda rng, n: np.where((rng.random(n) < 0.6) & (np.arange(n) > 0), -np.inf, rng.standard_normal(n)),
}


def sample(logits: Floats, sampling: Sampling, *, banned: NDArray[np.bool_] | None = None, **draw: int) -> Sampled:
    mask = None if banned is None else as_mask(banned)
    return Sampler(len(logits)).sample(logits.ctypes.data, sampling, banned=mask, **draw)


def as_mask(banned: NDArray[np.bool_]) -> Mask:
    return (ctypes.c_uint8 * len(banned))(*banned.tolist())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_vocab", [1, 2, 3, 7, 16, 31, 64, 257, 1000, 4097, 51200])
def test_it_is_numpy_to_the_bit(shape: str, n_vocab: int) -> None:
    rng = np.random.default_rng(n_vocab)
    for sampling in SETTINGS:
        logits = np.asarray(SHAPES[shape](rng, n_vocab), np.float32)
        banned = (rng.random(n_vocab) < 0.3) & (np.arange(n_vocab) > 0)
        draw: dict[str, Any] = {"turn": n_vocab, "candidate": 2, "index": 3}
        assert sample(logits, sampling, **draw) == reference.sample(logits, sampling, **draw)
        expected = reference.sample(logits, sampling, banned=banned, **draw)
        assert sample(logits, sampling, banned=banned, **draw) == expected


def test_rows_are_drawn_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((5, 1000))).astype(np.float32)
    masks = [rng.random(1000) < 0.5 if row % 2 else None for row in range(5)]
    settings = [SETTINGS[row % len(SETTINGS)] for row in range(40)]
    sampler = Sampler(1000)
    for rows in (1, 3, 40, 2, 0, 40):  # arrays grow, and are used again for others
        draws = [
            Draw(logits[n % 5].ctypes.data, settings[(n + rows) % 40], turn=rows, candidate=n, index=n // 3,
                 banned=None if (mask := masks[n % 5]) is None else as_mask(mask))
            for n in range(rows)
        ]  # fmt: skip
        assert sampler.sample_rows(draws) == [
            sample(logits[n % 5], draw.sampling, banned=masks[n % 5], turn=rows, candidate=n, index=n // 3)
            for n, draw in enumerate(draws)
        ]


def test_a_row_without_a_choice_fails_its_batch() -> None:
    rows = np.array([[0, 1], [0, np.nan]], np.float32)
    with pytest.raises(CgcliError, match="not a number"):
        Sampler(2).sample_rows([Draw(row.ctypes.data, Sampling()) for row in rows])


few = st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), 1e30, -1e30, 1e-45, float("nan")])
finite = st.floats(-40, 40, width=32)


@given(
    logits=hnp.arrays(np.float32, st.integers(1, 40), elements=st.one_of(finite, finite, few)),
    sampling=st.builds(
        Sampling,
        temperature=st.one_of(st.just(0.0), st.floats(1e-3, 3), st.floats(0, 1e300)),
        top_p=st.one_of(st.sampled_from([0.0, 0.95, 1.0]), st.floats(0, 1)),
        top_k=st.integers(0, 50),
        min_p=st.one_of(st.just(0.0), st.floats(0, 1)),
        seed=st.integers(0, (1 << 64) - 1),
    ),
    index=st.integers(0, (1 << 32) - 1),
    data=st.data(),
)
def test_it_is_numpy_to_the_bit_for_any_row(logits: Floats, sampling: Sampling, index: int, data: Any) -> None:
    banned = data.draw(hnp.arrays(np.bool_, len(logits)))
    try:
        expected = reference.sample(logits, sampling, index=index, banned=banned)
    except ValueError:
        with pytest.raises(CgcliError):
            sample(logits, sampling, index=index, banned=banned)
        return
    assert sample(logits, sampling, index=index, banned=banned) == expected


def test_logprob_is_log_softmax_at_temperature_1_over_all_entries() -> None:
    logits = (3 * np.random.default_rng(0).standard_normal(51200)).astype(np.float32)
    banned = np.zeros(51200, bool)
    banned[np.argmax(logits)] = True
    for index in range(20):
        found = sample(logits, Sampling(0.2, seed=1), index=index, banned=banned)
        exact = logits.astype(np.float64) - logits.max()
        expected = exact[found.token] - np.log(np.exp(exact).sum())
        assert found.logprob == pytest.approx(expected, abs=LOGPROB_TOLERANCE, rel=2**-23)


@pytest.mark.parametrize("sampling", [Sampling(1, top_p=1), Sampling(0.7, top_p=0.9), Sampling(1.5, top_p=1, top_k=9)])
@pytest.mark.parametrize("stream", ["turn", "candidate", "index", "seed"])
def test_draws_follow_the_distribution(sampling: Sampling, stream: str) -> None:
    """Chi-square over 20,000 draws that differ in one word of the counter, or in the key."""
    draws, n_vocab = 20_000, 24
    logits = np.linspace(0, 3, n_vocab, dtype=np.float32)
    np.random.default_rng(5).shuffle(logits)
    p = np.exp(logits.astype(np.float64) / sampling.temperature)
    order = np.argsort(-p)
    order = order[: sampling.top_k] if sampling.top_k else order
    cumulative = np.cumsum(p[order]) / p[order].sum()
    order = order[: int(np.searchsorted(cumulative, min(sampling.top_p, cumulative[-1]))) + 1]
    expected = np.zeros(n_vocab)
    expected[order] = p[order] / p[order].sum() * draws

    sampler = Sampler(n_vocab)
    counts = np.zeros(n_vocab)
    for number in range(draws):
        seeded = Sampling(sampling.temperature, sampling.top_p, sampling.top_k, seed=number if stream == "seed" else 1)
        draw: dict[str, Any] = {} if stream == "seed" else {stream: number}
        counts[sampler.sample(logits.ctypes.data, seeded, **draw).token] += 1
    assert not counts[expected == 0].any()
    kept = expected > 0
    assert expected[kept].min() > 50
    chi_square = float(((counts - expected)[kept] ** 2 / expected[kept]).sum())
    freedom = int(kept.sum()) - 1
    # Wilson and Hilferty's normal approximation; beyond 4.5 deviations is one chance in 150,000, and seeds are fixed.
    deviations = ((chi_square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)) ** 0.5
    assert deviations < 4.5


def test_the_draw_depends_on_seed_turn_candidate_and_index_alone() -> None:
    logits = np.zeros(50000, np.float32)
    flat = Sampling(1, top_p=1, seed=7)
    token = sample(logits, flat, turn=1, candidate=2, index=3).token
    assert sample(logits, flat, turn=1, candidate=2, index=3).token == token
    others: list[dict[str, Any]] = [{"turn": 2, "candidate": 2, "index": 3}, {"turn": 1, "candidate": 3, "index": 3}]
    others += [{"turn": 1, "candidate": 2, "index": 4}, {"turn": 2, "candidate": 1, "index": 3}]
    assert len({token, *(sample(logits, flat, **other).token for other in others)}) == 5
    assert sample(logits, Sampling(1, top_p=1, seed=7 + (1 << 32)), turn=1, candidate=2, index=3).token != token


def test_a_sampler_follows_a_change_of_settings() -> None:
    logits = np.array([0, 1, 2, 3], np.float32)
    sampler = Sampler(4)
    assert sampler.sample(logits.ctypes.data, Sampling(1, top_p=1)).kept == 4
    assert sampler.sample(logits.ctypes.data, Sampling(1, top_p=1, top_k=2)).kept == 2


@pytest.mark.parametrize(
    ("logits", "reason"),
    [([0.0, np.nan], "not a number"), ([-np.inf, -np.inf], "no token left")],
)
def test_rows_without_a_choice_are_refused(logits: list[float], reason: str) -> None:
    with pytest.raises(CgcliError, match=reason):
        sample(np.array(logits, np.float32), Sampling())


def test_a_banned_nan_is_no_harm() -> None:
    found = sample(np.array([np.nan, 1, 2], np.float32), Sampling(0), banned=np.array([True, False, False]))
    assert found.token == 2 and np.isfinite(found.logprob)


@pytest.mark.parametrize(
    "values",
    [{"temperature": -0.1}, {"temperature": float("nan")}, {"temperature": float("inf")}, {"top_p": 1.1}, {"top_p": -1},
     {"top_k": -1}, {"min_p": 2}, {"seed": -1}, {"seed": 1 << 64}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    name, value = next(iter(values.items()))
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')} must be .*, but is {value}"):
        Sampling(**values)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    # Random123 1.14 (github.com/DEShawResearch/random123), tests/kat_vectors, lines "philox4x32 10".
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_known_answers(counter: str, key: str, expected: str) -> None:
    words = [tuple(int(word, 16) for word in text.split()) for text in (counter, key, expected)]
    assert reference.philox4x32(words[0], words[1]) == words[2]  # type: ignore[arg-type]
    out = (ctypes.c_uint32 * 4)()
    library().cgk_philox4x32((ctypes.c_uint32 * 4)(*words[0]), (ctypes.c_uint32 * 2)(*words[1]), out)
    assert tuple(out) == words[2]


def test_the_token_path_does_not_import_numpy() -> None:
    code = (
        "import sys, ctypes\n"
        "from cgcli.native.interrupt import interruptible\n"
        "from cgcli.native.sample import Sampler, Sampling, score_tokens\n"
        "row = (ctypes.c_float * 3)(1, 2, 3)\n"
        "Sampler(3).sample(ctypes.addressof(row), Sampling())\n"
        "score_tokens(ctypes.addressof(row), 3, [1])\n"
        "with interruptible(): pass\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
