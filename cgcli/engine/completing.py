"""Drawing whole completions with an engine that can submit, wait and cancel: what all engines have in common."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator

from cgcli.engine.protocol import Follow, Stream
from cgcli.engine.request import Completion, Request


class Completing(ABC):
    """`stream` and `complete` of `engine.protocol.Engine`, over its other methods."""

    sequences: int

    @abstractmethod
    def submit(self, request: Request, *, first: bool = False) -> Stream: ...

    @abstractmethod
    def wait(self, streams: Iterable[Stream]) -> list[Stream]: ...

    @abstractmethod
    def cancel(self, streams: Iterable[Stream]) -> None: ...

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        stream = self.submit(request)
        try:
            while stream.completion is None:
                self.wait([stream])
                yield stream.take()
        finally:
            self.cancel([stream])
        return stream.completion

    def complete(self, requests: Iterable[Request], follow: Follow | None = None) -> Iterator[tuple[int, Completion]]:
        source = enumerate(requests)
        most = 2 * self.sequences  # as many wait as are drawn, so that no place is ever empty
        going: dict[Stream, int] = {}
        try:
            while True:
                for index, request in itertools.islice(source, most - len(going)):
                    going[self.submit(request)] = index
                if not going:
                    return
                for stream in self.wait(going):
                    if not (completion := stream.completion):
                        continue
                    index = going.pop(stream)
                    following = follow(index, completion) if follow else None
                    if following and completion.finish_reason != "interrupted":
                        going[self.submit(following, first=True)] = index
                    else:
                        yield index, completion
        finally:
            self.cancel(going)
