"""The Unix socket of a server: what the engine protocol offers, for the user's own processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.core.progress import Silent
from cgcli.engine.engine import LlamaEngine
from cgcli.serve import wire
from cgcli.serve.decoder import Decoder, ServedStream, as_known
from cgcli.serve.places import peer_is_own
from cgcli.serve.wire import Malformed, Message, News

_MOST_UNREAD = 1 << 24  # bytes that a client may leave unread


class UnixDoor:
    """Serves a decoder on a socket. Runs in an asyncio event loop."""

    def __init__(self, decoder: Decoder, status: Callable[[], Message], stop: Callable[[], None]) -> None:
        """status: what `cgcli serve --status` shows; stop: ends the server."""
        self.decoder = decoder
        self.status = status
        self.stop = stop
        self.clients: set[_Client] = set()

    async def open(self, listening: socket.socket) -> asyncio.Server:
        """Accept clients from now on."""
        return await asyncio.start_unix_server(self._serve, sock=listening)

    def close(self) -> None:
        """End all connections."""
        for client in list(self.clients):
            client.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        client = _Client(self, writer)
        try:
            if not peer_is_own(connection):
                return
            self.clients.add(client)
            client.send(asdict(self._greeting()))
            with suppress(asyncio.IncompleteReadError, ConnectionError, Malformed):
                while True:
                    size = wire.length(await reader.readexactly(4))
                    await client.handle(wire.parse(await reader.readexactly(size)))
        finally:
            client.leave()
            writer.close()
            self.clients.discard(client)
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _greeting(self) -> wire.Greeting:
        engine = self.decoder.engine
        return wire.Greeting(
            version=wire.VERSION,
            window=engine.window,
            sequences=engine.sequences,
            quant=engine.quant,
            exact=engine.exact,
            placement=engine.placement,
            infill=engine.infill,
            full=self.decoder.full,
        )


class _Client:
    """A connected client. Calls are handled in the order of their arrival; those that the decoder does answer later."""

    def __init__(self, door: UnixDoor, writer: asyncio.StreamWriter) -> None:
        self._door = door
        self._decoder = door.decoder
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, ServedStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scoring: set[object] = set()  # numbers of calls
        self._dropped: set[object] = set()  # those whose answers the client does not want any more

    def send(self, message: Mapping[str, Any]) -> None:
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MOST_UNREAD:
            transport.abort()
            return
        self._writer.write(wire.pack(message))

    def abort(self) -> None:
        self._writer.transport.abort()

    def leave(self) -> None:
        """Cancel everything that the client has asked for."""
        for served in self._streams.values():
            self._decoder.cancel(served)
        self._streams.clear()
        for task in self._tasks:
            task.cancel()

    async def handle(self, message: Message) -> None:
        """Handle a call. Raises Malformed for one that this version of cgcli does not send."""
        number, engine = message.get("id"), self._decoder.engine
        try:
            match message["call"]:
                case "submit":
                    await self._submit(message)
                    self._answer(number, None)
                case "cancel":
                    for stream in message["streams"]:
                        if served := self._streams.pop(stream, None):
                            self._decoder.cancel(served)
                    self._dropped.update(call for call in message["calls"] if call in self._scoring)
                case "count":
                    self._answer(number, await asyncio.to_thread(engine.count, wire.bytes_in(message["text"])))
                case "tokens":
                    self._answer(number, await asyncio.to_thread(engine.tokens, wire.bytes_in(message["text"])))
                case "check":
                    self._answer(number, await asyncio.to_thread(engine.check, wire.bytes_in(message["text"])))
                case "score":
                    self._scoring.add(number)
                    self._later(number, _score(message, lambda: self._unwanted(number)))
                case "score_all":
                    texts, starts = [wire.bytes_in(text) for text in message["texts"]], list(message["starts"])
                    self._later(number, lambda engine: list(map(wire.scores_out, engine.surprise_all(texts, starts))))
                case "reserve":
                    cells, count = _whole(message, "cells"), _whole(message, "texts")
                    self._later(number, lambda engine: engine.reserve(cells, texts=count))
                case "status":
                    self._answer(number, self._door.status())
                case "stop":
                    self._answer(number, None)
                    self._door.stop()
                case other:
                    raise Malformed(f"no call {other!r}")
        except Malformed:
            raise
        except CgcliError as error:
            self._refuse(number, error)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise Malformed(f"a call has no or a wrong {error}") from error

    async def _submit(self, message: Message) -> None:
        request, stream = wire.request_in(message["request"]), int(message["stream"])
        if self._decoder.full:
            raise CgcliError("the server has too many requests", hint="try again later, or add --no-serve")
        await asyncio.to_thread(self._decoder.engine.read_tokens, request)  # raises if the window has no room

        def tell(news: News) -> None:
            self._loop.call_soon_threadsafe(self._tell, stream, news)

        self._streams[stream] = self._decoder.submit(request, self, tell, first=bool(message["first"]))

    def _tell(self, stream: int, news: News) -> None:
        if stream in self._streams:
            self.send(news.out(stream))
            if news.end or news.error:
                del self._streams[stream]

    def _unwanted(self, number: object) -> bool:
        return number in self._dropped or self._writer.transport.is_closing()

    def _later(self, number: object, work: Callable[[LlamaEngine], object]) -> None:
        task = self._loop.create_task(self._called(number, self._decoder.call(work)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _called(self, number: object, future: Future[Any]) -> None:
        try:
            value, spent = await asyncio.wrap_future(future)
        except Exception as error:
            self._refuse(number, as_known(error))
        else:
            self.send({"id": number, "value": value, "spent": wire.timings_out(spent)})
        finally:
            self._scoring.discard(number)
            self._dropped.discard(number)

    def _answer(self, number: object, value: object) -> None:
        self.send({"id": number, "value": value})

    def _refuse(self, number: object, error: CgcliError) -> None:
        self.send({"id": number, "error": wire.error_out(error)})


def _whole(message: Message, name: str, *, least: int = 0) -> int:
    """A whole number of a call. Raises KeyError, TypeError, ValueError, OverflowError."""
    value = int(message[name])
    if value < least:
        raise ValueError(name)
    return value


class _WhileWanted(Silent):
    """Progress that ends the work between two steps, with Interrupted, once nobody waits for its result."""

    def __init__(self, gone: Callable[[], bool]) -> None:
        self._gone = gone

    def advance(self, amount: int) -> None:
        if self._gone():
            raise Interrupted


def _score(message: Message, gone: Callable[[], bool]) -> Callable[[LlamaEngine], object]:
    """gone: whether nobody waits for it any more."""
    text, start, blanks = wire.bytes_in(message["text"]), _whole(message, "start"), message["blanks"]
    stride = None if message["stride"] is None else _whole(message, "stride", least=1)

    def work(engine: LlamaEngine) -> object:
        wanted = _WhileWanted(gone)
        wanted.advance(0)
        if not blanks:
            return wire.scores_out(engine.score(text, start, progress=wanted))
        return wire.scores_out(engine.surprise(text, start, stride=stride, progress=wanted, reading=wanted))

    return work
