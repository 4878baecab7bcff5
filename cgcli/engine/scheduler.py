"""Continuous batching: each pass over the weights carries the next token of every live stream, and its guesses.

A context is read once and shared by all streams that continue it. When a stream ends, the next one waiting takes its
place. The scheduler deals in tokens and passes; `Detokenizer` turns tokens into text.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cgcli.core.errors import Interrupted
from cgcli.engine.cache import Branch, KVCache, Logits, Step
from cgcli.engine.drafting import Drafter, PassCosts, Prospect, allot
from cgcli.engine.prefill import Prefill
from cgcli.engine.request import Completion, Request, Timings
from cgcli.engine.tokens import Detokenizer
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Draw, Sampled, Sampler

MakeDrafter = Callable[[list[int], Request], Drafter]
"""Makes the drafter of a request from the tokens of its context."""

_NOTHING = Prospect()
# Cells that idle branches may keep. A pass attends over all cells up to the highest in use: with 1,000 idle ones, a
# single stream had 0.65 times its speed.
_IDLE = 256


@dataclass(eq=False)
class ScheduledStream:
    """A submitted request."""

    request: Request
    text: Detokenizer
    tokens: list[int]  # the context and all draws; the last token is not cached yet
    branch: Branch | None = None  # None while it waits, and when it is done
    drafter: Drafter | None = None
    draft: list[int] = field(default_factory=list)  # tokens guessed for the next pass
    follows: bool = False  # goes on with a text just drawn, which is still cached
    cancelled: bool = False

    @property
    def completion(self) -> Completion | None:
        return self.text.completion

    @property
    def fresh(self) -> bool:
        """Whether tokens were drawn since the last `take`."""
        return self.text.fresh

    def take(self) -> str:
        """The text that became final since the last call."""
        return self.text.take()

    def cancel(self) -> None:
        """End it before the next pass, as interrupted, with the text drawn so far. Any thread may."""
        self.cancelled = True

    def draw(self, logits: int, ahead: int = 0) -> Draw:
        """The draw of the next token, or of the one `ahead` tokens later."""
        request, text = self.request, self.text
        index = request.first_draw + text.drawn + ahead
        return Draw(logits, text.sampling, request.turn, request.candidate, index, text.mask, request.alternatives)


class Scheduler:
    """Draws the submitted requests, pass by pass."""

    def __init__(
        self,
        cache: KVCache,
        prefill: Prefill,
        sampler: Sampler,
        interrupt: Interrupt,
        timings: Timings,
        *,
        sequences: int,
        costs: PassCosts,
        make_drafter: MakeDrafter | None = None,
    ) -> None:
        """sequences: maximum number of live streams; make_drafter: None draws without guesses."""
        self._cache = cache
        self._prefill = prefill
        self._sampler = sampler
        self._interrupt = interrupt
        self._timings = timings
        self._sequences = min(sequences, cache.sequences - 1)  # one is for the context being read
        self._costs = costs
        self._make_drafter = make_drafter
        self._waiting: list[ScheduledStream] = []
        self._live: list[ScheduledStream] = []
        self._full = False  # the first request in the queue has no room until a stream ends

    def submit(self, request: Request, tokens: list[int], text: Detokenizer, *, first: bool = False) -> ScheduledStream:
        """Queue a request; `first`: before all that wait. tokens: of its context; text: its completion."""
        stream = ScheduledStream(request, text, list(tokens), follows=first)
        self._waiting.insert(0 if first else len(self._waiting), stream)
        return stream

    def step(self) -> bool:
        """Admit requests that have room and draw their first tokens; if none was admitted, run one pass.

        Returns False once all are done. Ctrl-C ends all streams as interrupted. Raises ContextError if there is no
        memory for a single one.
        """
        try:
            if self._interrupt.requested:
                raise Interrupted
            self.sweep()
            if not self._admit() and self._live:
                self._pass()
        except Interrupted:
            self.abandon()
        except BaseException:
            self.abandon()
            raise
        return bool(self._live or self._waiting)

    def sweep(self) -> None:
        """End cancelled streams."""
        for stream in [*self._live, *self._waiting]:
            if stream.cancelled:
                self._end(stream)

    def abandon(self) -> None:
        """End all streams as interrupted."""
        for stream in [*self._live, *self._waiting]:
            self._end(stream)

    def _end(self, stream: ScheduledStream) -> None:
        stream.text.end("interrupted")
        self._retire(stream)

    def _retire(self, stream: ScheduledStream) -> None:
        """Remove a stream from its queue; its branch becomes idle."""
        for queue in (self._waiting, self._live):
            if stream in queue:
                queue.remove(stream)
        if stream.branch:
            self._cache.release(stream.branch)
            stream.branch = None
        self._full = False

    # Admission

    def _admit(self) -> bool:
        """Admit requests, or end one that was cancelled while it was read; returns whether that happened to any.

        Reads at most one context, to keep live streams responsive.
        """
        admitted = read = False
        while self._waiting and len(self._live) < self._sequences and not read and not self._full:
            stream = self._waiting[0]
            self._cache.owner = stream.request.owner
            if not self._live:
                wanted = [(one.tokens, self._room(one)) for one in self._waiting]
                self._cache.ensure_capacity(wanted, self._sequences)
            elif not self._cache.fits(stream.tokens, self._room(stream), [self._room(one) for one in self._live]):
                self._full = True
                break
            before = self._timings.prefill_tokens
            try:
                logits = self._read(stream)
            except Interrupted:
                if self._interrupt.requested or not stream.cancelled:
                    raise
                self._end(stream)
                return True
            self._waiting.remove(stream)
            if not any(one.follows for one in self._waiting):
                self._cache.forget(_IDLE)
            read = self._timings.prefill_tokens > before
            self._live.append(stream)
            sampled = self._sampler.sample_rows([stream.draw(ctypes.addressof(logits))])
            self._accept(stream, sampled, [])
            self._timings.streams += 1
            admitted = True
        return admitted

    def _room(self, stream: ScheduledStream) -> int:
        """How many cells a stream may still take."""
        return stream.text.left + self._cache.spare_cells

    def _read(self, stream: ScheduledStream) -> Logits:
        """Read a stream's context into a branch of its own; returns the logits of its first token."""
        owner = stream.request.owner
        trunk = self._prefill.read(stream.tokens, owner=owner, cancelled=lambda: stream.cancelled)
        try:
            stream.branch = self._cache.place(trunk, len(stream.tokens))
        finally:
            self._cache.release(trunk)
        if stream.branch.logits is None:
            raise RuntimeError("prefill kept no logits")
        return stream.branch.logits

    # Passes

    def _pass(self) -> None:
        started = time.perf_counter()
        self._draft()
        live = self._in_order()
        self._cache.make_room(sum(1 + len(stream.draft) for stream in live) + self._cache.spare_cells)
        steps = [
            Step(stream.branch, [stream.tokens[-1], *stream.draft], range(1 + len(stream.draft)))
            for stream in live
            if stream.branch
        ]
        if not self._cache.run(steps):
            raise Interrupted
        on_gpu = self._cache.context.gpu_logits_address()
        address, size = on_gpu or self._cache.context.logits_address(0), 4 * self._sampler.n_vocab
        draws = []
        for stream in live:
            for ahead in range(1 + len(stream.draft)):
                draws.append(stream.draw(address, ahead))
                address += size
        sampled = iter(self._sampler.sample_rows(draws, on_gpu=on_gpu is not None))
        drawn = 0
        for stream, step in zip(live, steps, strict=True):
            drawn += self._accept(stream, [next(sampled) for _ in step.tokens], stream.draft, step.branch)
        guesses = sum(len(step.tokens) for step in steps) - len(steps)
        self._timings.passed(time.perf_counter() - started, len(steps), guesses, drawn)

    def _in_order(self) -> list[ScheduledStream]:
        """The live streams in the order of the pass."""
        branches = [stream.branch for stream in self._live if stream.branch]
        return [self._live[index] for index in self._cache.pass_order(branches)]

    def _draft(self) -> None:
        prospects = [_NOTHING] * len(self._live)
        guess = self._cache.ragged_passes or len(self._live) == 1
        for index, stream in enumerate(self._live):
            if guess and stream.drafter and stream.text.free:
                prospect = stream.drafter.prospect()
                # The last token need not be guessed: the draw after a guess comes for free.
                prospects[index] = Prospect(prospect.chances[: stream.text.left - 1], prospect.cost)
        most = self._cache.context.n_batch - self._cache.spare_cells
        for stream, count in zip(self._live, allot(prospects, self._costs, most), strict=True):
            stream.draft = stream.drafter.draft(count) if stream.drafter and count else []

    def _accept(
        self, stream: ScheduledStream, sampled: Sequence[Sampled], draft: Sequence[int], branch: Branch | None = None
    ) -> int:
        """Accept draws as far as the draft is right; returns how many. branch: the one with the draft."""
        before = len(stream.tokens)
        going = True
        for index, one in enumerate(sampled):
            stream.tokens.append(one.token)
            going = stream.text.accept(one)
            if not going or index == len(draft) or draft[index] != one.token:
                break
        taken = len(stream.tokens) - before
        self._timings.decode_tokens += taken
        self._timings.drafted += len(draft)
        self._timings.kept += taken - 1 if draft else 0
        if branch:
            self._cache.trim(branch, before - 1 + taken)
        if not going:
            self._retire(stream)
        elif stream.drafter:
            stream.drafter.extend(stream.tokens[before:])
        elif self._make_drafter and stream.text.left > 1:
            stream.drafter = self._make_drafter(stream.tokens, stream.request)
        return taken
