"""Long texts are read in several passes; a client that no longer wants the result ends that after the current one."""

from __future__ import annotations

import threading

import pytest

from cgcli.core.errors import Interrupted
from cgcli.engine.cache import Step
from cgcli.serve.client import Connection
from tests.engine.drawing import request
from tests.support.patience import PATIENCE_S, eventually
from tests.support.serving import InThread


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_long_context_is_not_read_for_nobody(served: InThread, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client leaves in the first of three passes that read it."""
    engine, gone = served.server.engine, served.client()
    piece, run_pass = engine.cache.context.n_batch, engine.cache.run
    sizes: list[int] = []

    def run(steps: list[Step]) -> bool:
        sizes.append(len(steps[0].tokens))
        (going,) = served.server.decoder._going
        gone.cancel([stream]) if how == "cancel" else gone.close()
        eventually(lambda: going.cancelled, "the server does not see it")
        return run_pass(steps)

    ready = threading.Event()
    monkeypatch.setattr(engine.cache, "run", lambda steps: ready.wait(PATIENCE_S) and run(steps))
    stream = gone.submit(request(b"a" * (3 * piece), max_tokens=50))
    ready.set()
    eventually(lambda: served.server.decoder.going == 0 and sizes, "it is still drawn")
    assert sizes == [piece]


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_long_text_is_not_scored_for_nobody(served: InThread, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client presses Ctrl-C, or leaves, in the first of three passes; the next call is answered."""
    engine, connection = served.server.engine, Connection(served.place)
    piece, run_pass, (client,) = engine.cache.context.n_batch, engine.cache.run, served.server.unix.clients
    sizes: list[int] = []
    begun, left = threading.Event(), threading.Event()

    def run(steps: list[Step]) -> bool:
        sizes.append(len(steps[0].tokens))
        begun.set()
        left.wait(PATIENCE_S)
        return run_pass(steps)

    def interrupted() -> bool:
        return begun.is_set()

    monkeypatch.setattr(engine.cache, "run", run)
    score = {"text": "a" * (3 * piece), "start": 3 * piece - 5, "stride": None, "blanks": False}
    if how == "cancel":
        with pytest.raises(Interrupted):
            connection.call("score", interrupt=interrupted, patience_s=0.0, **score)
        eventually(lambda: client._dropped, "the server is not told")
    else:
        connection.send("score", id=1, **score)
        begun.wait(PATIENCE_S)
        connection.close()
        eventually(lambda: not served.server.unix.clients, "the server does not see it")
    left.set()
    other = served.client()
    assert other.count(b"abc") == 3 and other.score(b"abc", 1)
    assert sizes == [piece, 3]
    if how == "cancel":
        assert connection.call("count", text="ab")["value"] == 2
        assert not connection._dropped and not client._dropped
        connection.close()
