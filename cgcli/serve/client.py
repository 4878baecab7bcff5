"""An engine in another process: `engine.protocol.Engine` over the Unix socket of a server.

If the server stops meanwhile, an engine of this process takes over, and goes on with the texts that were being drawn.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import fields, replace
from typing import Any, TypeVar

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.core.progress import Progress
from cgcli.core.typed import typed
from cgcli.engine import protocol
from cgcli.engine.completing import Completing
from cgcli.engine.request import Request, Timings, TokenScore
from cgcli.native.interrupt import Interrupt
from cgcli.serve import wire
from cgcli.serve.places import Place, address, is_own, peer_is_own, peer_pid
from cgcli.serve.stream import RemoteStream
from cgcli.serve.wire import Greeting, Malformed, Message, Unpacker

Result = TypeVar("Result")

_TICK_S = 0.05  # between two looks at Ctrl-C
_PATIENCE_S = 1.0  # for a greeting, and after Ctrl-C for an answer


class NoServer(CgcliError):
    """There is no server that can be used."""


class SilentServer(NoServer):
    """A server is there, but does not answer."""

    def __init__(self, pid: int | None = None) -> None:
        super().__init__(
            f"the server with PID {pid} does not answer" if pid else "a server does not answer",
            hint=f"if it is suspended, resume it with kill -CONT {pid}; kill -KILL {pid} ends it" if pid else None,
        )


class ServerGone(CgcliError):
    """The server stopped, or does not answer as this version of cgcli does."""


class Connection:
    """A connection to a server: messages out and in, from any thread."""

    def __init__(self, place: Place, *, any_version: bool = False) -> None:
        """Connect. any_version: only for calls that all versions know. Raises NoServer."""
        if not is_own(place.folder):
            raise NoServer(f"{place.folder} is not the user's own")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._poll = select.poll()  # unlike `select`, it takes any number
        self._poll.register(self._socket, select.POLLIN)
        self._unpacker = Unpacker()
        self._receiving = threading.RLock()
        self._sending = threading.Lock()
        self._values: dict[int, Message] = {}
        self._dropped: set[int] = set()  # calls that nobody waits for any more
        self._numbers = itertools.count(1)
        self.on_news: Callable[[Message], None] = lambda message: None
        try:
            with address(place.socket) as where:
                self._socket.settimeout(_PATIENCE_S)
                self._socket.connect(where)
            self.greeting = self._greeting(any_version)
        except (BlockingIOError, TimeoutError) as error:  # too many wait for it already
            self._socket.close()
            raise SilentServer from error
        except (OSError, ServerGone) as error:
            self._socket.close()
            raise NoServer(f"nothing answers at {place.socket}: {error}") from error
        except BaseException:
            self._socket.close()
            raise

    def _greeting(self, any_version: bool) -> Greeting:
        if not peer_is_own(self._socket):
            raise NoServer("the server is another user's")
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            for message in self._received():
                if message.get("version") != wire.VERSION and not any_version:
                    raise NoServer(f"the server is cgcli {message.get('version')}, not {wire.VERSION}")
                if any_version:
                    return Greeting(*(message.get(one.name) for one in fields(Greeting)))  # type: ignore[arg-type]
                try:
                    greeting: Greeting = typed(Greeting, message, "greeting")
                except ValueError as error:
                    raise ServerGone(str(error)) from error
                return greeting
        raise SilentServer(peer_pid(self._socket))

    def send(self, call: str, **rest: Any) -> None:
        """Send a call without an answer. Raises ServerGone."""
        data = wire.pack({"call": call, **rest})
        try:
            with self._sending:
                self._socket.settimeout(None)
                self._socket.sendall(data)
        except OSError as error:
            raise ServerGone("the server has stopped") from error

    def call(
        self, call: str, *, interrupt: Callable[[], bool] = lambda: False, patience_s: float = _PATIENCE_S, **rest: Any
    ) -> Message:
        """Send a call and return its answer. Raises ServerGone, what the server raised, and Interrupted.

        patience_s: before Ctrl-C ends it. What takes no time does not need Ctrl-C, unless the server hangs.
        """
        number, until = next(self._numbers), time.monotonic() + patience_s
        self.send(call, id=number, **rest)
        while number not in self._values:
            self.pump()
            if number not in self._values and time.monotonic() > until and interrupt():
                self._dropped.add(number)
                with suppress(ServerGone):
                    self.send("cancel", streams=[], calls=[number])
                raise Interrupted
        answer = self._values.pop(number)
        if "error" in answer:
            raise wire.error_in(answer["error"])
        return answer

    def pump(self, wait_s: float = _TICK_S) -> None:
        """Wait at most so long for messages, and hand them out. Raises ServerGone."""
        with self._receiving:
            for message in self._received(wait_s):
                if "stream" in message:
                    self.on_news(message)
                elif (number := int(message["id"])) in self._dropped:
                    self._dropped.remove(number)
                else:
                    self._values[number] = message

    def _received(self, wait_s: float = _TICK_S) -> list[Message]:
        try:
            if not self._poll.poll(1000 * wait_s):
                return []
            data = self._socket.recv(1 << 16)
            if not data:
                raise ServerGone("the server has stopped")
            return list(self._unpacker.feed(data))
        except (OSError, ValueError, Malformed) as error:
            raise ServerGone("the server has stopped") from error

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()


class RemoteEngine(Completing):
    """An `engine.protocol.Engine` in a server."""

    def __init__(
        self,
        connection: Connection,
        interrupt: Interrupt,
        open_own: Callable[[], protocol.Engine],
        note: Callable[[str], None],
    ) -> None:
        """open_own: opens an engine in this process, if the server stops. note: tells the user about such things."""
        self._connection = connection
        self._interrupt = interrupt
        self._open_own = open_own
        self._note = note
        self._own: protocol.Engine | None = None  # instead of the server
        self._spent = Timings()
        self._streams: dict[int, RemoteStream] = {}  # those that are not done
        self._numbers = itertools.count(1)
        self._waited = False  # whether the user was told
        self.window = connection.greeting.window
        self.sequences = connection.greeting.sequences
        self.quant = connection.greeting.quant
        self.exact = connection.greeting.exact
        self.placement = connection.greeting.placement
        self.infill = connection.greeting.infill
        connection.on_news = self._take_news

    @property
    def timings(self) -> Timings:
        total = Timings()
        for spent in (self._spent, self._own.timings if self._own else Timings()):
            wire.add_timings(total, vars(spent))
        return total

    # Drawing

    def submit(self, request: Request, *, first: bool = False) -> protocol.Stream:
        number = next(self._numbers)
        scores = [] if request.score_from is None else self.score(request.context, request.score_from)
        request = replace(request, score_from=None)
        stream = RemoteStream(number, request, scores)

        def remote() -> protocol.Stream:
            self._streams[number] = stream
            try:
                self._connection.call("submit", stream=number, first=first, request=wire.request_out(request))
            except CgcliError as error:
                if not isinstance(error, ServerGone):
                    del self._streams[number]
                raise
            return stream

        def own(engine: protocol.Engine) -> protocol.Stream:
            if self._streams.pop(number, None) is None:
                stream.move(engine, first=first)
            return stream

        return self._on(remote, own)

    def wait(self, streams: Iterable[protocol.Stream]) -> list[protocol.Stream]:
        wanted = [stream for stream in streams if isinstance(stream, RemoteStream)]
        return [*self._on(lambda: self._wait(wanted), lambda engine: _wait_own(engine, wanted))]

    def _wait(self, streams: list[RemoteStream]) -> list[RemoteStream]:
        while True:
            if self._interrupt.requested:
                self.cancel(list(self._streams.values()))
            if done := [stream for stream in streams if stream.completion]:
                return done
            if error := next((stream.error for stream in streams if stream.error), None):
                raise error
            fresh = any(stream.fresh for stream in streams)
            self._connection.pump(0.0 if fresh else _TICK_S)
            if fresh or any(stream.fresh for stream in streams):
                return [stream for stream in streams if stream.completion]

    def cancel(self, streams: Iterable[protocol.Stream]) -> None:
        live = [one for one in streams if isinstance(one, RemoteStream) and one.completion is None]
        for stream in live:
            stream.end("interrupted")
        self._forget(live)
        if self._own:
            self._own.cancel([stream.moved for stream in live if stream.moved])

    def _forget(self, streams: list[RemoteStream]) -> None:
        """Tell the server that these streams need not be drawn on."""
        numbers = [one.number for one in streams if self._streams.pop(one.number, None)]
        if numbers and not self._own:
            with suppress(ServerGone):
                self._connection.send("cancel", streams=numbers, calls=[])

    def _take_news(self, message: Message) -> None:
        wire.add_timings(self._spent, message.get("spent", {}))
        stream = self._streams.get(message["stream"])
        if stream is None:
            return
        if place := message.get("place"):
            self._say_place(place)
        ended_there = stream.take_news(message)
        if ended_there:
            del self._streams[stream.number]
        elif stream.completion:
            self._forget([stream])

    def _say_place(self, place: int) -> None:
        if not self._waited:
            self._waited = True
            self._note(f"the server is busy with others; this is number {place} of those that wait")

    # Scoring

    def score(self, text: bytes, start: int, *, progress: Progress | None = None) -> list[TokenScore]:
        return self._on(
            lambda: self._scores(text, start, None, blanks=False),
            lambda engine: engine.score(text, start, progress=progress),
        )

    def surprise(
        self, text: bytes, start: int = 0, *, stride: int | None = None, progress: Progress | None = None
    ) -> list[TokenScore]:
        return self._on(
            lambda: self._scores(text, start, stride, blanks=True),
            lambda engine: engine.surprise(text, start, stride=stride, progress=progress),
        )

    def surprise_all(self, texts: Sequence[bytes], starts: Sequence[int]) -> list[list[TokenScore]]:
        what = {"texts": [wire.bytes_out(text) for text in texts], "starts": list(starts)}

        def remote() -> list[list[TokenScore]]:
            return [wire.scores_in(rows) for rows in self._call("score_all", patience_s=0.0, **what)["value"]]

        return self._on(remote, lambda engine: engine.surprise_all(texts, starts))

    def _scores(self, text: bytes, start: int, stride: int | None, *, blanks: bool) -> list[TokenScore]:
        what = {"text": wire.bytes_out(text), "start": start, "stride": stride, "blanks": blanks}
        answer = self._call("score", patience_s=0.0, **what)
        return wire.scores_in(answer["value"])

    def scratch(self, begun: bytes) -> AbstractContextManager[None]:
        """Nothing is removed: a server's cache always depends on what others draw, unless it is exact."""
        return self._own.scratch(begun) if self._own else nullcontext()

    # The rest

    def reserve(self, cells: int, *, texts: int = 1) -> None:
        self._on(
            lambda: self._call("reserve", cells=cells, texts=texts), lambda engine: engine.reserve(cells, texts=texts)
        )

    def tokens(self, text: bytes) -> list[int]:
        return self._on(
            lambda: list(self._call("tokens", text=wire.bytes_out(text))["value"]), lambda engine: engine.tokens(text)
        )

    def count(self, text: bytes) -> int:
        return self._on(
            lambda: int(self._call("count", text=wire.bytes_out(text))["value"]), lambda engine: engine.count(text)
        )

    def check(self, context: bytes) -> None:
        self._on(lambda: self._call("check", text=wire.bytes_out(context)), lambda engine: engine.check(context))

    def close(self) -> None:
        self._connection.close()
        if self._own:
            self._own.close()

    def _call(self, call: str, **rest: Any) -> Message:
        answer = self._connection.call(call, interrupt=lambda: self._interrupt.requested, **rest)
        wire.add_timings(self._spent, answer.get("spent", {}))
        return answer

    def _on(self, remote: Callable[[], Result], own: Callable[[protocol.Engine], Any]) -> Result:
        """Ask the server; once it has stopped, the engine of this process."""
        if self._own is None:
            try:
                return remote()
            except ServerGone as gone:
                self._note(f"{gone.message}; loading the model in this process")
                self._own = self._open_own()
                for stream in self._streams.values():
                    stream.move(self._own)
        result: Result = own(self._own)
        return result


def _wait_own(engine: protocol.Engine, streams: list[RemoteStream]) -> list[RemoteStream]:
    """As `wait`, for streams that have moved to an engine of this process."""
    moved = [stream.moved for stream in streams if stream.moved and stream.completion is None]
    if moved:
        engine.wait(moved)
    return [stream for stream in streams if stream.completion]
