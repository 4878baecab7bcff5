"""The n-gram index through its binding: it proposes what a scan of the sequence finds."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cgcli.native.draft import CAPACITY_MAX, Draft, NgramIndex
from tests.native.reference_draft import propose

tokens = st.lists(st.one_of(st.integers(0, 2), st.sampled_from([-1, 51199, 2**31 - 1, -(2**31)])), max_size=12)


class GrowingSequence(RuleBasedStateMachine):
    """Appends, truncations and proposals in any order, beside a plain list."""

    @initialize(capacity=st.integers(1, 8), shortest=st.integers(1, 4), more=st.integers(0, 4))
    def start(self, capacity: int, shortest: int, more: int) -> None:
        self.range = {"shortest": shortest, "longest": shortest + more}
        self.index = NgramIndex(capacity, **self.range)
        self.sequence: list[int] = []

    @rule(tokens=tokens)
    def append(self, tokens: list[int]) -> None:
        self.index.append(tokens)
        self.sequence += tokens

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        length = round(share * len(self.sequence))
        self.index.truncate(length)
        del self.sequence[length:]

    @rule(times=st.integers(1, 3), length=st.integers(1, 20))
    def repeat_the_end(self, times: int, length: int) -> None:
        self.append(self.sequence[-length:] * times)

    @rule(k=st.integers(0, 40))
    def guess(self, k: int) -> None:
        assert self.index.propose(k) == propose(self.sequence, k, **self.range)

    @invariant()
    def it_is_the_sequence(self) -> None:
        assert len(self.index) == len(self.sequence)
        assert self.index.propose(3) == propose(self.sequence, 3, **self.range)


TestGrowingSequence = GrowingSequence.TestCase
TestGrowingSequence.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def indexed(sequence: list[int], **parameters: int) -> NgramIndex:
    index = NgramIndex(16, **parameters)
    index.append(sequence)
    return index


def test_a_sequence_without_repetition_gives_nothing() -> None:
    assert indexed(list(range(100))).propose(5) == Draft([], 0)
    assert indexed([]).propose(5) == Draft([], 0)


def test_the_longest_match_wins_over_a_later_shorter_one() -> None:
    assert indexed([1, 2, 3, 9, 2, 3, 8, 1, 2, 3]).propose(2) == Draft([9, 2], 3)


def test_of_equal_matches_the_last_wins() -> None:
    assert indexed([1, 2, 7, 1, 2, 8, 1, 2]).propose(1) == Draft([8], 2)


def test_one_token_is_no_match_unless_asked_for() -> None:
    assert indexed([5, 6, 5]).propose(1) == Draft([], 0)
    assert indexed([5, 6, 5], shortest=1).propose(1) == Draft([6], 1)


def test_periodic_text_is_continued() -> None:
    assert indexed([1, 2, 3] * 2).propose(7) == Draft([1, 2, 3, 1, 2, 3, 1], 3)
    assert indexed([4] * 5).propose(6) == Draft([4] * 6, 4)


def test_a_match_is_counted_up_to_32() -> None:
    assert indexed(list(range(31)) * 2).propose(1).matched == 31
    assert indexed(list(range(40)) * 2).propose(1).matched == 32


def test_what_was_taken_back_is_not_proposed() -> None:
    index = indexed([1, 2, 7])
    index.append([1, 2, 8])
    index.truncate(3)
    index.append([1, 2])
    assert index.propose(1) == Draft([7], 2)


def test_a_long_sequence_of_few_tokens_that_grew_from_one() -> None:
    rng = random.Random(0)
    index, sequence = NgramIndex(1), [rng.randrange(30) for _ in range(3000)]
    for token in sequence:
        index.append([token])
    for length in (3000, 2999, 2048, 777):
        index.truncate(length)
        assert index.propose(8) == propose(sequence[:length], 8)


@pytest.mark.parametrize("length", [-1, 4])
def test_more_than_there_is_cannot_be_kept(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)):
        indexed([1, 2, 3]).truncate(length)


@pytest.mark.parametrize(
    ("capacity", "shortest", "longest"),
    [(0, 2, 4), (-1, 2, 4), (CAPACITY_MAX + 1, 2, 4), (1 << 32, 2, 4), (1, 0, 4), (1, 5, 4), (1, 2, 9)],
)
def test_parameters_out_of_range_are_refused(capacity: int, shortest: int, longest: int) -> None:
    with pytest.raises(ValueError, match=str(capacity)):
        NgramIndex(capacity, shortest=shortest, longest=longest)


def test_what_cannot_be_added_is_refused_and_nothing_is_lost() -> None:
    index = indexed([1, 2, 1, 2])
    with pytest.raises(ValueError, match=str(CAPACITY_MAX + 4)):
        index.append(array("i", [0]) * CAPACITY_MAX)
    with pytest.raises(TypeError):
        index.append([1, 0.5])  # type: ignore[list-item]
    assert len(index) == 4 and index.propose(2) == Draft([1, 2], 2)


def test_a_negative_number_of_guesses_is_refused() -> None:
    with pytest.raises(ValueError):
        indexed([1, 1, 1]).propose(-1)
