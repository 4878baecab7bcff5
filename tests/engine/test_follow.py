"""Requests that follow others in their place: the numbers of their draws, their place in the queue, their end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.errors import ContextError, UsageError
from cgcli.engine import cache as cache_module
from cgcli.engine.drafting import PassCosts
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.protocol import Follow
from cgcli.engine.request import Completion, FirstLine, Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt, interruptible
from cgcli.native.sample import Draw, Sampled
from tests.engine.drawing import HOT, Make, finish, mixed, request, sound
from tests.support.tiny_model import write_tiny_recurrent_model

FREE = PassCosts({1: 1.0, 2: 1.001})  # every guess is worth it, so that all are made


def going_on(one: Request, done: Completion, **changes: object) -> Request:
    """A request that goes on with what `one` has drawn."""
    first_draw = one.first_draw + done.tokens
    return replace(one, context=one.context + done.text.encode(), first_draw=first_draw, **changes)  # type: ignore[arg-type]


class Followed:
    """Follows each of the requests `times` times, with what it has drawn as context; keeps all completions."""

    def __init__(self, requests: list[Request], times: Callable[[int], int], **changes: object) -> None:
        self.last = list(requests)
        self.all: list[list[Completion]] = [[] for _ in requests]
        self._times, self._changes = times, changes

    def __call__(self, index: int, done: Completion) -> Request | None:
        self.all[index].append(done)
        if len(self.all[index]) > self._times(index):
            return None
        self.last[index] = going_on(self.last[index], done, **self._changes)
        return self.last[index]


def finish_followed(engine: LlamaEngine, requests: list[Request], follow: Follow) -> list[Completion]:
    found = dict(engine.complete(requests, follow))
    return [found[index] for index in range(len(requests))]


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Callable[[LlamaEngine], list[int]]:
    """Records the index of each draw."""

    def recorded(engine: LlamaEngine) -> list[int]:
        seen: list[int] = []
        sampler = engine.scheduler._sampler
        honest = sampler.sample_rows

        def sample_rows(draws: list[Draw], *, on_gpu: bool = False) -> list[Sampled]:
            seen.extend(draw.index for draw in draws)
            return honest(draws, on_gpu=on_gpu)

        monkeypatch.setattr(sampler, "sample_rows", sample_rows)
        return seen

    return recorded


# Draws are numbered on.


@pytest.mark.parametrize("speculate", [False, True])
@pytest.mark.parametrize("cut", [1, 7, 23, 39])
def test_a_text_drawn_in_two_requests_is_the_text_drawn_in_one(make: Make, cut: int, speculate: bool) -> None:
    """A token of the tiny model is a byte, so the text so far is always the tokens so far."""
    one = request(b"abc" * 30, max_tokens=40)
    (whole,) = finish(make(), [one])
    engine = make(speculate=speculate, costs=FREE)
    begun = replace(one, max_tokens=cut)
    follow = Followed([begun], lambda _: 1, max_tokens=40 - cut)
    (rest,) = finish_followed(engine, [begun], follow)
    assert follow.all[0][0].text + rest.text == whole.text and rest.finish_reason == "length"
    assert [*follow.all[0][0].trace, *rest.trace] == [
        *whole.trace[:cut],
        *(replace(token, end=token.end - cut) for token in whole.trace[cut:]),
    ]


def test_no_draw_has_the_number_of_another(make: Make, numbers: Callable[[LlamaEngine], list[int]]) -> None:
    """Also where a text was cut before its last token."""
    engine = make(speculate=False)
    seen = numbers(engine)
    one = request(b"abc", cutter=lambda: Stops(["="]), max_tokens=200)
    follow = Followed([one], lambda _: 3)
    finish_followed(engine, [one], follow)
    assert [done.finish_reason for done in follow.all[0]] == ["stop"] * 4
    assert [len(done.text) for done in follow.all[0]] == [done.tokens - 1 for done in follow.all[0]]
    assert seen == list(range(sum(done.tokens for done in follow.all[0])))


def test_a_model_that_guesses_for_itself_draws_with_the_same_numbers(
    tiny_model: Path, make: Make, numbers: Callable[[LlamaEngine], list[int]]
) -> None:
    engine = make(draft=tiny_model, costs=FREE)
    engine._guesser.cost = 0.0  # type: ignore[union-attr]
    one = request(b"abc", max_tokens=20)
    finish_followed(engine, [one], Followed([one], lambda _: 1))
    assert engine.timings.acceptance == 1.0 and engine.timings.drafted >= 30


# The queue.


def test_a_request_that_follows_comes_before_those_that_wait(make: Make) -> None:
    engine = make(sequences=1, speculate=False, exact=False)
    engine.reserve(3000)
    requests = [request(bytes([97 + index]) * 200, max_tokens=5) for index in range(4)]
    follow = Followed(requests, lambda index: 2 * (index < 2))
    ended = [index for index, _ in engine.complete(requests, follow)]
    assert ended == [0, 1, 2, 3] and [len(parts) for parts in follow.all] == [3, 3, 1, 1]
    # Of each text that is followed, only the last token is read again.
    assert engine.timings.prefill_tokens == 4 * 200 + 4


def test_texts_that_end_in_one_pass_are_all_cached_until_they_are_followed(make: Make) -> None:
    engine = make(speculate=False, exact=False)
    engine.reserve(3000)
    requests = [request(bytes([97 + index]) * 400, max_tokens=5) for index in range(4)]
    follow = Followed(requests, lambda _: 1)
    finish_followed(engine, requests, follow)
    assert engine.timings.prefill_tokens == 4 * 400 + 4


def test_others_go_on_in_the_same_passes(make: Make) -> None:
    """Four streams of 24 tokens take 23 passes; one of them drawn in three parts takes no more, since a part's first
    token needs no pass of its own."""
    engine = make(speculate=False)
    requests = [request(b"abc", candidate=index, max_tokens=8 if index == 1 else 24) for index in range(4)]
    found = finish_followed(engine, requests, Followed(requests, lambda index: 2 * (index == 1)))
    assert engine.timings.passes == 23 and [one.tokens for one in found] == [24, 8, 24, 24]


def test_no_text_depends_on_those_that_are_followed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen together, some followed once or twice, each as if it were drawn alone. Also where memory is short: then
    some wait, those that follow too, and cells are put in order meanwhile."""
    requests = [
        replace(one, cutter=lambda: Stops(["g"]), first_line=FirstLine(HOT, frozenset(b"ab")) if index % 2 else None)
        for index, one in enumerate(mixed(16, seed=3, longest=600))
    ]
    times = [index % 3 for index in range(16)]
    alone = []
    for one, often in zip(requests, times, strict=True):
        follow = Followed([one], lambda _, often=often: often)  # type: ignore[misc]
        alone += finish_followed(make(speculate=False), [one], follow)
    untouched = finish(make(), requests)
    for expected, found, often in zip(untouched, alone, times, strict=True):
        assert often or expected == found
    for sequences, speculate, cells in ((16, False, 4096), (16, True, 4096), (3, False, 4096), (16, True, 1024)):
        engine = make(sequences=sequences, speculate=speculate, costs=FREE)
        engine.reserve(cells - engine.cache.spare_cells)
        follow = Followed(requests, times.__getitem__)
        with monkeypatch.context() as patched:
            patched.setattr(cache_module, "available_bytes", lambda: 0)
            assert finish_followed(engine, requests, follow) == alone and sound(engine)
        assert [len(parts) - 1 for parts in follow.all] == times
        assert engine.cache.size == cells and (engine.cache.reread > 0) == (cells == 1024)


