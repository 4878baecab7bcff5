"""`/v1/completions` of OpenAI and `/infill` of llama.cpp's server, as values: what is asked for, and the answers."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Completion, Request, Timings
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from cgcli.program.infill import CANDIDATES
from cgcli.serve.fields import BadRequest, Fields
from cgcli.serve.filling import ServedHole
from cgcli.serve.logprobs import Logprobs

MOST_PROMPTS, MOST_CHOICES, MOST_STOPS = 64, 128, 16
MOST_SECONDS = 600.0
_LONGEST_STOP = 1000  # characters
_MOST_ALTERNATIVES = 5
_MOST_FIELDS = 64
_ANY_TOKENS = 1 << 30  # the window ends a text


@dataclass(frozen=True)
class Defaults:
    """What holds where a request says nothing: the settings of the server."""

    sampling: Sampling
    max_tokens: int


@dataclass(frozen=True)
class HttpOptions:
    """How a server answers over HTTP."""

    host: str
    port: int
    defaults: Defaults
    keys: tuple[str, ...] = ()  # one of these must come with a request; none: everybody on this machine may ask

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    requests: tuple[Request, ...]  # as many for each prompt
    prompts: tuple[bytes, ...]
    n: int = 1
    best_of: int = 1
    holes: tuple[ServedHole, ...] = ()  # of the prompts; none: they are continued
    stream: bool = False
    usage: bool = False  # at the end of a stream
    echo: bool = False
    logprobs: int | None = None  # how many alternatives to each token; None tells nothing of the tokens
    only_echo: bool = False  # nothing is drawn
    wanted: tuple[str, ...] = ()  # the fields of an answer of `/infill`, parts as in `timings/prompt_n`; none: all
    seconds: float = MOST_SECONDS

    @property
    def streams(self) -> bool:
        """Whether the answer can be told while it is drawn."""
        return self.stream and all(hole.streams for hole in self.holes)


def completions_asked(data: object, engine: LlamaEngine, defaults: Defaults, owner: str) -> Asked:
    """Parse a request for completions. Raises BadRequest."""
    fields = Fields(data)
    fields.none_of("presence_penalty", "frequency_penalty", "logit_bias")
    prompts = _prompts(fields, engine)
    n = fields.whole("n", 1, 1, MOST_CHOICES)
    best_of = fields.whole("best_of", n, n, MOST_CHOICES)
    if len(prompts) * best_of > MOST_CHOICES:
        raise BadRequest(f"prompts times best_of may be {MOST_CHOICES} at most", "best_of")
    echo, stream = fields.flag("echo"), fields.flag("stream")
    if stream and (best_of > n or echo):
        raise BadRequest("best_of and echo cannot be streamed", "stream")
    max_tokens = fields.whole("max_tokens", defaults.max_tokens, 0 if echo else 1, _ANY_TOKENS)
    logprobs = None if fields.data.get("logprobs") is None else fields.whole("logprobs", 0, 0, _MOST_ALTERNATIVES)
    stops = _stops(fields)
    request = replace(_request(fields, defaults, stops, max_tokens or 1, owner), alternatives=logprobs or 0)
    options = fields.part("stream_options")
    holes: tuple[ServedHole, ...] = ()
    if (suffix := fields.text("suffix")).strip() and max_tokens:
        count = max(best_of, min(CANDIDATES, MOST_CHOICES // len(prompts)))
        holes = tuple(ServedHole(one, suffix, request, stops, engine, best_of, count) for one in prompts)
    requests = [
        replace(request, context=prompt, candidate=candidate) for prompt in prompts for candidate in range(best_of)
    ]
    return Asked(
        tuple(one for hole in holes for one in hole.requests) or tuple(requests),
        prompts,
        n,
        best_of,
        holes,
        stream,
        options.flag("include_usage"),
        echo,
        logprobs,
        max_tokens == 0,
    )


def infill_asked(data: object, engine: LlamaEngine, defaults: Defaults, owner: str) -> Asked:
    """Parse a request of llama.cpp's `/infill`. Raises BadRequest."""
    fields = Fields(data)
    prefix = (fields.text("input_prefix") + fields.text("prompt")).encode("utf-8", "replace")
    suffix = fields.text("input_suffix")
    count = fields.whole("n_predict", -1, -1, _ANY_TOKENS)
    stops = _stops(fields)
    request = _request(fields, defaults, stops, defaults.max_tokens if count < 0 else count or 1, owner)
    holes = (ServedHole(prefix, suffix, request, stops, engine, 1, CANDIDATES),) if suffix.strip() and count else ()
    most = 1000 * int(MOST_SECONDS)
    clock = fields.whole("t_max_predict_ms", 0, 0, most)
    seconds = (fields.whole("t_max_prompt_ms", 0, 0, most) + clock) / 1000 if clock else MOST_SECONDS
    return Asked(
        holes[0].requests if holes else (replace(request, context=prefix),),
        (prefix,),
        holes=holes,
        stream=fields.flag("stream"),
        only_echo=count == 0,
        wanted=fields.texts("response_fields", _MOST_FIELDS, empty=True),
        seconds=min(seconds, MOST_SECONDS),
    )


