"""The n-gram index through its binding: it proposes what a scan of the sequence finds."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cgcli.native.draft import CAPACITY_MAX, Draft, KeptNgrams, NgramIndex
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
        assert self.index.propose(k) == propose(self.sequence, k, None, **self.range)

    @invariant()
    def it_is_the_sequence(self) -> None:
        assert len(self.index) == len(self.sequence)
        assert self.index.propose(3) == propose(self.sequence, 3, None, **self.range)


TestGrowingSequence = GrowingSequence.TestCase
TestGrowingSequence.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def indexed(sequence: list[int], **parameters: int) -> NgramIndex:
    index = NgramIndex(16, **parameters)
    index.append(sequence)
    return index


def guessed(sequence: list[int], k: int, **parameters: int) -> list[int]:
    return list(indexed(sequence, **parameters).propose(k).tokens)


def test_a_sequence_without_repetition_gives_nothing() -> None:
    assert indexed(list(range(100))).propose(5) == indexed([]).propose(5) == Draft([], [], [], [])


def test_the_longest_match_wins_over_a_later_shorter_one() -> None:
    assert indexed([1, 2, 3, 9, 2, 3, 8, 1, 2, 3]).propose(2) == Draft([9, 2], [3, 4], [1, 1], [1, 1])
    assert guessed([0, 1, 2, 3, 4, 9, 7, 1, 2, 3, 4, 8, 0, 1, 2, 3, 4], 1) == [9]  # beyond the longest n-gram


def test_of_equal_matches_most_win_and_of_equally_many_the_last() -> None:
    assert indexed([1, 2, 7, 1, 2, 8, 1, 2]).propose(1) == Draft([8], [2], [1], [2])
    assert indexed([1, 2, 7, 3, 1, 2, 7, 5, 1, 2, 8, 1, 2]).propose(2) == Draft([7, 5], [2, 3], [2, 1], [3, 2])


def test_the_last_sixteen_places_count() -> None:
    early = [token for number in range(100, 120) for token in (1, 2, 7, number)]
    late = [token for number in range(200, 209) for token in (1, 2, 8, number)]
    assert indexed([*early, *late, 1, 2]).propose(1) == Draft([8], [2], [9], [16])


def test_one_token_is_no_match_unless_asked_for() -> None:
    assert guessed([5, 6, 5], 1) == []
    assert indexed([5, 6, 5], shortest=1).propose(1) == Draft([6], [1], [1], [1])


def test_periodic_text_is_continued() -> None:
    assert guessed([1, 2, 3] * 2, 7) == [1, 2, 3, 1, 2, 3, 1]
    assert guessed([4] * 5, 6) == [4] * 6


def test_a_match_is_counted_up_to_32() -> None:
    assert indexed(list(range(31)) * 2).propose(2).matched == [31, 32]
    assert indexed(list(range(40)) * 2).propose(1).matched == [32]


def kept(*texts: list[int], separator: int = -1) -> KeptNgrams:
    index = NgramIndex(8)
    for text in texts:
        index.append([*text, separator])
    return KeptNgrams(bytearray(index.memory()))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 3), max_size=8), st.integers(0, 16))
def test_an_index_of_other_texts_guesses_what_follows_in_them(text: list[int], end: list[int], k: int) -> None:
    assert kept(text, separator=9).propose(indexed(end), k) == propose([*text, 9], k, end)


def test_no_guess_goes_beyond_the_end_of_a_text() -> None:
    found = kept([1, 2, 3, 4], [5, 6, 7]).propose(indexed([9, 1, 2]), 8)
    assert found == Draft([3, 4], [2, 3], [1, 1], [1, 1])
    assert kept([1, 2], [5, 6]).propose(indexed([1, 2]), 8).tokens == []


def test_only_an_index_is_taken_for_one() -> None:
    memory = bytearray(indexed([1, 2, 3]).memory())
    KeptNgrams(memory)
    for wrong in (memory[:-4], memory + b"\0\0\0\0", bytearray(8), bytearray(len(memory))):
        with pytest.raises(ValueError, match="not an index"):
            KeptNgrams(wrong)


def test_what_was_taken_back_is_not_proposed() -> None:
    index = indexed([1, 2, 7])
    index.append([1, 2, 8])
    index.truncate(3)
    index.append([1, 2])
    assert index.propose(1) == Draft([7], [2], [1], [1])


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
    assert len(index) == 4 and index.propose(2).tokens == [1, 2]


def test_a_negative_number_of_guesses_is_refused() -> None:
    with pytest.raises(ValueError):
        indexed([1, 1, 1]).propose(-1)
