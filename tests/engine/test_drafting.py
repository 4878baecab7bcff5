"""How many guesses pay for a wider pass, and guesses from the text itself and from a draft model."""

from __future__ import annotations

import itertools
import operator
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.engine.drafting import MAX_DRAFT, Drafter, NgramDrafter, PassCosts, Prospect, Rate, allot
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.quantize import QUANTS
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.draft import KeptNgrams, NgramIndex
from cgcli.native.sample import Sampling
from tests.engine.drawing import Make, finish
from tests.support.tiny_model import write_tiny_model

PLENTY = 512


def certain(chance: float, count: int, cost: float = 0.0) -> Prospect:
    return Prospect([chance**depth for depth in range(1, count + 1)], cost)


def worth(prospects: Sequence[Prospect], counts: Sequence[int], costs: PassCosts) -> float:
    """Tokens that a pass with so many guesses gives, on average, for its cost."""
    tokens = sum(1 + sum(p.chances[:count]) for p, count in zip(prospects, counts, strict=True))
    own = sum(p.cost * count for p, count in zip(prospects, counts, strict=True))
    return tokens / (costs.of(len(prospects) + sum(counts)) + own)


@st.composite
def one_drafter(draw: st.DrawFn) -> list[Prospect]:
    """Streams that guess by one method, at one cost a token."""
    cost = draw(st.sampled_from([0.0, 0.05, 0.3]))
    chances = st.lists(st.floats(0, 1), max_size=4).map(lambda rates: tuple(itertools.accumulate(rates, operator.mul)))
    return draw(st.lists(st.builds(Prospect, chances, st.just(cost)), min_size=1, max_size=4))


@given(one_drafter(), st.sampled_from(QUANTS), st.integers(1, 20))
def test_no_other_choice_is_worth_more(prospects: list[Prospect], quant: str, most: int) -> None:
    """Against every choice that fits, none included."""
    costs = PassCosts.usual(quant)
    most = max(most, len(prospects))
    counts = allot(prospects, costs, most)
    assert all(0 <= count <= len(prospect.chances) for count, prospect in zip(counts, prospects, strict=True))
    assert len(prospects) + sum(counts) <= most
    every = itertools.product(*(range(len(prospect.chances) + 1) for prospect in prospects))
    best = max(worth(prospects, other, costs) for other in every if len(prospects) + sum(other) <= most)
    assert worth(prospects, counts, costs) == pytest.approx(best)


def test_a_sure_guess_is_made_and_a_poor_one_is_not() -> None:
    costs = PassCosts({1: 1.0, 2: 1.5, 16: 8.5})
    assert allot([certain(1.0, 4)], costs, PLENTY) == [4]
    assert allot([certain(0.4, 4)], costs, PLENTY) == [0]
    assert allot([certain(0.4, 4), certain(1.0, 2)], costs, PLENTY) == [0, 2]
    assert allot([certain(1.0, 4, cost=1.0)], costs, PLENTY) == [0]  # as dear as the pass that it saves


def test_a_pass_never_has_more_rows_than_it_may() -> None:
    """llama.cpp ends the process where a batch is too large."""
    free = PassCosts({1: 1.0, 2: 1.0})
    counts = allot([certain(1.0, MAX_DRAFT)] * 60, free, 509)
    assert sum(counts) == 509 - 60


def test_the_cost_of_a_pass_lies_on_lines_between_what_was_measured() -> None:
    costs = PassCosts({1: 1.0, 4: 2.5, 8: 3.5})
    assert [costs.of(rows) for rows in (1, 2, 4, 6, 8, 12)] == pytest.approx([1.0, 1.5, 2.5, 3.0, 3.5, 4.5])
    assert PassCosts.usual("of no known kind").of(1) == 1.0
    for quant, tier in itertools.product(QUANTS, (None, "amx", "avx512", "avxvnni", "avx2")):
        widths = [PassCosts.usual(quant, tier=tier).of(rows) for rows in range(1, 64)]
        assert widths == sorted(widths) and widths[0] == 1.0


def test_a_rate_starts_at_the_usual_one_and_follows_what_happens() -> None:
    rate = Rate(0.5)
    assert rate.value == 0.5
    for _ in range(60):
        rate.note(False)
    assert rate.value < 0.15
    for _ in range(60):
        rate.note(True)
    assert rate.value > 0.85
    for index in range(400):
        rate.note(index % 4 == 0)
    assert rate.value == pytest.approx(0.25, abs=0.1)


