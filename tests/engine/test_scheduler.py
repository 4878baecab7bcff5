"""Many streams together: shared contexts, order, streams that end early, and independence of the other streams."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.errors import CgcliError, ContextError, UsageError
from cgcli.engine import cache as cache_module
from cgcli.engine.cache import Step
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.prefix import common_prefix
from cgcli.engine.request import Completion, Request
from cgcli.engine.scheduler import ScheduledStream
from cgcli.engine.stops import Stops
from cgcli.engine.tokens import TokenTable
from cgcli.native.interrupt import Interrupt, interruptible
from cgcli.native.sample import Mask
from cgcli.program.generation import Generation
from cgcli.program.program import Program
from cgcli.program.session import Session
from tests.engine.drawing import HOT, Make, finish, mixed, request, sound
from tests.support.engines import making_engines
from tests.support.tiny_model import VOCABULARY


def run(engine: LlamaEngine, *streams: ScheduledStream) -> None:
    while any(stream.completion is None for stream in streams):
        engine.scheduler.step()


def test_candidates_read_their_context_once_and_decode_together(make: Make) -> None:
    engine = make(speculate=False)
    requests = [request(b"abc" * 100, candidate=index) for index in range(12)]
    texts = finish(engine, requests)
    assert engine.timings.prefill_tokens == 300
    assert engine.timings.passes == 23  # the first token of each comes from what was read
    assert engine.timings.decode_tokens == 12 * 24 and len({one.text for one in texts}) == 12


def test_contexts_are_read_together_and_beside_live_streams(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pass is spent on reading alone once a stream is live, and a long context holds up none."""
    engine = make(speculate=False, sequences=4, exact=False)
    engine.reserve(4000)
    passes = widths(engine, monkeypatch)
    requests = [request(bytes([97 + index]) * 100, max_tokens=9 + index) for index in range(4)]
    finish(engine, [*requests, request(b"x" * 1100, max_tokens=2), request(b"y" * 50, max_tokens=3)])
    rows = engine.cache.context.n_batch - engine.cache.spare_cells
    assert passes[0] == [100, 100, 100, 100]
    assert passes[1:9] == [[1, 1, 1, 1]] * 8  # the first stream has its nine tokens, the others go on
    assert passes[9:12] == [[1, 1, 1, rows - 3], [1, 1, rows - 2], [1, 1100 - (rows - 3) - (rows - 2), 50]]
    assert passes[12:] == [[1, 1], [1]]