def test_one_that_is_never_followed_changes_nothing(make: Make) -> None:
    requests = mixed(12)
    plain, asked = make(exact=False), make(exact=False)
    seen: list[int] = []
    expected = finish(plain, requests)
    assert finish_followed(asked, requests, lambda index, done: seen.append(index)) == expected
    assert sorted(seen) == list(range(12))
    for name in ("passes", "prefill_tokens", "decode_tokens", "streams", "drafted", "kept"):
        assert getattr(plain.timings, name) == getattr(asked.timings, name), name


def test_texts_with_caches_of_their_own_are_followed_too(make: Make) -> None:
    requests = [request(bytes([97 + index]) * 80, candidate=index, max_tokens=9 + index) for index in range(6)]
    found = []
    for options in ({"sequences": 1}, {"sequences": 6, "many": True}):
        engine = make(exact=False, speculate=False, own_products=False, **options)
        engine.reserve(600)
        found.append(finish_followed(engine, requests, Followed(requests, lambda index: index % 3)))
        assert engine.timings.prefill_tokens == 6 * 80 + 6 and sound(engine)
    assert [one.text for one in found[0]] == [one.text for one in found[1]]


def test_a_recurrent_model_reads_again_what_it_kept(tmp_path: Path) -> None:
    """Its state takes no token back. But that after the context is still there, and that of a whole text goes on."""
    path = write_tiny_recurrent_model(tmp_path / "recurrent.gguf")
    requests = [request(b"abc" * 50, candidate=index, max_tokens=30) for index in range(4)]
    with interruptible() as interrupt:
        with LlamaEngine(path, EngineOptions(threads=1), interrupt=interrupt) as engine:
            whole = finish(engine, requests)
            assert engine.timings.prefill_tokens == 150
            begun = [replace(one, max_tokens=12) for one in requests[:3]]
            follow = Followed(begun, lambda _: 1, max_tokens=18)
            rest = finish_followed(engine, begun, follow)
            assert [parts[0].text + last.text for parts, last in zip(follow.all, rest, strict=True)] == [
                one.text for one in whole[:3]
            ]
            assert engine.timings.prefill_tokens == 150 + 3
            one = replace(requests[3], cutter=lambda: Stops([whole[3].text[20:24]]))
            follow = Followed([one], lambda _: 1)
            finish_followed(engine, [one], follow)
            assert follow.all[0][0].text == whole[3].text[:20] and sound(engine)
            assert engine.timings.prefill_tokens == 150 + 3 + 20
        with pytest.raises(UsageError, match="--exact does not work with a recurrent model"):
            LlamaEngine(path, EngineOptions(threads=1, exact=True), interrupt=interrupt)