def test_what_failed_and_was_not_tried_since_is_tried_again() -> None:
    rate = Rate(0.8)
    for _ in range(50):
        rate.note(False)
    assert rate.value < 0.2
    before, values = rate.value, []
    for _ in range(400):
        rate.fade()
        values.append(rate.value)
    assert values == sorted(values) and before < values[0] and values[-1] == pytest.approx(0.8, abs=0.01)


def test_ngrams_guess_what_followed_before() -> None:
    drafter = NgramDrafter([1, 2, 3, 4, 5, 6, 1, 2, 3], 64)
    assert drafter.draft(3) == [4, 5, 6]
    prospect = drafter.prospect()
    assert prospect.cost == 0 and len(prospect.chances) == MAX_DRAFT
    assert 0.4 < prospect.chances[0] < 0.6 and list(prospect.chances) == sorted(prospect.chances, reverse=True)
    drafter.extend([4, 5, 9])
    assert drafter.prospect() == Prospect() and drafter.draft(3) == []  # nothing ever followed 9


@pytest.mark.parametrize("comes", [True, False])
def test_drafts_that_promised_more_than_came_are_trusted_less(comes: bool) -> None:
    drafting, watching = (NgramDrafter([1, 2, 3, 4, 5, 6] * 4, 512) for _ in range(2))
    for number in range(8):
        drafting.draft(3)
        for drafter in (drafting, watching):
            drafter.extend([1, 2, 3, 4, 5, 6] if comes else [1, 100 + number, 1, 2, 3, 4, 5, 6])
    trusted, usual = (drafter.prospect().chances[0] for drafter in (drafting, watching))
    assert trusted == usual if comes else trusted < 0.9 * usual


def test_ngrams_take_memory_for_the_window_at_most(make_engine: Make) -> None:
    """However many tokens a request asks for."""
    made: list[Drafter] = []
    engine = make_engine(speculate=True)
    make = engine.scheduler._make_drafter
    assert make

    def seen(tokens: list[int], request: Request) -> Drafter:
        made.append(make(tokens, request))
        return made[-1]

    engine.scheduler._make_drafter = seen
    stream = engine.submit(Request(b"abc", Sampling(), Stops, max_tokens=1 << 30))
    while not made:
        engine.scheduler.step()
    engine.cancel([stream])
    (drafter,) = made
    assert isinstance(drafter, NgramDrafter)
    assert drafter._index._capacity == engine.window


def test_ngrams_that_come_true_are_trusted_more_and_those_that_do_not_less() -> None:
    text = random.Random(1).choices(range(50), k=60)
    good, bad = NgramDrafter(text * 2, 400), NgramDrafter(text * 2, 400)
    usual = good.prospect().chances[0]
    for at in range(0, 60, 4):
        good.extend(text[at : at + 4])
        bad.extend([text[at], text[at + 1], 100 + at, 101 + at])
        bad.extend(text[at : at + 2])
    assert good.prospect().chances[0] > usual
    bad.extend(text[:22])
    assert bad.prospect().chances[0] < usual


def kept(*texts: Sequence[int]) -> KeptNgrams:
    index = NgramIndex(8)
    for text in texts:
        index.append([*text, -1])
    return KeptNgrams(bytearray(index.memory()))


def test_the_longer_the_match_and_the_more_places_agree_the_likelier_is_a_guess() -> None:
    def chance(*texts: Sequence[int], end: Sequence[int] = (1, 2, 3)) -> float:
        return NgramDrafter(end, 64, kept(*texts)).prospect().chances[0]

    one = chance([2, 3, 4])
    assert one < chance([1, 2, 3, 4]) < chance([1, 2, 3, 4], [1, 2, 3, 4])
    assert chance([1, 2, 3, 4], [1, 2, 3, 5]) < chance([1, 2, 3, 4])
    assert chance([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 5], end=[0, 1, 2, 3]) > one


