"""Completions for HTTP: several streams of a decoder as one asynchronous sequence of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

from cgcli.core.errors import ContextError
from cgcli.engine.request import Request, Timings
from cgcli.serve import wire
from cgcli.serve.decoder import Decoder, ServedStream
from cgcli.serve.fields import BadRequest
from cgcli.serve.stream import RemoteStream
from cgcli.serve.wire import News


class ClientLeft(Exception):
    """Nobody waits for the answer."""


class PendingCompletions:
    """Requests of one client that are drawn together. Leaving it as a context manager cancels what is not done."""

    def __init__(self, decoder: Decoder, requests: Sequence[Request]) -> None:
        self.streams = [RemoteStream(index, request) for index, request in enumerate(requests)]
        self.spent = Timings()
        self._decoder = decoder
        self._requests = requests
        self._served: list[ServedStream] = []
        self._news: asyncio.Queue[tuple[int, News]] = asyncio.Queue()

    @property
    def drawn(self) -> int:
        """Tokens of the streams that are done."""
        return sum(stream.completion.tokens for stream in self.streams if stream.completion)

    async def check(self) -> None:
        """Raise BadRequest if a request does not fit, or if there is no place for them."""
        if self._decoder.full:
            raise BadRequest("the server has too many requests; try again later", status=429, code="busy")
        for request in {request.context: request for request in self._requests}.values():
            try:
                await asyncio.to_thread(self._decoder.engine.read_tokens, request)
            except ContextError as error:
                raise BadRequest(error.message, "prompt", code="context_length_exceeded") from error

    async def __aenter__(self) -> PendingCompletions:
        """Submit the requests."""
        loop = asyncio.get_running_loop()

        def teller(index: int) -> Callable[[News], None]:
            def tell(news: News) -> None:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._news.put_nowait, (index, news))

            return tell

        for index, request in enumerate(self._requests):
            self._served.append(self._decoder.submit(request, self, teller(index), first=False))
        return self

    async def __aexit__(self, *exception: object) -> None:
        for served in self._served:
            self._decoder.cancel(served)

    async def events(self, left: Callable[[], Awaitable[object]], seconds: float) -> AsyncIterator[RemoteStream]:
        """Yield a stream whenever it has something new, until all are done or the time is over.

        What is not done then ends as interrupted. left: returns when the client has left. Raises ClientLeft, and what
        the engine raises.
        """
        going = set(range(len(self.streams)))
        gone = asyncio.ensure_future(left())
        until = asyncio.get_running_loop().time() + seconds
        try:
            while going:
                getting = asyncio.ensure_future(self._news.get())
                rest = max(0.0, until - asyncio.get_running_loop().time())
                done, _ = await asyncio.wait({getting, gone}, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
                if getting not in done:
                    getting.cancel()
                    if gone in done:
                        raise ClientLeft
                    break
                index, news = getting.result()
                stream = self.streams[index]
                if news.spent:
                    wire.add_timings(self.spent, vars(news.spent))
                if index not in going:
                    continue
                stream.take_news(news.out(index))
                if stream.error:
                    raise stream.error
                if stream.completion:
                    going.remove(index)
                    self._decoder.cancel(self._served[index])
                yield stream
            for index in going:
                self.streams[index].end("interrupted")
                yield self.streams[index]
        finally:
            gone.cancel()