def widths(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of each step of each pass, from now on."""
    passes: list[list[int]] = []
    run_pass = engine.cache.run

    def noted(steps: list[Step]) -> bool:
        passes.append([len(step.tokens) for step in steps])
        return run_pass(steps)

    monkeypatch.setattr(engine.cache, "run", noted)
    return passes


def test_what_another_context_is_about_to_give_is_waited_for(make: Make) -> None:
    """Forty tokens that two contexts have in common are read once, a few are not worth a pass."""
    for common, read in ((40, 40 + 30 + 30), (20, 20 + 20 + 30 + 30)):
        engine = make(speculate=False)
        finish(engine, [request(b"a" * common + end * 30) for end in (b"b", b"c")])
        assert engine.timings.prefill_tokens == read


def test_a_text_that_waits_is_still_cached_when_its_turn_comes(make: Make) -> None:
    engine = make(speculate=False, exact=False, sequences=2)
    engine.reserve(4000)
    contexts = [end * 300 for end in (b"a", b"b")]
    finish(engine, [request(context, max_tokens=2) for context in contexts])
    before = engine.timings.prefill_tokens
    goes_on = [request(context + b"!!", max_tokens=2) for context in contexts]
    finish(engine, [request(b"x" * 50, max_tokens=5), *goes_on])
    assert engine.timings.prefill_tokens - before == 50 + 2 * 2


def test_a_context_is_scored_while_it_is_read(make: Make) -> None:
    texts = [bytes(random.Random(index).choices(b"abcdefgh \n()", k=600)) + b"!" for index in range(3)]
    engine, other = make(), make()
    streams = [engine.submit(request(text, score_from=590 - index)) for index, text in enumerate(texts)]
    run(engine, *streams)
    for index, (text, stream) in enumerate(zip(texts, streams, strict=True)):
        assert stream.scores == other.score(text, 590 - index)
    before = engine.timings.prefill_tokens
    known = engine.submit(request(texts[0], score_from=500))
    run(engine, known)
    assert known.scores == other.score(texts[0], 500) and known.completion == streams[0].completion
    assert engine.timings.prefill_tokens == before + 601 - 499


def test_long_candidates_are_live_together(make: Make) -> None:
    """Their context is counted once, not for each of them."""
    engine = make(exact=False, speculate=False)
    requests = [request(b"a" * 900, candidate=index, max_tokens=60) for index in range(16)]
    finish(engine, requests)
    assert engine.timings.passes == 59 and engine.timings.prefill_tokens == 900


def test_a_place_that_becomes_free_is_taken_at_once(make: Make) -> None:
    """Three places, nine requests of different lengths: as many passes as a schedule by hand takes."""
    engine = make(speculate=False, sequences=3)
    lengths = [20, 5, 9, 7, 3, 12, 4, 6, 10]
    finish(engine, [request(b"abc", max_tokens=length, candidate=length) for length in lengths])
    ends = [0, 0, 0]
    for length in lengths:
        ends.sort()
        ends[0] += length - 1  # its first token needs no pass
    assert engine.timings.passes == max(ends)


def test_more_streams_than_llama_cpp_has_sequences(make: Make) -> None:
    engine = make(sequences=400, speculate=False)
    texts = finish(engine, [request(b"abc", candidate=index, max_tokens=3) for index in range(300)])
    assert len(texts) == 300 and all(one.tokens == 3 for one in texts)


def test_room_is_looked_for_again_only_when_a_stream_has_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It means a look at every cell that is held, which no pass should wait for."""
    requests = mixed(12, longest=500)
    engine = make()
    looks = 0
    fits = engine.cache.fits

    def counted(*words: Any) -> bool:
        nonlocal looks
        looks += 1
        return fits(*words)

    monkeypatch.setattr(engine.cache, "fits", counted)
    monkeypatch.setattr(cache_module, "available_bytes", lambda: (1300 - engine.cache.size) * engine.model.cell_bytes)
    finish(engine, requests)
    assert engine.timings.passes > 2 * looks and looks <= 3 * len(requests)


def test_a_stream_that_is_cancelled_leaves_the_others_their_texts(make: Make) -> None:
    requests = mixed(8)
    alone = [finish(make(), [one])[0] for one in requests]
    engine = make(sequences=4)
    streams = [engine.submit(one) for one in requests]
    for _ in range(3):
        engine.scheduler.step()
    live = next(stream for stream in streams if stream.branch)
    live.cancel()
    streams[-1].cancel()
    run(engine, *streams)
    for stream, expected in zip(streams, alone, strict=True):
        assert stream.completion
        if stream in (live, streams[-1]):
            assert stream.completion.finish_reason == "interrupted"
            assert expected.text.startswith(stream.completion.text)
            assert stream.completion.tokens < expected.tokens
        else:
            assert stream.completion == expected
    assert streams[-1].completion and streams[-1].completion.tokens == 0 and sound(engine)


def test_an_interrupt_ends_all_and_the_next_starts_afresh(make: Make) -> None:
    engine = make(sequences=3)
    requests = [request(b"abc" * (1 + index), candidate=index) for index in range(6)]
    expected = finish(make(), requests)
    streams = [engine.submit(one) for one in requests]
    for _ in range(4):
        engine.scheduler.step()
    Interrupt().set()
    assert not engine.scheduler.step()
    Interrupt().clear()
    for stream, whole in zip(streams, expected, strict=True):
        assert stream.completion and stream.completion.finish_reason == "interrupted"
        assert whole.text.startswith(stream.completion.text)
    assert [bool(stream.completion and stream.completion.tokens) for stream in streams] == [True] * 3 + [False] * 3
    assert sound(engine) and finish(engine, requests) == expected


def test_a_stream_that_is_cancelled_while_its_context_is_read_ends_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after the pass that reads, what was read stays cached, and the other stream goes on."""
    engine = make(speculate=False, ctx=2048)
    engine.reserve(2048, texts=2)
    piece = engine.cache.context.n_batch - 1 - engine.cache.spare_cells  # beside a row of the other stream
    other = engine.submit(request(b"xyz", max_tokens=60))
    engine.scheduler.step()
    long = engine.submit(request(b"a" * (3 * piece)))
    run_pass = engine.cache.run

    def run_and_cancel(steps: list[Step]) -> bool:
        done = run_pass(steps)
        if len(steps[-1].tokens) == piece:
            long.cancel()
        return done

    before = engine.timings.prefill_tokens
    monkeypatch.setattr(engine.cache, "run", run_and_cancel)
    run(engine, long)
    assert long.completion and long.completion.finish_reason == "interrupted"
    assert engine.timings.prefill_tokens - before == piece
    assert other.completion is None
    run(engine, other)
    assert other.completion and other.completion.finish_reason == "length"
    monkeypatch.undo()
    before = engine.timings.prefill_tokens
    finish(engine, [request(b"a" * (3 * piece))])
    assert engine.timings.prefill_tokens - before == 2 * piece
    assert sound(engine)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("speculate", [False, True])
def test_an_interrupt_inside_a_pass_keeps_a_sound_cache(
    make: Make, monkeypatch: pytest.MonkeyPatch, speculate: bool, done: bool
) -> None:
    """llama.cpp has done the pass, or nothing of it, and says that it did not."""
    requests = mixed(5)
    expected = finish(make(), requests)
    engine = make(speculate=speculate)
    for one in requests:
        engine.submit(one)
    for _ in range(3):
        engine.scheduler.step()
    context = engine.cache.context
    honest = context.run
    with monkeypatch.context() as patched:
        patched.setattr(context, "run", lambda rows: done and honest(rows) and False)
        assert not engine.scheduler.step()
    assert sound(engine) and finish(engine, requests) == expected


def test_a_context_that_does_not_fit_is_refused_before_anything_is_drawn(make: Make) -> None:
    engine = make()
    with pytest.raises(ContextError, match="2048"):
        finish(engine, [request(b"abc"), request(b"x" * 2048)])
    assert sound(engine) and engine.timings.decode_tokens == 0  # the first one is not left in the queue
    with pytest.raises(UsageError, match="max-tokens must be 1 or more, but is 0"):
        request(b"abc", max_tokens=0)


def test_a_full_window_ends_each_stream_by_itself(make: Make) -> None:
    engine = make()
    texts = finish(engine, [request(b"x" * length, max_tokens=60) for length in (2000, 2040, 2047)])
    assert [(one.tokens, one.finish_reason) for one in texts] == [(48, "context"), (8, "context"), (1, "context")]


def test_an_error_inside_a_pass_leaves_the_engine_usable(make: Make) -> None:
    engine = make()
    requests = mixed(4)
    expected = finish(engine, requests)
    nothing: Mask = (type(engine.token_table.banned))(*[1] * VOCABULARY)
    streams = [engine.submit(one) for one in requests]
    engine.scheduler.step()
    spoilt = next(stream for stream in streams if stream.completion is None)
    spoilt.text._table = replace_banned(engine, nothing)
    with pytest.raises(CgcliError, match="no token left to sample"):
        run(engine, *streams)
    assert all(stream.completion for stream in streams) and sound(engine)
    assert finish(engine, requests) == expected


def replace_banned(engine: LlamaEngine, banned: Mask) -> TokenTable:
    """The engine's vocabulary with another set of tokens that are never drawn."""
    vocabulary = TokenTable(engine.model)
    vocabulary.banned = banned
    return vocabulary


def test_a_stream_that_nobody_reads_on_holds_nothing(make: Make) -> None:
    engine = make()
    pieces = engine.stream(request(b"abc", max_tokens=200))
    next(pieces)
    pieces.close()
    assert not engine.cache.held
    engine.score(b"a" * 1800, 1700)  # needs a larger cache, which nothing may hold


def test_memory_for_fewer_streams_than_asked_takes_them_in_turn(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = mixed(12, longest=500)
    expected = finish(make(), requests)
    engine = make()
    monkeypatch.setattr(cache_module, "available_bytes", lambda: (1300 - engine.cache.size) * engine.model.cell_bytes)
    assert finish(engine, requests) == expected
    assert engine.cache.size <= 1280
    with pytest.raises(ContextError, match="MiB are free"):
        finish(engine, [request(b"x" * 1500)])
    assert sound(engine)


# Texts that do not depend on what is beside them.


@pytest.fixture(scope="module")
def alone(tiny_model: Path) -> list[Completion]:
    """What an engine of its own makes of each of `mixed(20, seed=1)`."""
    with interruptible() as interrupt, making_engines(tiny_model, interrupt) as make:
        return [finish(make(exact=True, speculate=False), [one])[0] for one in mixed(20, seed=1)]


@pytest.mark.parametrize("sequences", [1, 3, 16])
@pytest.mark.parametrize("speculate", [False, True])
@pytest.mark.parametrize("cells", [1024, 4096])
def test_a_text_is_the_same_beside_any_others(
    make: Make,
    alone: list[Completion],
    monkeypatch: pytest.MonkeyPatch,
    sequences: int,
    speculate: bool,
    cells: int,
) -> None:
    """Also where the cache is so small that its cells must be put in order again and again."""
    engine = make(sequences=sequences, speculate=speculate)
    engine.reserve(cells - engine.cache.spare_cells)
    monkeypatch.setattr(cache_module, "available_bytes", lambda: 0)
    assert finish(engine, mixed(20, seed=1)) == alone
    assert engine.cache.size == cells and sound(engine)
    if (sequences, cells) == (16, 1024):
        assert engine.cache.reread > 0


def test_a_score_in_between_finds_room_and_changes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cells of nobody fill the cache, it puts itself in order for whoever needs room."""
    requests = mixed(6, seed=2)
    expected = finish(make(), requests)
    engine = make()
    text = bytes(random.Random(5).choices(b"abcdefgh", k=900))
    scores = make().score(text, 100)
    engine.reserve(1000)
    monkeypatch.setattr(cache_module, "available_bytes", lambda: 0)
    for _ in range(3):
        assert finish(engine, requests) == expected
        assert engine.score(text, 100) == scores


def test_no_token_of_a_program_is_decoded_again(make: Make) -> None:
    """Each of ten turns reads what it adds: its prompt, the last token before it (whose logits the prompt's first token
    is scored by), and of the completion before what the cache does not have: its last token, or what its end became."""
    engine = make(exact=False, sequences=4)
    session = Session(engine, Program("#!/usr/bin/env python3\n\n"), Generation(HOT, max_tokens=30))
    session.reserve(["a prompt that is rather long"] * 10)
    for turn in range(10):
        had = [list(branch.tokens) for branch in engine.cache.branches]
        before, reread = engine.timings.prefill_tokens, engine.cache.reread
        program = session.program
        for _ in session.add(f"prompt number {turn}"):
            pass
        context = program.source() + program.opening(f"prompt number {turn}")
        tokens = engine.token_table.tokens(context.encode())
        known = max((common_prefix(tokens, other) for other in had), default=0)
        first = len(engine.token_table.tokens(program.source().encode()))
        assert engine.timings.prefill_tokens - before == len(tokens) - min(known, first - 1)
        # All of the program but the last token of its last completion and the line ends after it.
        assert turn == 0 or known >= first - 3
        assert engine.cache.reread == reread
    assert len(session.program.turns) == 10


def test_idle_cells_take_room_once_they_are_used_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams that do not fit together are drawn in turn, though one of them finds its context in the cache."""
    engine = make(exact=False, speculate=False)
    engine.reserve(1000)
    finish(engine, [request(b"a" * 700, max_tokens=5)])
    monkeypatch.setattr(cache_module, "available_bytes", lambda: 0)
    finish(engine, [request(b"b" * 250, max_tokens=60), request(b"a" * 705, max_tokens=60)])
    assert engine.cache.size == 1024 and engine.timings.passes == 4 + 59 + 59


def test_cells_to_be_used_again_are_not_given_up_for_themselves(make: Make) -> None:
    """A program that fills more than half of the cache is still read once."""
    engine = make(exact=False)
    engine.reserve(1000)
    finish(engine, [request(b"a" * 700, max_tokens=5)])
    before = engine.timings.prefill_tokens
    finish(engine, [request(b"a" * 705, max_tokens=5)])
    assert engine.timings.prefill_tokens == before + 5


def test_a_queue_has_cells_for_the_largest_of_those_waiting(make: Make) -> None:
    """The cache grows only while nothing is live, which in a long queue is never again."""
    short = [Request(b"a" * 10, HOT, Stops, max_tokens=8, candidate=index) for index in range(4)]
    long = [Request(bytes([97 + index]) * 300, HOT, Stops, max_tokens=8) for index in range(12)]
    engine = make(sequences=4, exact=False)
    assert len(dict(engine.complete([*short, *long]))) == 16
    assert engine.cache.size >= 4 * 308 and engine.timings.passes < 16 / 4 * 8 * 2


def test_idle_cells_are_given_up_where_a_stream_begins(make: Make) -> None:
    """Each pass attends over all cells up to the highest that is used, whosever they are."""
    engine = make(sequences=16, exact=False)
    requests = [Request(b"abc", HOT, Stops, max_tokens=60, candidate=index) for index in range(16)]
    dict(engine.complete(requests))
    assert len({cell for branch in engine.cache.branches for cell in branch.cells}) > 800
    dict(engine.complete([Request(b"abcd", HOT, Stops, max_tokens=4)]))
    assert len({cell for branch in engine.cache.branches for cell in branch.cells}) < 256 + 12


def test_exact_on_a_machine_with_a_gpu_is_the_cpus(make: Make) -> None:
    with pytest.raises(UsageError, match="--exact"):
        make(gpu_layers=1)
    assert make().model.gpu_layers == 0


def test_the_cache_never_has_room_for_more_than_a_window_a_text(make: Make) -> None:
    engine = make(exact=False, sequences=2)
    session = Session(engine, Program("#!/usr/bin/env python3\n\n"), Generation(HOT, max_tokens=10**6, candidates=2))
    session.reserve(["a prompt"])
    assert engine.cache.size <= 3 * engine.window + engine.cache.spare_cells + 256
    engine.reserve(10**9)
    assert engine.cache.size <= (engine.cache.sequences + 1) * engine.window
