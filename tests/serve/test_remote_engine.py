"""The engine protocol over a socket: what a client gets is what an engine of its own would give it."""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.errors import CgcliError, ContextError, UsageError
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.protocol import Placement
from cgcli.engine.request import Completion, FirstLine, Request, TokenScore
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.serve import decoder, wire
from cgcli.serve.client import Connection, NoServer, ServerGone
from tests.engine.drawing import HOT, finish, mixed, request
from tests.support.engines import MakeEngine
from tests.support.patience import PATIENCE_S, eventually
from tests.support.serving import InThread

CONTEXT = b"def f(a):\n    "


@pytest.fixture
def own(make_engine: MakeEngine) -> LlamaEngine:
    return make_engine(exact=True)


def test_completions_are_those_of_an_engine_of_ones_own(served: InThread, own: LlamaEngine) -> None:
    wanted = [
        request(CONTEXT, max_tokens=60),
        request(b"", max_tokens=5),
        request("é\xff".encode("latin-1"), max_tokens=9),
        request(CONTEXT, cutter=lambda: Stops(["e"]), max_tokens=200),
        request(b"x = 1\n\n", continues_code=True, first_draw=7),
        request(b"y", first_line=FirstLine(Sampling(1.2, seed=3), frozenset(range(97, 110)))),
        *mixed(12),
    ]
    remote = served.client()
    assert dict(remote.complete(wanted)) == dict(own.complete(wanted))
    assert served.server.decoder.going == 0


def test_pieces_are_the_text(served: InThread) -> None:
    pieces, drawing = [], served.client().stream(request(CONTEXT))
    while True:
        try:
            pieces.append(next(drawing))
        except StopIteration as stop:
            completion: Completion = stop.value
            break
    assert "".join(pieces) == completion.text


def test_scores_counts_and_tokens_are_the_same(served: InThread, own: LlamaEngine) -> None:
    remote, text = served.client(), b"def f(x):\n    return x\n" * 3
    assert remote.score(text, 5) == own.score(text, 5)
    assert remote.surprise(text, 3) == own.surprise(text, 3)
    both = [text, text + b"print(f(1))\n"]
    assert remote.surprise_all(both, [4, 9]) == own.surprise_all(both, [4, 9])
    long = text * 60
    assert remote.surprise(long, stride=1000) == own.surprise(long, stride=1000)
    assert (remote.tokens(text), remote.count(text)) == (own.tokens(text), own.count(text))
    assert (remote.window, remote.quant, remote.exact) == (own.window, own.quant, own.exact)


def test_a_request_arrives_as_it_was_sent() -> None:
    sent = request(b"\xff", suffix=b"\n\xfe", first_draw=3, continues_code=True)
    assert wire.request_in(json.loads(json.dumps(wire.request_out(sent)))) == replace(sent, cutter=Stops)


def test_what_does_not_fit_is_refused_as_without_a_server(served: InThread, own: LlamaEngine) -> None:
    remote = served.client()
    for ask, times in (
        (remote.check, 1),
        (remote.surprise, 1),
        (lambda text: remote.submit(request(text)), 1),
        (remote.count, 20),
    ):
        with pytest.raises(ContextError, match="but the window has 2048 tokens"):
            ask(b"a" * (own.window * times + 1))
    with pytest.raises(UsageError):
        Request(b"", HOT, Stops, max_tokens=0)
    remote.check(b"a")  # and goes on


def test_a_followed_request_takes_the_place_of_the_first(served: InThread, own: LlamaEngine) -> None:
    def follow(index: int, done: Completion) -> Request | None:
        whole = CONTEXT + done.text.encode()
        return request(whole, first_draw=24, continues_code=True) if done.candidate == 0 else None

    wanted = [request(CONTEXT), request(CONTEXT, candidate=1)]

    def once(index: int, done: Completion) -> Request | None:
        seen.append(index)
        return follow(index, done) if seen.count(index) == 1 else None

    seen: list[int] = []
    remote = dict(served.client().complete(wanted, once))
    seen = []
    assert remote == dict(own.complete(wanted, once))


def test_timings_are_those_of_the_client(served: InThread) -> None:
    first, second = served.client(), served.client()
    done = finish_remote(first, [request(CONTEXT)])[0]
    spent = first.timings
    assert spent.decode_tokens == done.tokens
    assert spent.streams == 1
    assert spent.prefill_tokens >= len(CONTEXT) - 5
    assert spent.passes and spent.decode_s > 0 and spent.prefill_s > 0
    assert second.timings.decode_tokens == 0
    second.score(b"some other text", 0)
    assert second.timings.prefill_tokens > 0
    assert first.timings == spent


