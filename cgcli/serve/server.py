"""The life of a server: it opens its doors, and ends by a signal, by `--stop`, or after having been idle for long."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from cgcli.engine.engine import LlamaEngine
from cgcli.native.interrupt import Interrupt
from cgcli.serve import wire
from cgcli.serve.completions import HttpOptions
from cgcli.serve.decoder import Decoder
from cgcli.serve.places import Place, listen
from cgcli.serve.unix import UnixDoor
from cgcli.serve.wire import Message


@dataclass(frozen=True)
class ServerOptions:
    """How a server runs."""

    model: str  # its name
    idle_s: float | None = None  # ends after so long without a client; None never
    http: HttpOptions | None = None  # None opens no port


class Server:
    """A server of one engine. It does not close the engine."""

    def __init__(self, engine: LlamaEngine, options: ServerOptions) -> None:
        self.engine = engine
        self.options = options
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self.decoder = Decoder(engine, self.stop)
        self._started = self._used = time.monotonic()
        self._serving: asyncio.Task[None] | None = None
        self.port: int | None = None  # once it is open
        self.unix = UnixDoor(self.decoder, self.status, self.stop)

    def stop(self) -> None:
        """End the server, from any thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    def status(self) -> Message:
        """What `cgcli serve --status` shows."""
        engine = self.engine
        return {
            "version": wire.VERSION,
            "pid": os.getpid(),
            "model": self.options.model,
            "quant": engine.quant,
            "window": engine.window,
            **asdict(engine.placement),
            "exact": engine.exact,
            "up_s": round(time.monotonic() - self._started, 1),
            "idle_s": self.options.idle_s,
            "clients": len(self.unix.clients) - 1,  # without the one that asks
            "port": self.port,
            "streams": self.decoder.going,
            "requests": self.decoder.requests,
            "tokens": engine.timings.decode_tokens,
            "prefill_tokens": engine.timings.prefill_tokens,
            "kept_texts": engine.cache.memory.texts if engine.cache.memory else 0,
            "kept_mb": engine.cache.memory.size >> 20 if engine.cache.memory else 0,
        }

    async def run(self, place: Place, ready: Callable[[int | None], None]) -> None:
        """Serve until the end. Raises OSError if the socket cannot be made, and what ended the decoder, if it failed.

        ready: called with the port, if there is one, when clients can connect.
        """
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            listening = listen(place.socket)
            stack.callback(_remove, place, listening)
            accepting = await self.unix.open(listening)
            stack.callback(self.decoder.close)
            stack.callback(Interrupt().set)  # a pass ends at once
            stack.callback(self.unix.close)  # clients see it end, and go on by themselves
            stack.callback(accepting.close)
            if self.options.http:
                await self._open_http(self.options.http, stack)
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    loop.add_signal_handler(number, self._stopped.set)
            ready(self.port)
            await self._end()
        if self._serving:
            await self._serving
        await asyncio.sleep(0)  # the connections close
        if self.decoder.fault:
            raise self.decoder.fault

    async def _open_http(self, options: HttpOptions, stack: ExitStack) -> None:
        """Raises OSError if the port cannot be opened."""
        from cgcli.serve.http import HttpDoor, listen_tcp

        listening = listen_tcp(options.host, options.port)
        self.port = listening.getsockname()[1]
        server = HttpDoor(self.decoder, self.options.model, options, self._touch).server()
        self._serving = asyncio.create_task(server.serve(sockets=[listening]))

        def end() -> None:
            server.should_exit = server.force_exit = True

        stack.callback(end)
        while not server.started and not self._serving.done():
            await asyncio.sleep(0.01)

    def _touch(self) -> None:
        self._used = time.monotonic()

    async def _end(self) -> None:
        """Wait for the end."""
        idle = self.options.idle_s
        while not self._stopped.is_set():
            wait = min(1.0, idle / 4) if idle else None
            with_time = asyncio.wait_for(self._stopped.wait(), wait)
            try:
                await with_time
            except TimeoutError:
                if self.unix.clients or self.decoder.going:
                    self._used = time.monotonic()
                elif idle and time.monotonic() - self._used >= idle:
                    return


def _remove(place: Place, listening: socket.socket) -> None:
    listening.close()
    place.socket.unlink(missing_ok=True)


def serve_engine(
    engine: LlamaEngine, options: ServerOptions, place: Place, ready: Callable[[int | None], None]
) -> None:
    """Serve an engine until the end; see `Server.run`."""

    async def main() -> None:
        await Server(engine, options).run(place, ready)

    asyncio.run(main())
