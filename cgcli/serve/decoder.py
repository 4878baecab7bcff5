"""The thread that owns the engine of a server: it draws the streams of all clients, and does other work between passes.

Everything else talks to it through `submit`, `cancel` and `call`, from any thread.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from cgcli.core.errors import CgcliError
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.protocol import Stream
from cgcli.engine.request import Request, Timings
from cgcli.engine.scheduler import ScheduledStream
from cgcli.engine.stops import Stops
from cgcli.serve.wire import News

Result = TypeVar("Result")

_MOST_WAITING = 256  # streams


@dataclass(eq=False)
class ServedStream:
    """A stream of a client."""

    request: Request
    client: Hashable
    tell: Callable[[News], None]  # called on the decoder's thread
    first: bool = False  # before all that wait
    stream: ScheduledStream | None = None  # None while it waits for its turn
    told: int = 0  # tokens
    place: int | None = None  # last told
    cancelled: bool = False

    @property
    def begun(self) -> bool:
        return self.told > 0


class Decoder:
    """Draws on a thread of its own. Close it to end its streams and its thread; the engine stays open."""

    def __init__(self, engine: LlamaEngine, failed: Callable[[], None]) -> None:
        """failed: called on the thread if an unexpected error ends it, after which nobody gets an answer."""
        self.engine = engine
        self.fault: BaseException | None = None  # what ended the thread
        self._failed = failed
        self.requests = 0  # so far
        self._going: list[ServedStream] = []  # in the engine
        self._waiting: list[ServedStream] = []  # for a place there
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    @property
    def going(self) -> int:
        """Streams that are drawn or wait."""
        return len(self._going) + len(self._waiting)

    @property
    def full(self) -> bool:
        return self.going >= self.engine.sequences + _MOST_WAITING

    def submit(self, request: Request, client: Hashable, tell: Callable[[News], None], *, first: bool) -> ServedStream:
        """Queue a request. All that is drawn is told, whatever its cutter says. An error ends the stream."""
        request = replace(request, cutter=Stops)
        served = ServedStream(request, client, tell, first)
        self.requests += 1
        self._jobs.put(lambda: self._waiting.append(served))
        return served

    def cancel(self, served: ServedStream) -> None:
        """End a stream before the next pass, also while its context is read. Nothing more is told of it."""
        served.cancelled = True
        if served.stream:
            served.stream.cancel()

        def end() -> None:
            if served in self._waiting:
                self._waiting.remove(served)
            elif served in self._going and served.stream:
                self._going.remove(served)
                self.engine.cancel([served.stream])

        self._jobs.put(end)

    def call(self, work: Callable[[LlamaEngine], Result]) -> Future[tuple[Result, Timings]]:
        """Call a function with the engine between two passes; returns its result and what it spent."""
        future: Future[tuple[Result, Timings]] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():  # the client has left
                return
            before = replace(self.engine.timings)
            try:
                result = work(self.engine)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result((result, _since(before, self.engine.timings)))

        self._jobs.put(job)
        return future

    def close(self) -> None:
        """End all streams as interrupted, and the thread."""

        def end() -> None:
            self._closed = True

        self._jobs.put(end)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self.fault = error
            self._failed()

    def _serve(self) -> None:
        while not self._closed:
            if not self.going:
                self._jobs.get()()
            while not self._jobs.empty():
                self._jobs.get()()
            if not self._closed:
                self._admit()
            if self._going and not self._closed:
                self._draw()
        self.engine.cancel([served.stream for served in self._going if served.stream])
        self._tell(Timings())

    def _admit(self) -> None:
        """Hand streams to the engine while it has places, those of the client with the fewest there before others."""
        while self._waiting and len(self._going) < self.engine.sequences:
            there = Counter(served.client for served in self._going)
            served = min(self._waiting, key=lambda one: (not one.first, there[one.client]))
            self._waiting.remove(served)
            try:
                served.stream = self.engine.submit(served.request, first=served.first)
                if served.cancelled:  # meanwhile, by another thread
                    served.stream.cancel()
            except Exception as error:
                served.tell(News(error=as_known(error)))
            else:
                self._going.append(served)

    def _draw(self) -> None:
        before = replace(self.engine.timings)
        waited: list[Stream] = [served.stream for served in self._going if served.stream]
        try:
            self.engine.wait(waited)
        except Exception as error:
            self.engine.cancel(waited)
            for served in self._going:
                served.tell(News(error=as_known(error)))
            self._going.clear()
            return
        self._tell(_since(before, self.engine.timings))

    def _tell(self, spent: Timings) -> None:
        """Tell all clients what happened in a step that spent so much."""
        drawn = [served for served in self._going if served.stream and len(served.stream.text.trace) > served.told]
        shares = _shares(spent, drawn)
        for served in list(self._going):
            news = _news(served)
            if served in drawn:
                news.spent = shares.pop(served.client, None)
            if news.end:
                self._going.remove(served)
            if (news.tokens or news.end) and not served.cancelled:
                served.tell(news)
        for place, served in enumerate(self._waiting, 1):
            others = any(one.client != served.client for one in (*self._going, *self._waiting))
            if others and place != served.place:
                served.place = place
                served.tell(News(place=place))


def as_known(error: Exception) -> CgcliError:
    """An error as a client can be told it."""
    return (
        error if isinstance(error, CgcliError) else CgcliError(f"error in the server: {type(error).__name__}: {error}")
    )


def _news(served: ServedStream) -> News:
    """What a stream has to tell; `place` and `spent` are not known here."""
    stream = served.stream
    if stream is None:
        return News()
    text = stream.take()
    new = stream.text.trace[served.told :]
    before = stream.text.trace[served.told - 1].end if served.told else 0
    ends = [before, *(one.end for one in new)]
    served.told += len(new)
    sizes = (end - begin for begin, end in itertools.pairwise(ends))
    tokens = [(one.token, one.logprob, size) for one, size in zip(new, sizes, strict=True)]
    alternatives = [one.alternatives for one in new] if served.request.alternatives else []
    return News(tokens, text, alternatives, stream.completion.finish_reason if stream.completion else None)


def _since(before: Timings, now: Timings) -> Timings:
    return Timings(**{one.name: getattr(now, one.name) - getattr(before, one.name) for one in fields(Timings)})


def _shares(spent: Timings, drawn: list[ServedStream]) -> dict[Hashable, Timings]:
    """What a step spent, for each client that has drawn in it.

    A pass takes the same time for each client that it carries. Guesses are only counted where a client was alone. What
    reading a context took, in this step and before, counts with its first token.
    """
    clients = {served.client for served in drawn}
    alone = replace(spent, prefill_s=0.0, prefill_tokens=0) if len(clients) == 1 else None
    shares: dict[Hashable, Timings] = {client: alone or Timings() for client in clients}
    for served in drawn:
        share = shares[served.client]
        assert served.stream
        if not served.begun:
            share.prefill_s += served.stream.prefill_s
            share.prefill_tokens += served.stream.prefill_tokens
        if alone:
            continue
        share.decode_tokens += len(served.stream.text.trace) - served.told
        share.streams += not served.begun
        if served.begun:
            share.decode_s, share.passes = spent.decode_s, spent.passes
    return shares
