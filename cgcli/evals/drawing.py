"""Many completions drawn together, in bounded memory: the engine is always given as much as it can use, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from cgcli.core.errors import Interrupted
from cgcli.engine.engine import Engine
from cgcli.engine.request import Completion, Request
from cgcli.engine.scheduler import Stream

KeyT = TypeVar("KeyT")


def draw_all(engine: Engine, requests: Iterable[tuple[KeyT, Request]]) -> Iterator[tuple[KeyT, Completion]]:
    """Draw them all, those that come next to each other together; yields each when it is done.

    Requests are taken as streams end, so that there may be any number. Those of one context are best next to each
    other: it is then read once. Raises ContextError for one that does not fit, and Interrupted after Ctrl-C; what was
    not done by then is not given.
    """
    source = iter(requests)
    going: list[tuple[KeyT, Stream]] = []
    most = 2 * engine.sequences  # as many wait as are drawn, so that a place is never empty
    try:
        while True:
            while len(going) < most and (following := next(source, None)):
                key, request = following
                going.append((key, engine.submit(request)))
            if not going:
                return
            engine.scheduler.step()
            done = [(key, stream.completion) for key, stream in going if stream.completion]
            going = [(key, stream) for key, stream in going if not stream.completion]
            for key, completion in done:
                if completion.finish_reason != "interrupted":
                    yield key, completion
            if any(completion.finish_reason == "interrupted" for _, completion in done):
                raise Interrupted
    finally:
        for _, stream in going:
            stream.cancel()
        engine.scheduler.sweep()