def test_clients_whose_contexts_are_read_together_each_count_their_own(served: InThread) -> None:
    both_wait = threading.Event()
    served.server.decoder.call(lambda engine: both_wait.wait(PATIENCE_S))
    clients = [served.client() for _ in range(2)]
    sizes = (1200, 90)
    streams = [
        client.submit(request(letter * size)) for client, size, letter in zip(clients, sizes, (b"a", b"b"), strict=True)
    ]
    both_wait.set()
    for client, stream, size in zip(clients, streams, sizes, strict=True):
        while not stream.completion:
            client.wait([stream])
        assert client.timings.prefill_tokens == size and client.timings.prefill_s > 0


def test_a_request_is_scored_as_by_an_engine_of_ones_own(served: InThread, own: LlamaEngine) -> None:
    text = CONTEXT * 9 + b"return"
    remote = served.client()
    stream = remote.submit(request(text, score_from=40))
    while not stream.completion:
        remote.wait([stream])
    assert stream.scores == own.score(text, 40)
    assert stream.completion == finish(own, [request(text)])[0]


def finish_remote(engine: object, requests: list[Request]) -> list[Completion]:
    return finish(engine, requests)  # type: ignore[arg-type]


def test_many_clients_at_once_get_the_texts_of_one_alone(served: InThread, own: LlamaEngine) -> None:
    clients, wanted = 6, mixed(18, seed=2)
    alone = finish(own, wanted)
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(lambda k: finish_remote(served.client(), wanted[k::clients]), range(clients)))
    assert found == [alone[k::clients] for k in range(clients)]


def test_a_client_that_goes_away_ends_its_decoding(served: InThread) -> None:
    engine = served.server.engine
    gone, stays = served.client(), served.client()
    stream = gone.submit(request(CONTEXT, max_tokens=1500))
    kept = stays.submit(request(CONTEXT, candidate=1, max_tokens=300))
    gone.wait([stream])
    gone.close()
    while kept.completion is None:
        stays.wait([kept])
        kept.take()
    eventually(lambda: served.server.decoder.going == 0, "the stream of the client that went is still drawn")
    assert engine.timings.decode_tokens < 1000


