"""What a server and its clients on a Unix socket say to each other.

A message is a JSON object behind its length, 4 bytes big-endian. The server greets with a `Greeting`. A client sends
calls, `{"call": NAME, "id": N, ...}`. To those with an id, the server answers `{"id": N, "value": ...}` or
`{"id": N, "error": ...}`; of a submitted stream, it then sends news, `{"stream": N, ...}`. Bytes travel as text with
surrogate escapes, floats with all their digits.

The text of a completion is cut in the client: it travels as it is drawn, and the client cancels what it needs no more
of. So guards and other rules need not be known to the server.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cgcli import __version__
from cgcli.core import errors
from cgcli.core.errors import CgcliError
from cgcli.engine.protocol import Placement
from cgcli.engine.request import FinishReason, FirstLine, InfillKind, Request, Timings, TokenScore
from cgcli.engine.stops import Stops
from cgcli.native.sample import Alternatives, Sampling

VERSION = f"{__version__}/3"
"""Of cgcli and of these messages. Client and server must have the same."""

MAX_MESSAGE = 1 << 26  # bytes
_LENGTH = struct.Struct(">I")

Message = dict[str, Any]


class Malformed(CgcliError):
    """A message that this version of cgcli does not send."""


def pack(message: Mapping[str, Any]) -> bytes:
    """A message in bytes. Raises CgcliError if it is too long."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MAX_MESSAGE:
        raise CgcliError(f"{len(data) >> 20} MiB are too much for the server", hint="add --no-serve")
    return _LENGTH.pack(len(data)) + data


def length(head: bytes) -> int:
    """The length of a message from its first 4 bytes. Raises Malformed if it is too long."""
    (size,) = _LENGTH.unpack(head)
    if size > MAX_MESSAGE:
        raise Malformed(f"a message of {size} bytes is too long")
    return int(size)


def parse(data: bytes) -> Message:
    """The message in these bytes, without the length. Raises Malformed."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed("a message is not JSON") from error
    if not isinstance(message, dict):
        raise Malformed("a message is not an object")
    return message


class Unpacker:
    """Splits received bytes into messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take more bytes; yields the messages that are complete with them. Raises Malformed."""
        self._data += data
        while len(self._data) >= _LENGTH.size:
            end = _LENGTH.size + length(bytes(self._data[: _LENGTH.size]))
            if len(self._data) < end:
                return
            message = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            yield parse(message)


# --- values


def bytes_out(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def bytes_in(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Greeting:
    """The server's first message."""

    version: str
    window: int  # tokens
    sequences: int  # streams drawn together
    quant: str
    exact: bool
    placement: Placement
    infill: InfillKind
    full: bool  # takes no more requests


def request_out(request: Request) -> Message:
    """A request without its cutter."""
    first = request.first_line
    return {
        "context": bytes_out(request.context),
        "sampling": asdict(request.sampling),
        "max_tokens": request.max_tokens,
        "turn": request.turn,
        "candidate": request.candidate,
        "continues_code": request.continues_code,
        "first_draw": request.first_draw,
        "suffix": None if request.suffix is None else bytes_out(request.suffix),
        "first_line": first and {"sampling": asdict(first.sampling), "avoid": sorted(first.avoid)},
    }


def request_in(message: Message) -> Request:
    """The request, with a cutter that lets everything pass. Raises KeyError, TypeError, UsageError."""
    rest = dict(message)
    context, suffix, first = bytes_in(rest.pop("context")), rest.pop("suffix"), rest.pop("first_line")
    return Request(
        context,
        Sampling(**rest.pop("sampling")),
        Stops,
        suffix=None if suffix is None else bytes_in(suffix),
        first_line=FirstLine(Sampling(**first["sampling"]), frozenset(first["avoid"])) if first else None,
        **rest,
    )


def scores_out(scores: list[TokenScore]) -> list[list[Any]]:
    return [[one.token, one.piece.decode("latin-1"), one.logprob, one.rank, one.entropy] for one in scores]


def scores_in(rows: list[list[Any]]) -> list[TokenScore]:
    return [TokenScore(token, piece.encode("latin-1"), *rest) for token, piece, *rest in rows]


def timings_out(spent: Timings) -> Message:
    """The timings that are not zero."""
    return {name: value for name, value in asdict(spent).items() if value}


def add_timings(total: Timings, spent: Mapping[str, Any]) -> None:
    """Add the timings of a message, or any in that form, to `total`."""
    for one in fields(Timings):
        if value := spent.get(one.name):
            setattr(total, one.name, getattr(total, one.name) + value)


def error_out(error: CgcliError) -> Message:
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def error_in(message: Message) -> CgcliError:
    """The error that the server raised, as one of `core.errors`."""
    kind = getattr(errors, str(message["kind"]), CgcliError)
    known = isinstance(kind, type) and issubclass(kind, CgcliError)
    return (kind if known else CgcliError)(message["message"], hint=message["hint"])


@dataclass
class News:
    """What happened to a stream since the last news."""

    tokens: list[tuple[int, float, int]] = field(default_factory=list)  # id, log-probability, characters of `text`
    text: str = ""  # as drawn
    alternatives: list[Alternatives] = field(default_factory=list)  # of each token, if they were asked for
    end: FinishReason | None = None
    place: int | None = None  # in the queue, 1 being next, while others are drawn
    spent: Timings | None = None  # by the client since its last news, by all its streams
    error: CgcliError | None = None  # what ended it

    def out(self, stream: int) -> Message:
        message: Message = {"stream": stream}
        if self.tokens:
            message |= {"tokens": self.tokens, "text": self.text}
        if self.alternatives:
            message["alternatives"] = self.alternatives
        if self.spent:
            message["spent"] = timings_out(self.spent)
        if self.error:
            message["error"] = error_out(self.error)
        return message | {name: value for name in ("end", "place") if (value := getattr(self, name))}
