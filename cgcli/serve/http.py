"""The HTTP door of a server: routes for editors and OpenAI clients. Only this file imports Starlette and uvicorn.

A web page can post to a port of its visitor's own machine. So every route refuses other hosts, origins and content
types, and no answer allows another origin to read it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Completion, TokenScore
from cgcli.serve import completions
from cgcli.serve.completions import Asked, HttpOptions
from cgcli.serve.decoder import Decoder, as_known
from cgcli.serve.fields import BadRequest
from cgcli.serve.logprobs import Logprobs
from cgcli.serve.metrics import metrics_text
from cgcli.serve.pending import ClientLeft, PendingCompletions

_MOST_BODY = 1 << 20  # bytes; to parse more would take long, and nobody is answered meanwhile
_MOST_BODIES = 1 << 26  # bytes of all that arrive at the same time
_HEADER_S, _BODY_S, _IDLE_S = 10.0, 30.0, 60.0  # for headers, for a body, and between two requests
_UNREAD_S = 60.0  # in which a client must read some of an answer
_MOST_HEADER = 1 << 14  # bytes
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
_NO_CHAT = (
    "cgcli has no chat: its models continue code and were not trained to answer; POST a prompt to /v1/completions"
)


class HttpDoor:
    """Serves a decoder over HTTP. Runs in an asyncio event loop."""

    def __init__(self, decoder: Decoder, model: str, options: HttpOptions, used: Callable[[], None]) -> None:
        """model: its name in answers; used: called for each request."""
        self.decoder = decoder
        self.model = model
        self.options = options
        self.answers: Counter[tuple[str, int]] = Counter()  # by route and status
        self._used = used
        self._arriving = 0  # bytes of bodies
        post, get = ["POST"], ["GET"]
        routes = [
            Route("/v1/completions", self._completions, methods=post),
            Route("/v1/engines/{any}/completions", self._completions, methods=post),
            Route("/infill", self._infill, methods=post),
            Route("/v1/chat/completions", self._chat, methods=post),
            Route("/v1/models", self._models, methods=get),
            Route("/v1/models/{name:path}", self._one_model, methods=get),
            Route("/health", self._health, methods=get),
            Route("/metrics", self._metrics, methods=get),
        ]
        self.app = Starlette(
            routes=[Route(one.path, self._guarded(one), methods=list(one.methods or ())) for one in routes],
            exception_handlers={404: _no_route, 405: _no_route},
        )
        self.app.router.redirect_slashes = False  # it would name the host that the request names

    # Before a route

    def _guarded(self, route: Route) -> Callable[[HttpRequest], Awaitable[Response]]:
        """The route behind all checks; its errors become answers."""

        async def guarded(request: HttpRequest) -> Response:
            self._used()
            try:
                self._check(request, route.path)
                response: Response = await route.endpoint(request)
            except BadRequest as error:
                response = JSONResponse(error.body, error.status)
            except (ClientLeft, ClientDisconnect):
                response = Response(status_code=499)
            except Exception as error:
                response = JSONResponse(_fault(error), 500)
            self.answers[route.path, response.status_code] += 1
            return response

        return guarded

    def _check(self, request: HttpRequest, path: str) -> None:
        """Refuse what a web page or somebody without a key sends. Raises BadRequest."""
        headers = request.headers
        host = headers.get("host", "").lower()
        if self.options.loopback and _without_port(host) not in _LOOPBACK:
            raise BadRequest("the Host header must name this machine", status=403)
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            raise BadRequest("requests from web pages are refused", status=403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise BadRequest("requests from web pages are refused", status=403)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind != "application/json":
            raise BadRequest("the content type must be application/json", status=415)
        if self.options.keys and path != "/health":
            self._owner(request)

    def _owner(self, request: HttpRequest) -> str:
        """Whose texts the request has: those of one key share what was read of them. Raises BadRequest."""
        if not self.options.keys:
            return "http"
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        found = [hmac.compare_digest(given.encode(), key.encode()) for key in self.options.keys]
        if kind.lower() != "bearer" or not any(found):
            raise BadRequest("wrong API key", status=401, code="invalid_api_key")
        return hashlib.sha256(given.encode()).hexdigest()

    async def _body(self, request: HttpRequest) -> object:
        """The JSON of a body. Raises BadRequest."""
        length = request.headers.get("content-length", "0")
        data = bytearray()
        try:
            if length.isdigit() and int(length) > _MOST_BODY:
                raise BadRequest(f"a body may have {_MOST_BODY} bytes at most", status=413)
            async with asyncio.timeout(_BODY_S):
                async for chunk in request.stream():
                    data += chunk
                    self._arriving += len(chunk)
                    if len(data) > _MOST_BODY:
                        raise BadRequest(f"a body may have {_MOST_BODY} bytes at most", status=413)
                    if self._arriving > _MOST_BODIES:
                        raise BadRequest("too many requests arrive; try again later", status=429, code="busy")
            return json.loads(data)
        except TimeoutError as error:
            raise BadRequest("the body did not arrive in time", status=408) from error
        except (ValueError, RecursionError) as error:
            raise BadRequest("the body is not JSON") from error
        finally:
            self._arriving -= len(data)

    # Routes

    async def _completions(self, request: HttpRequest) -> Response:
        engine = self.decoder.engine
        body, defaults, owner = await self._body(request), self.options.defaults, self._owner(request)
        asked = await asyncio.to_thread(completions.completions_asked, body, engine, defaults, owner)
        pending = PendingCompletions(self.decoder, asked.requests)
        await pending.check()
        if asked.stream:
            return _events(self._completion_parts(request, asked, pending))
        kept = await self._kept(request, asked, pending)
        choices: list[str] = []
        for index, prompt in enumerate(asked.prompts):
            logprobs = await self._logprobs(prompt, asked)
            for one in kept[index * asked.n : (index + 1) * asked.n]:
                choices.append(json.dumps(completions.whole_choice(asked, len(choices), prompt, one, logprobs)))
                await asyncio.sleep(0)  # many of them take long: others are answered meanwhile
        tokens = 0 if asked.only_echo else pending.drawn
        begun = json.dumps(completions.head("text_completion", self.model)).removesuffix("}")
        usage = json.dumps(completions.usage(await asyncio.to_thread(self._read, asked), tokens))
        answer = f'{begun}, "choices": [{", ".join(choices)}], "usage": {usage}}}'
        return Response(answer, media_type="application/json")

    async def _kept(self, request: HttpRequest, asked: Asked, pending: PendingCompletions) -> list[Completion]:
        """Draw everything; returns the `n` completions to answer with for each prompt."""
        loop = asyncio.get_running_loop()
        until = loop.time() + asked.seconds
        async with pending:
            async for _ in pending.events(_left(request), asked.seconds):
                pass
        drawn = [stream.completion for stream in pending.streams if stream.completion]
        if not asked.holes:
            return completions.best(asked, drawn)
        kept: list[Completion] = []
        for hole in asked.holes:
            own, drawn = drawn[: len(hole.requests)], drawn[len(hole.requests) :]
            kept += (await hole.choose(self.decoder, own, until - loop.time()))[: asked.n]
        return kept

    async def _logprobs(self, prompt: bytes, asked: Asked) -> Logprobs | None:
        """Those that a choice begins with: of the prompt if it is echoed. None if none are told."""
        if asked.logprobs is None:
            return None
        owner, most = asked.requests[0].owner, asked.logprobs
        found = Logprobs(self.decoder.engine.model, most)
        if asked.echo:

            def score(engine: LlamaEngine) -> list[TokenScore]:
                return engine.surprise(prompt, owner=owner, alternatives=most)

            scores, _ = await asyncio.wrap_future(self.decoder.call(score))
            found.add_prompt(self.decoder.engine.tokens(prompt), scores)
        return found

    def _read(self, asked: Asked) -> int:
        """Tokens of the prompts."""
        return sum(len(self.decoder.engine.tokens(prompt)) for prompt in asked.prompts)

    async def _completion_parts(
        self, request: HttpRequest, asked: Asked, pending: PendingCompletions
    ) -> AsyncIterator[Any]:
        begun = completions.head("text_completion", self.model)
        more: dict[str, Any] = {"usage": None} if asked.usage else {}
        choices = self._choices_as_drawn if asked.streams else self._choices_at_once
        async for choice in choices(request, asked, pending):
            yield begun | {"choices": [choice]} | more
        if asked.usage:
            yield begun | {"choices": [], "usage": completions.usage(self._read(asked), pending.drawn)}
        yield "[DONE]"

    async def _choices_as_drawn(
        self, request: HttpRequest, asked: Asked, pending: PendingCompletions
    ) -> AsyncIterator[dict[str, Any]]:
        told = [0] * len(pending.streams)
        async with pending:
            async for stream in pending.events(_left(request), asked.seconds):
                done, index = stream.completion, stream.number
                text = stream.take()
                if not text and not done:
                    continue
                logprobs = None
                if asked.logprobs is not None:
                    found = Logprobs(self.decoder.engine.model, asked.logprobs)
                    found.add_drawn(stream.trace, begin=told[index])
                    logprobs = found.body
                told[index] = len(stream.trace)
                yield completions.choice(index, text, done.finish_reason if done else None, logprobs)

    async def _choices_at_once(
        self, request: HttpRequest, asked: Asked, pending: PendingCompletions
    ) -> AsyncIterator[dict[str, Any]]:
        for index, one in enumerate(await self._kept(request, asked, pending)):
            logprobs = await self._logprobs(asked.prompts[index // asked.n], asked)
            yield completions.whole_choice(asked, index, b"", one, logprobs)

    async def _infill(self, request: HttpRequest) -> Response:
        body, defaults, owner = await self._body(request), self.options.defaults, self._owner(request)
        asked = await asyncio.to_thread(completions.infill_asked, body, self.decoder.engine, defaults, owner)
        pending = PendingCompletions(self.decoder, asked.requests)
        await pending.check()
        if asked.stream:
            return _events(self._infill_parts(request, asked, pending))
        (done,) = await self._kept(request, asked, pending)
        return JSONResponse(self._infill_end(asked, "" if asked.only_echo else done.text, done, pending))

    async def _infill_parts(
        self, request: HttpRequest, asked: Asked, pending: PendingCompletions
    ) -> AsyncIterator[Any]:
        if not asked.streams:
            (done,) = await self._kept(request, asked, pending)
            yield self._infill_end(asked, done.text, done, pending)
            return
        async with pending:
            async for stream in pending.events(_left(request), asked.seconds):
                text = "" if asked.only_echo else stream.take()
                if stream.completion:
                    yield self._infill_end(asked, text, stream.completion, pending)
                elif text:
                    yield {"content": text, "stop": False}

    def _infill_end(self, asked: Asked, text: str, done: Completion, pending: PendingCompletions) -> dict[str, Any]:
        return completions.infill_end(asked, text, done, self._read(asked), pending.spent, self.model)

    async def _chat(self, request: HttpRequest) -> Response:
        raise BadRequest(_NO_CHAT, status=404, code="no_chat")

    async def _models(self, request: HttpRequest) -> Response:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def _one_model(self, request: HttpRequest) -> Response:
        if request.path_params["name"] != self.model:
            raise BadRequest(f"this server has {self.model} alone", "model", status=404, code="model_not_found")
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        return {"id": self.model, "object": "model", "created": 0, "owned_by": "cgcli"}

    async def _health(self, request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def _metrics(self, request: HttpRequest) -> Response:
        return PlainTextResponse(metrics_text(self.decoder, self.answers), media_type="text/plain; version=0.0.4")

    # The server

    def server(self) -> uvicorn.Server:
        """What serves `app`; its `serve` takes the sockets."""
        config = uvicorn.Config(
            self.app,
            http=_Hasty,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,  # what clients do wrong
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(_IDLE_S),
            h11_max_incomplete_event_size=_MOST_HEADER,
        )
        return _Server(config)


class _Hasty(H11Protocol):  # type: ignore[misc]
    """Ends connections whose headers do not arrive in time, or whose client does not read."""

    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.loop.call_later(_HEADER_S, self._check_begun)

    def _check_begun(self) -> None:
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(_UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread.cancel()


class _Server(uvicorn.Server):  # type: ignore[misc]
    """Leaves the signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 is any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=512)


def _without_port(host: str) -> str:
    """The name or address of a Host header."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _left(request: HttpRequest) -> Callable[[], Awaitable[object]]:
    """Returns when the client has left. The body must have been read."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return left


def _events(parts: AsyncIterator[Any]) -> Response:
    """Server-sent events; an error becomes the last one."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for part in parts:
                yield f"data: {part if isinstance(part, str) else json.dumps(part)}\n\n"
        except ClientLeft:
            return
        except Exception as error:
            yield f"data: {json.dumps(_fault(error))}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-store"})


def _fault(error: Exception) -> dict[str, Any]:
    """The body for an error that is not the request's."""
    return BadRequest(as_known(error).message, status=500).body


async def _no_route(request: HttpRequest, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    path = request.url.path
    message = f"{path} takes no such method" if status == 405 else f"no such route: {path}"
    return JSONResponse(BadRequest(message, status=status).body, status)