def test_a_client_that_goes_away_while_it_is_scored_harms_no_other(
    served: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one call under way and one that waits for it."""
    begun, go_on, score = threading.Event(), threading.Event(), served.server.engine.surprise

    def held(*arguments: Any, **more: Any) -> list[TokenScore]:
        begun.set()
        go_on.wait()
        return score(*arguments, **more)

    gone, clients = served.client(), served.server.unix.clients
    with monkeypatch.context() as patch:
        patch.setattr(served.server.engine, "surprise", held)
        for number in (1, 2):
            gone._connection.send("score", id=number, text="x = 1", start=0, stride=None, blanks=True)
        try:
            eventually(lambda: begun.is_set() and any(len(one._tasks) == 2 for one in clients), "nothing is scored")
            gone.close()
            eventually(lambda: not clients, "the server does not see that the client went")
        finally:
            go_on.set()
    assert served.server.decoder.call(lambda engine: engine.count(b"abc")).result(PATIENCE_S)[0] == 3


def test_the_score_of_a_long_text_ends_when_its_client_goes_away(
    served: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a window."""
    begun, go_on, windows = threading.Event(), threading.Event(), []

    def held(tokens: list[int], *_: object) -> list[TokenScore]:
        windows.append(tokens)
        begun.set()
        go_on.wait()
        return []

    gone, engine = served.client(), served.server.engine
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_scored", held)
        text = "a b " * engine.window
        gone._connection.send("score", id=1, text=text, start=0, stride=1, blanks=True)
        try:
            eventually(begun.is_set, "nothing is scored")
            gone.close()
            eventually(lambda: not served.server.unix.clients, "the server does not see that the client went")
        finally:
            go_on.set()
        served.server.decoder.call(lambda engine: engine.count(b"abc")).result(PATIENCE_S)
    assert len(windows) == 1


def test_a_decoder_that_fails_ends_the_server(served: InThread) -> None:
    """So that clients go on by themselves, rather than wait for ever."""

    class TookOver(Exception):
        pass

    def own() -> LlamaEngine:
        raise TookOver

    def broken() -> None:
        raise RuntimeError("broken")

    remote = served.client(own)
    served.server.decoder._jobs.put(broken)
    eventually(lambda: served.faults, "the server goes on")
    assert str(served.faults.pop()) == "broken"
    with pytest.raises(TookOver):
        remote.score(CONTEXT, 0)


def test_a_cancelled_stream_ends_within_two_tokens(served: InThread) -> None:
    """From when the server knows of it."""
    told: list[int] = []
    made: list[decoder.ServedStream] = []

    def tell(news: wire.News) -> None:
        told.append(len(news.tokens))
        if len(told) == 3:
            served.server.decoder.cancel(made[0])

    made.append(served.server.decoder.submit(request(CONTEXT, max_tokens=900), "me", tell, first=False))
    eventually(lambda: len(told) >= 3 and served.server.decoder.going == 0, "it is still drawn")
    trace = made[0].stream.text.trace if made[0].stream else []
    assert sum(told[:3]) <= len(trace) <= sum(told[:3]) + 2
    assert len(told) == 3


def test_ctrl_c_ends_the_own_streams_with_their_text(served: InThread) -> None:
    remote = served.client()
    stream = remote.submit(request(CONTEXT, max_tokens=1500))
    remote.wait([stream])
    text = stream.take()
    remote._interrupt = Pressed()
    assert remote.wait([stream]) == [stream]
    done = stream.completion
    assert done and done.finish_reason == "interrupted"
    assert done.text == text + stream.take()
    eventually(lambda: served.server.decoder.going == 0, "it is still drawn")


class Pressed(Interrupt):
    """Ctrl-C in this client alone: the server of these tests is in the same process."""

    @property
    def requested(self) -> bool:
        return True


def test_a_client_learns_its_place_once(served: InThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.server.engine, "sequences", 1)
    busy, waits = served.client(), served.client()
    one = busy.submit(request(CONTEXT, max_tokens=1500))
    busy.wait([one])
    two, three = (waits.submit(request(CONTEXT, candidate=k)) for k in (1, 2))
    while not served.notes:
        waits._connection.pump()
    busy.cancel([one])
    for stream in (two, three):
        while stream.completion is None:
            waits.wait([stream])
            stream.take()
    assert served.notes == ["the server is busy with others; this is number 1 of those that wait"]


def test_a_full_queue_says_so_in_its_greeting(served: InThread, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not served.client()._connection.greeting.full
    monkeypatch.setattr(decoder, "_MOST_WAITING", -16)
    assert served.client()._connection.greeting.full


def test_a_server_of_another_version_is_not_used(served: InThread, monkeypatch: pytest.MonkeyPatch) -> None:
    served.client()
    theirs = wire.VERSION
    monkeypatch.setattr(wire, "VERSION", "0.0.9/1")
    greeting = Connection(served.place)  # both have it
    greeting.close()

    nowhere = Placement(threads=1, layers=1, gpu_layers=0, gpu="", products="", sampler="")
    other = wire.Greeting(theirs, 1, 1, "q", True, nowhere, "", False)
    monkeypatch.setattr(served.server.unix, "_greeting", lambda: other)
    with pytest.raises(NoServer, match=f"the server is cgcli {theirs}, not 0.0.9/1"):
        Connection(served.place)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 5) + b"nojson",
        struct.pack(">I", 2) + b"[]",
        wire.pack({"call": "nothing"}),
        wire.pack({"call": "submit", "id": 1}),
        wire.pack({"call": "count", "id": 1, "text": 7}),
        wire.pack({"call": "submit", "id": 1, "stream": 1, "first": False, "request": {"context": "a"}}),
        struct.pack(">I", 200_000) + b"[" * 200_000,
        wire.pack({"call": "reserve", "id": 1, "cells": float("inf"), "texts": 1}),
    ],
    ids=["http", "no json", "no object", "no call", "an empty call", "no text", "no sampling", "deep", "infinite"],
)
def test_nonsense_ends_the_connection_and_nothing_else(
    served: InThread, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(served.place.socket))
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(1 << 16):
            pass
    assert served.client().count(b"abc") == 3
    assert not caplog.records  # no traceback


@pytest.mark.parametrize(
    ("call", "more"),
    [
        ("score", {"text": "x = 1", "start": 0, "stride": 0, "blanks": True}),
        ("score", {"text": "x = 1", "start": -1, "stride": None, "blanks": True}),
        ("reserve", {"cells": -1, "texts": 1}),
    ],
)
def test_numbers_out_of_range_end_the_connection(served: InThread, call: str, more: dict[str, Any]) -> None:
    with pytest.raises(ServerGone):
        served.client()._connection.call(call, **more)


def test_a_client_with_many_requests_does_not_hold_up_one_with_few(
    served: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.server.engine, "sequences", 2)
    many, few = served.client(), served.client()
    streams = [many.submit(request(CONTEXT, candidate=index, max_tokens=300)) for index in range(12)]
    many.wait(streams)
    (done,) = few.complete([request(b"x", max_tokens=3)])
    assert done[1].tokens == 3
    many._connection.call("status")  # news of before have arrived
    assert sum(stream.completion is not None for stream in streams) < 6


def test_a_fault_in_the_engine_is_an_error_and_the_server_goes_on(
    served: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    remote = served.client()
    with monkeypatch.context() as patch:
        patch.setattr(served.server.engine.scheduler, "step", broken)
        with pytest.raises(CgcliError, match="error in the server: RuntimeError: broken"):
            list(remote.complete([request(CONTEXT)]))
        patch.setattr(served.server.engine, "surprise", broken)
        with pytest.raises(CgcliError, match="error in the server: RuntimeError: broken"):
            remote.surprise(CONTEXT)


def test_a_client_may_have_many_files_open(served: InThread) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while opened.enter_context(Path(os.devnull).open()).fileno() < 1100:
            pass
        assert served.client().count(b"abc") == 3