def _request(fields: Fields, defaults: Defaults, stops: Sequence[str], max_tokens: int, owner: str) -> Request:
    """What all requests of a body have in common."""
    usual = defaults.sampling
    sampling = Sampling(
        fields.number("temperature", usual.temperature, 0, 100),
        fields.number("top_p", usual.top_p, 0, 1),
        fields.whole("top_k", usual.top_k, 0, (1 << 32) - 1),
        fields.number("min_p", usual.min_p, 0, 1),
        _seed(fields),
    )
    return Request(b"", sampling, lambda: Stops(stops), max_tokens, owner=owner)


def _stops(fields: Fields) -> tuple[str, ...]:
    stops = fields.texts("stop", MOST_STOPS)
    if any(len(stop) > _LONGEST_STOP for stop in stops):
        raise BadRequest(f"a stop may have {_LONGEST_STOP} characters at most", "stop")
    return stops


def _seed(fields: Fields) -> int:
    seed = fields.whole("seed", -1, -1, (1 << 64) - 1)
    return secrets.randbits(32) if seed < 0 else seed


def _prompts(fields: Fields, engine: LlamaEngine) -> tuple[bytes, ...]:
    """A text, tokens, or a list of these."""
    given = fields.data.get("prompt")
    given = "" if given is None else given
    alone = isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int))
    listed = [given] if alone else given
    if not isinstance(listed, list) or not listed:
        raise BadRequest("prompt must be a text, a list of tokens, or a list of these", "prompt")
    if len(listed) > MOST_PROMPTS:
        raise BadRequest(f"prompt may have {MOST_PROMPTS} texts at most", "prompt")
    return tuple(_prompt(one, engine) for one in listed)


def _prompt(given: object, engine: LlamaEngine) -> bytes:
    if isinstance(given, str):
        return given.encode("utf-8", "replace")
    if isinstance(given, list) and len(given) >= engine.window:
        message = f"{len(given)} tokens do not fit the window of {engine.window}"
        raise BadRequest(message, "prompt", code="context_length_exceeded")
    if isinstance(given, list) and all(type(token) is int and 0 <= token < engine.model.n_vocab for token in given):
        return b"".join(map(engine.model.piece, given))
    raise BadRequest(f"prompt must have texts, or tokens below {engine.model.n_vocab}", "prompt")


# --- answers


def best(asked: Asked, drawn: Sequence[Completion]) -> list[Completion]:
    """The `n` most probable of `best_of` completions for each prompt."""
    kept: list[Completion] = []
    for begin in range(0, len(drawn), asked.best_of):
        group = list(drawn[begin : begin + asked.best_of])
        if asked.best_of > asked.n:
            group.sort(key=lambda one: -(one.mean_logprob if one.mean_logprob is not None else -math.inf))
        kept += group[: asked.n]
    return kept


def head(kind: str, model: str) -> dict[str, Any]:
    """What all parts of an answer begin with."""
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def choice(index: int, text: str, reason: str | None, logprobs: object = None) -> dict[str, Any]:
    """reason: as the engine says it; None before the end."""
    said = reason and ("stop" if reason == "stop" else "length")
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": said}


def usage(prompt: int, drawn: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}


def whole_choice(
    asked: Asked, index: int, prompt: bytes, drawn: Completion, logprobs: Logprobs | None
) -> dict[str, Any]:
    """A choice of an answer in one piece. logprobs: of the prompt if it is echoed; None tells none."""
    before = prompt.decode("utf-8", "replace") if asked.echo else ""
    if asked.only_echo:
        drawn = Completion("", 0, None, "length")
    if logprobs:
        logprobs = logprobs.copy()
        logprobs.add_drawn(drawn.trace, offset=len(before))
    return choice(index, before + drawn.text, drawn.finish_reason, logprobs and logprobs.body)


def infill_end(asked: Asked, text: str, done: Completion, read: int, spent: Timings, model: str) -> dict[str, Any]:
    """The last part of an answer of `/infill`. text: what it adds; read: tokens of the prompt."""
    drawn = 0 if asked.only_echo else done.tokens
    reason = {"stop": "word", "interrupted": "time"}.get(done.finish_reason, "limit")
    whole = {
        "content": text,
        "stop": True,
        "stop_type": reason,
        "model": model,
        "tokens_predicted": drawn,
        "tokens_evaluated": read,
        "tokens_cached": read + drawn,
        "truncated": False,
        "timings": {
            "prompt_n": spent.prefill_tokens,
            "prompt_ms": round(1000 * spent.prefill_s, 3),
            **_rates("prompt", spent.prefill_tokens, spent.prefill_s),
            "predicted_n": drawn,
            "predicted_ms": round(1000 * spent.decode_s, 3),
            **_rates("predicted", drawn, spent.decode_s),
        },
    }
    return {name: value for name in asked.wanted if (value := _at(whole, name)) is not None} if asked.wanted else whole


def _rates(what: str, tokens: int, seconds: float) -> dict[str, float]:
    return {
        f"{what}_per_token_ms": round(1000 * seconds / tokens, 3) if tokens else 0.0,
        f"{what}_per_second": round(tokens / seconds, 3) if seconds else 0.0,
    }


def _at(whole: dict[str, Any], path: str) -> Any:
    """The value at a path like `timings/prompt_n`, None without one."""
    found: Any = whole
    for name in path.split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found
