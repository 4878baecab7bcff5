"""What the rest of cgcli uses of an engine: a model that continues texts and scores them.

`engine.engine.LlamaEngine` is one, in this process. Everything above the engine takes this protocol.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from cgcli.core.progress import Progress
from cgcli.engine.request import Completion, Request, Timings, TokenScore


class Stream(Protocol):
    """A request that was submitted."""

    @property
    def completion(self) -> Completion | None:
        """None until it is done."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether `take` has text."""
        ...

    def take(self) -> str:
        """The text that became certain since the last call."""
        ...


class Engine(Protocol):
    """A model that completes texts. All tokens that it counts are its own model's."""

    @property
    def window(self) -> int:
        """Tokens that a context and its completion can have together."""
        ...

    @property
    def sequences(self) -> int:
        """Streams that are drawn together."""
        ...

    @property
    def quant(self) -> str:
        """How the weights are quantized, such as `q8_0`."""
        ...

    @property
    def timings(self) -> Timings: ...

    def submit(self, request: Request) -> Stream:
        """Put a request into the queue. Raises ContextError where its context leaves no room for a token."""
        ...

    def wait(self, streams: Iterable[Stream]) -> list[Stream]:
        """Draw until one of the streams is done or has new text; returns those that are done.

        Ctrl-C ends all streams, as interrupted. Raises ContextError where memory has no room for a single one.
        """
        ...

    def cancel(self, streams: Iterable[Stream]) -> None:
        """End the streams that are not done, as interrupted, with what was drawn."""
        ...

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        """Draw one completion; yields its text as soon as it is certain, returns the whole of it.

        Ctrl-C ends it early, with what was drawn. Raises as `submit` and `wait`.
        """
        ...

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Draw many completions together; yields each, with its index in `requests`, when it is done.

        Requests are taken as streams end, so there may be any number. Those of one context are best next to each other:
        it is then read once. Ctrl-C ends those that are not done, as interrupted. Raises as `submit` and `wait`.
        """
        ...

    def score(self, text: bytes, start: int, *, progress: Progress | None = None) -> list[TokenScore]:
        """How the model takes the tokens of a context that reach beyond byte `start`: see `surprise`.

        Blanks at its end, which a completion repeats, are left out. The cache then holds what `stream` needs.
        progress: of the reading, where it is long.
        """
        ...

    def surprise(
        self, text: bytes, start: int = 0, *, stride: int | None = None, progress: Progress | None = None
    ) -> list[TokenScore]:
        """How the model takes the tokens of `text` that reach beyond byte `start`, each given all before it.

        The very first token, which nothing predicts, is not scored. A text longer than the window is read in windows,
        each beginning `stride` tokens after the last (1 to window - 1); each token is then given at least window -
        stride tokens. Raises ContextError where it is longer and there is no stride.
        """
        ...

    def scratch(self, begun: bytes) -> AbstractContextManager[None]:
        """What is scored in the block is forgotten again, so that no later text depends on it.

        begun: how later contexts begin; what is read of that may stay, where it makes no difference.
        """
        ...

    def reserve(self, cells: int, *, texts: int = 1) -> None:
        """Make room for so many tokens of contexts and completions, of so many texts in all, before they come.

        Raises ContextError where a whole window does not fit into memory.
        """
        ...

    def tokens(self, text: bytes) -> list[int]:
        """The token ids of a text, of any length."""
        ...

    def count(self, text: bytes) -> int:
        """Tokens that `text` takes of the window. Raises ContextError for one that cannot fit."""
        ...

    def check(self, context: bytes) -> None:
        """Raises ContextError, as `submit` would, where a context leaves no room for a token."""
        ...

    def close(self) -> None: ...