def test_guesses_come_from_the_text_or_from_others_whichever_promise_more() -> None:
    others = kept([7, 8, 9, 10, 11, 12], [7, 8, 9, 10, 11, 12])
    drafter = NgramDrafter([1, 2, 3, 4, 1, 2], 64, others)
    assert drafter.draft(2) == [3, 4]
    drafter.extend([7, 8, 9])
    assert drafter.draft(8) == [10, 11, 12]  # no further: the text ends
    drafter.extend([10, 99])
    assert drafter.prospect() == Prospect()
    both = NgramDrafter([1, 2, 3, 4, 5, 6, 7, 20, 3, 4, 5, 6, 7], 64, kept([6, 7, 30]))
    assert both.draft(1) == [20]


# A second model.


FREE = PassCosts({1: 1.0, 2: 1.001})  # every guess is worth it, so that all are made
REQUEST = Request(b"def abc", Sampling(temperature=0.8, seed=3), Stops, max_tokens=40)


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a quarter of the window that the other has."""
    path = write_tiny_model(tmp_path_factory.mktemp("draft") / "smaller.gguf")
    fields = gguf.GGUFReader(path, "r+").fields
    fields["phi2.context_length"].parts[-1][0] = 256
    return path


def drafting(make: Make, draft: Path) -> LlamaEngine:
    """An engine for which `draft` guesses without any cost."""
    engine = make(draft=draft, costs=FREE)
    engine._guesser.cost = 0.0  # type: ignore[union-attr]
    return engine


def test_a_model_that_guesses_for_itself_is_always_right(make: Make, tiny_model: Path) -> None:
    expected = finish(make(speculate=False), [REQUEST])
    engine = drafting(make, tiny_model)
    assert finish(engine, [REQUEST]) == expected
    timings = engine.timings
    assert timings.acceptance == 1.0 and timings.passes <= 4 and timings.drafted >= 35


def test_a_model_guesses_for_many_streams_and_changes_no_text(make: Make, tiny_model: Path) -> None:
    """One that does not agree (other weights): most of its guesses are thrown away."""
    requests = [
        replace(REQUEST, context=b"abc" * (1 + 7 * index), candidate=index, sampling=Sampling(temperature, seed=index))
        for index, temperature in itertools.product(range(4), (0.0, 0.9))
    ]
    expected = finish(make(speculate=False), requests)
    engine = drafting(make, write_tiny_model(tiny_model.parent / "other.gguf", seed=1))
    assert finish(engine, requests) == expected
    assert engine.timings.drafted > engine.timings.kept


def test_guesses_end_where_the_window_of_their_model_does(make: Make, smaller: Path) -> None:
    request = replace(REQUEST, context=b"abcdefgh" * 30, max_tokens=60)  # from 240 tokens to 300
    expected = finish(make(speculate=False), [request])
    engine = drafting(make, smaller)
    assert finish(engine, [request]) == expected
    assert 0 < engine.timings.drafted <= 16 and engine.timings.acceptance == 1.0


def test_another_vocabulary_is_refused(make: Make, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "swapped.gguf")
    names = gguf.GGUFReader(path, "r+").fields["tokenizer.ggml.tokens"]
    first, second = names.parts[names.data[97]], names.parts[names.data[98]]
    first[0], second[0] = second[0], first[0]
    with pytest.raises(UsageError, match=r"/swapped.gguf cannot draft for /.*/tiny.gguf: their vocab") as caught:
        make(draft=path)
    assert caught.value.hint and "--draft ngram" in caught.value.hint


@pytest.mark.parametrize("trouble", [Interrupted(), CgcliError("a logit that is not a number")])
def test_a_failure_while_guessing_leaves_nothing_held(
    make: Make, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, trouble: CgcliError
) -> None:
    engine = drafting(make, tiny_model)
    guesser = engine._guesser
    assert guesser
    expected = finish(engine, [REQUEST])
    stream = engine.submit(REQUEST)
    engine.scheduler.step()
    place: tuple[object, str] = (guesser.sampler, "sample")
    if isinstance(trouble, Interrupted):
        place = (guesser.cache, "run")

    def fail(*_: object, **__: object) -> None:
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(place[0], place[1], fail)
        if isinstance(trouble, Interrupted):
            engine.scheduler.step()
        else:
            with pytest.raises(CgcliError, match="not a number"):
                engine.scheduler.step()
    assert stream.completion and stream.completion.finish_reason == "interrupted"
    assert not guesser.cache.held and not engine.cache.held
    assert finish(engine, [REQUEST]) == expected