# What ends it.


def test_ctrl_c_ends_a_request_that_follows(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is yielded with the text so far, whatever should follow; those that wait are yielded without any."""
    engine = make(sequences=2, speculate=False)
    requests = [request(b"abc", candidate=index, max_tokens=5 if index == 0 else 60) for index in range(4)]
    asked: list[tuple[int, str]] = []

    def follow(index: int, done: Completion) -> Request:
        asked.append((index, done.finish_reason))
        assert len(asked) <= 5
        return going_on(requests[index], done, max_tokens=60)

    steps = itertools.count(1)
    step = engine.scheduler.step

    def counted() -> bool:
        if next(steps) == 12:
            Interrupt().set()
        return step()

    monkeypatch.setattr(engine.scheduler, "step", counted)
    found = finish_followed(engine, requests, follow)
    Interrupt().clear()
    assert asked[0] == (0, "length") and sorted(asked[1:]) == [(index, "interrupted") for index in range(4)]
    assert {one.finish_reason for one in found} == {"interrupted"}
    tokens = [one.tokens for one in found]
    assert 0 < tokens[0] < tokens[1] < 60 and tokens[2:] == [0, 0]
    assert sound(engine)


@pytest.mark.parametrize("reading", [False, True])
def test_ctrl_c_before_it_begins_leaves_it_without_a_token(
    make: Make, monkeypatch: pytest.MonkeyPatch, reading: bool
) -> None:
    """Pressed while it is asked for, or while its context is read."""
    engine = make()
    requests = [request(b"abc", max_tokens=5), request(b"abcd", max_tokens=60)]

    def interrupted(_: object) -> bool:
        Interrupt().set()
        return False

    def follow(index: int, done: Completion) -> Request | None:
        if done.finish_reason == "interrupted":
            return None
        if reading:
            monkeypatch.setattr(engine.cache.context, "run", interrupted)
        else:
            Interrupt().set()
        return going_on(requests[index], done)

    followed, other = finish_followed(engine, requests, follow)
    Interrupt().clear()
    monkeypatch.undo()
    assert (followed.text, followed.tokens, followed.finish_reason) == ("", 0, "interrupted")
    assert (other.tokens, other.finish_reason) == (5, "interrupted")
    assert sound(engine) and finish(engine, requests) == finish(make(), requests)


def test_what_goes_wrong_while_it_is_asked_for_ends_all(make: Make) -> None:
    engine = make(sequences=3)
    requests = mixed(6)
    expected = finish(make(), requests)

    def broken(index: int, done: Completion) -> Request:
        raise KeyError(index)

    def too_long(index: int, done: Completion) -> Request:
        return request(b"x" * 2048)

    with pytest.raises(KeyError):
        finish_followed(engine, requests, broken)
    assert sound(engine)
    with pytest.raises(ContextError, match="2048"):
        finish_followed(engine, requests, too_long)
    assert sound(engine) and finish(engine, requests) == expected


def test_results_that_nobody_takes_leave_nothing_behind(make: Make) -> None:
    engine = make(sequences=2)
    requests = mixed(6)
    results = engine.complete(requests, Followed(requests, lambda index: 1))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert sound(engine)


def test_a_full_window_and_max_tokens_are_its_own(make: Make) -> None:
    engine = make()
    requests = [request(b"x" * 2000, max_tokens=20), request(b"y" * 20, max_tokens=20)]
    follow = Followed(requests, lambda _: 1, max_tokens=40)
    full, short = finish_followed(engine, requests, follow)
    assert (full.tokens, full.finish_reason) == (28, "context")
    assert (short.tokens, short.finish_reason) == (40, "length")


def test_a_context_stays_cached_whose_stream_ends_with_its_first_token(make: Make) -> None:
    engine = make(speculate=False, exact=False)
    for _ in range(3):  # the second one is cached as a whole, and ends while it is admitted
        finish(engine, [request(b"abc" * 200, max_tokens=1)])
    assert engine.timings.prefill_tokens == 600
