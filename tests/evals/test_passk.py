"""pass@k against its definition, and the coverage of intervals."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.evals.passk import Mean, bootstrap_mean, mean_pass_at_k, pass_at_k


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_fraction_of_choices_with_a_passing_sample(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    chosen = list(combinations([index < c for index in range(n)], k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, chosen)) / len(chosen), abs=1e-12)


def test_pass_at_k_equals_the_binomial_formula() -> None:
    assert pass_at_k(200, 13, 1) == pytest.approx(0.065)
    for c, k in ((13, 100), (1, 10), (199, 1), (100, 101)):
        assert pass_at_k(200, c, k) == pytest.approx(1 - comb(200 - c, k) / comb(200, k), abs=1e-12)


def test_impossible_counts_are_refused() -> None:
    for n, c, k in ((3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)):
        with pytest.raises(ValueError, match="is undefined"):
            pass_at_k(n, c, k)


def test_the_mean_is_over_problems_and_needs_k_samples_of_each() -> None:
    found = mean_pass_at_k([(2, 1), (4, 4)], 1)
    assert found and found.value == 0.75
    assert mean_pass_at_k([(2, 1), (4, 4)], 3) is None
    assert mean_pass_at_k([], 1) is None


def test_the_interval_is_reproducible_and_needs_a_cluster() -> None:
    clusters = [(float(n % 3 == 0), 1.0) for n in range(50)]
    assert bootstrap_mean(clusters) == bootstrap_mean(clusters) != bootstrap_mean(clusters, seed=1)
    assert bootstrap_mean([(2.0, 4.0)]) == Mean(0.5, None)
    with pytest.raises(ValueError, match="no clusters"):
        bootstrap_mean([])


def test_with_clusters_of_one_the_interval_is_the_binomial_one() -> None:
    clusters = [(float(n < 40), 1.0) for n in range(100)]
    found = bootstrap_mean(clusters)
    spread = 1.96 * (0.4 * 0.6 / 100) ** 0.5
    assert found.value == 0.4
    assert found.interval == pytest.approx((0.4 - spread, 0.4 + spread), abs=0.015)


def test_clusters_count_by_their_size() -> None:
    assert bootstrap_mean([(1.0, 1.0), (5.0, 5.0), (10.0, 10.0)]) == Mean(1.0, None)
    assert bootstrap_mean([(1.0, 1.0), (0.0, 9.0)]) == Mean(0.1, (0.0, 1.0))


def test_equal_samples_in_a_cluster_do_not_narrow_the_interval() -> None:
    alone = bootstrap_mean([(float(n < 8), 1.0) for n in range(20)])
    tenfold = bootstrap_mean([(10.0 * (n < 8), 10.0) for n in range(20)])
    assert tenfold.interval == alone.interval
    split = bootstrap_mean([(float(n < 80), 1.0) for n in range(200)])
    assert width(split) < 0.5 * width(alone)


def width(found: Mean) -> float:
    assert found.interval
    low, high = found.interval
    return high - low


def test_nineteen_of_twenty_intervals_contain_the_true_mean() -> None:
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        # Problems differ; five samples of each are alike but for chance.
        ease = draw.beta(0.8, 2.0, size=60)
        found = bootstrap_mean([(float(draw.binomial(5, one)), 5.0) for one in ease])
        assert found.interval
        held += found.interval[0] <= 0.8 / 2.8 <= found.interval[1]
    assert 180 <= held <= 198
