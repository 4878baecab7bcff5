"""The engine as the rest of cgcli sees it: a model that continues and scores texts.

All layers above take this protocol. `engine.engine.LlamaEngine` implements it, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cgcli.core.progress import Progress
from cgcli.engine.request import Completion, InfillKind, Request, Timings, TokenScore

Follow = Callable[[int, Completion], Request | None]
"""Called with a completion and the index of its request; returns the request to draw in its place, or None."""


@dataclass(frozen=True)
class Placement:
    """What runs where."""

    threads: int  # of the processor
    layers: int  # of the model, counting the output as one
    gpu_layers: int  # of these, on a GPU
    gpu: str  # its name, or several names; "" where it has no layer
    products: str  # the library that multiplies on the processor
    sampler: str  # the library that draws tokens; the first one of a text is always libcgk's


class Stream(Protocol):
    """A submitted request."""

    @property
    def completion(self) -> Completion | None:
        """None until the request is done."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether tokens were drawn since the last `take`."""
        ...

    @property
    def scores(self) -> Sequence[TokenScore]:
        """Of the context's tokens from the request's `score_from` on, once a token was drawn."""
        ...

    def take(self) -> str:
        """The text that became final since the last call."""
        ...


class Engine(Protocol):
    """A model that completes texts. Token counts refer to its own tokenizer."""

    @property
    def window(self) -> int:
        """The context window: tokens of a context and its completion together."""
        ...

    @property
    def sequences(self) -> int:
        """How many streams are drawn together."""
        ...

    @property
    def quant(self) -> str:
        """The quantization of the weights, such as `q8_0`."""
        ...

    @property
    def placement(self) -> Placement: ...

    @property
    def exact(self) -> bool:
        """Whether a text does not depend on what is drawn at the same time."""
        ...

    @property
    def infill(self) -> InfillKind:
        """How the model reads the text behind a hole; "" if it cannot, and a request may have no `suffix`."""
        ...

    @property
    def timings(self) -> Timings: ...

    def submit(self, request: Request, *, first: bool = False) -> Stream:
        """Queue a request. Raises ContextError if its context leaves no room for a token.

        first: before all that wait. For a request that goes on with a text just drawn, while that is still cached.
        """
        ...

    def wait(self, streams: Iterable[Stream]) -> list[Stream]:
        """Draw until one of the streams is done or fresh; returns those that are done.

        Ctrl-C ends all streams, as interrupted. Raises ContextError if there is no memory for a single one.
        """
        ...

    def cancel(self, streams: Iterable[Stream]) -> None:
        """End the streams that are not done, as interrupted, with the text drawn so far."""
        ...

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        """Draw one completion: yields the text that each pass makes final, often none, and returns the completion.

        Ctrl-C ends it early, with the text drawn so far. Raises like `submit` and `wait`.
        """
        ...

    def complete(self, requests: Iterable[Request], follow: Follow | None = None) -> Iterator[tuple[int, Completion]]:
        """Draw many completions together; yields each, with its index in `requests`, when it is done.

        Requests are consumed as streams end, so any number will do. Keep those of the same context adjacent, so that it
        is read once. Ctrl-C ends those that are not done, as interrupted. Raises like `submit` and `wait`.

        follow: asked once for each completion. Where it returns a request, that completion is not yielded; the request
        is drawn next, before all that wait, and its completion takes the place: `follow` is asked again, with the same
        index. After Ctrl-C nothing is drawn, so interrupted completions are yielded whatever it returns. The other
        streams go on, but not while `follow` runs, in the thread that takes the results. What it raises ends all
        streams, and `complete` raises it.
        """
        ...

    def score(self, text: bytes, start: int, *, progress: Progress | None = None) -> list[TokenScore]:
        """Score the tokens of a context that extend beyond byte `start`: see `surprise`.

        Blanks at its end are not scored, since a completion repeats them. `stream` can then use the cached context.
        progress: shown if reading takes long.
        """
        ...

    def surprise(
        self, text: bytes, start: int = 0, *, stride: int | None = None, progress: Progress | None = None
    ) -> list[TokenScore]:
        """Score the tokens of `text` that extend beyond byte `start`, each given all tokens before it.

        The very first token, which nothing predicts, is not scored. A text longer than the window is read in windows,
        each beginning `stride` tokens after the last (1 to window - 1); a token then sees at least window - stride
        tokens. Raises ContextError for a longer text without a stride.
        """
        ...

    def surprise_all(self, texts: Sequence[bytes], starts: Sequence[int]) -> list[list[TokenScore]]:
        """`surprise` for each text from its start on, with as many texts in a pass as it holds.

        What all texts begin with is read once. Raises ContextError if one is longer than the window, and Interrupted.
        """
        ...

    def scratch(self, begun: bytes) -> AbstractContextManager[None]:
        """Remove what the block scores from the cache, so that no later text depends on it.

        begun: the beginning of later contexts; it may stay cached as far as that changes no text.
        """
        ...

    def reserve(self, cells: int, *, texts: int = 1) -> None:
        """Make room in advance for `cells` tokens of contexts and completions, of `texts` texts in all.

        Raises ContextError if a whole window does not fit into memory.
        """
        ...

    def tokens(self, text: bytes) -> list[int]:
        """The token ids of a text of any length."""
        ...

    def count(self, text: bytes) -> int:
        """How many tokens of the window `text` takes. Raises ContextError if it cannot fit."""
        ...

    def check(self, context: bytes) -> None:
        """Raise ContextError, as `submit` would, if a context leaves no room for a token."""
        ...

    def close(self) -> None: ...
