"""Continuous batching: each pass over the weights carries the next token of every live stream, and its guesses.

When a stream ends, the next one waiting takes its place: the same passes carry its context, in pieces where it is long
(Agrawal et al., "Sarathi-Serve", 2024). A context is read once and shared by all streams that continue it. The
scheduler deals in tokens and passes; `Detokenizer` turns tokens into text.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cgcli.core.errors import Interrupted
from cgcli.engine.cache import Branch, KVCache, Step
from cgcli.engine.drafting import Drafter, PassCosts, Prospect, allot
from cgcli.engine.prefill import ContextReading, Gather, Prefill
from cgcli.engine.prefix import common_prefix
from cgcli.engine.request import Completion, Request, Timings, TokenScore
from cgcli.engine.tokens import Detokenizer
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Draw, Sampled, Sampler

MakeDrafter = Callable[[list[int], Request], Drafter]
"""Makes the drafter of a request from the tokens of its context."""

_NOTHING = Prospect()
# Cells that idle branches may keep. A pass attends over all cells up to the highest in use: with 1,000 idle ones, a
# single stream had 0.65 times its speed.
_IDLE = 256
# Tokens. A context waits for another one that is being read if that will give so many more of it than what is cached,
# or all of it.
_WORTH_SHARING = 32


@dataclass(eq=False)
class ScheduledStream:
    """A submitted request."""

    request: Request
    text: Detokenizer
    tokens: list[int]  # the context and all draws; the last token is not cached yet
    score_from: int | None = None  # index of the first token of the context that is scored
    gather: Gather | None = None  # takes what is scored
    scores: list[TokenScore] = field(default_factory=list)  # of the context's tokens that are scored, once it is read
    reading: ContextReading | None = None  # its context, while that is read
    prefill_s: float = 0.0  # its share of the passes that read it
    prefill_tokens: int = 0
    branch: Branch | None = None  # None while it waits or is read, and when it is done
    drafter: Drafter | None = None
    draft: list[int] = field(default_factory=list)  # tokens guessed for the next pass
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
        self._reading: list[ScheduledStream] = []
        self._live: list[ScheduledStream] = []
        self._full = False  # the first request in the queue has no room until a stream ends
        # Whether a pass may read contexts beside others and live streams. With `exact`, llama.cpp's own attention does
        # not give a context the same bits whatever its pieces.
        model = cache.model
        self._mixes = cache.ragged_passes and not model.recurrent and (model.own_attention or not cache.exact)

    def submit(
        self,
        request: Request,
        tokens: list[int],
        text: Detokenizer,
        *,
        first: bool = False,
        score_from: int | None = None,
        gather: Gather | None = None,
    ) -> ScheduledStream:
        """Queue a request; `first`: before all that wait. tokens: of its context; text: its completion.

        score_from, gather: as in `Prefill.begin`.
        """
        stream = ScheduledStream(request, text, list(tokens), score_from, gather)
        self._waiting.insert(0 if first else len(self._waiting), stream)
        return stream

    def step(self) -> bool:
        """Admit requests that have room; draw the first tokens of those whose contexts are cached, or run one pass.

        Returns False once all are done. Ctrl-C ends all streams as interrupted. Raises ContextError if there is no
        memory for a single one.
        """
        try:
            if self._interrupt.requested:
                raise Interrupted
            self.sweep()
            if not self._admit() and (self._live or self._reading):
                self._pass()
        except Interrupted:
            self.abandon()
        except BaseException:
            self.abandon()
            raise
        return bool(self._live or self._reading or self._waiting)

    def sweep(self) -> None:
        """End cancelled streams."""
        for stream in [*self._live, *self._reading, *self._waiting]:
            if stream.cancelled:
                self._end(stream)

    def abandon(self) -> None:
        """End all streams as interrupted."""
        for stream in [*self._live, *self._reading, *self._waiting]:
            self._end(stream)

    def _end(self, stream: ScheduledStream) -> None:
        stream.text.end("interrupted")
        self._retire(stream)

    def _retire(self, stream: ScheduledStream) -> None:
        """Remove a stream from its queue; its branch becomes idle."""
        for queue in (self._waiting, self._reading, self._live):
            if stream in queue:
                queue.remove(stream)
        if stream.reading:
            self._cache.release(stream.reading.branch)
            stream.reading = None
        if stream.branch:
            self._cache.release(stream.branch)
            stream.branch = None
        self._full = False

    # Admission

    def _admit(self) -> bool:
        """Begin to read the contexts of requests that have room; returns whether any was cached, and is live now."""
        started = False
        while self._waiting and self._has_place:
            stream = self._waiting[0]
            self._cache.owner = stream.request.owner
            others = [self._room(one) for one in (*self._live, *self._reading)]
            if not others:
                wanted = [(one.tokens, self._room(one)) for one in self._waiting]
                self._cache.ensure_capacity(wanted, self._sequences)
            elif self._should_wait(stream):
                break
            elif not self._cache.fits(stream.tokens, self._room(stream), others):
                self._full = True
                break
            stream.reading = self._prefill.begin(
                stream.tokens, score_from=stream.score_from, gather=stream.gather, owner=stream.request.owner
            )
            self._waiting.remove(stream)
            self._reading.append(stream)
            if not self._waiting:
                self._cache.forget(_IDLE)  # now, while the context is held: the stream may end with its first token
            if not stream.reading.left:
                self._start(stream)
                started = True
        return started

    @property
    def _has_place(self) -> bool:
        """Whether one more request may be admitted, and the next pass may read some of its context."""
        if self._full or len(self._live) + len(self._reading) >= self._sequences:
            return False
        unread = sum(one.reading.left for one in self._reading if one.reading)
        return not unread or (self._mixes and unread < self._cache.context.n_batch)

    def _should_wait(self, stream: ScheduledStream) -> bool:
        """Whether another context that is being read will give more of this one than what is cached."""
        if not self._reading:
            return False
        _, known = self._cache.longest(stream.tokens)
        enough = min(known + _WORTH_SHARING, len(stream.tokens))
        others = [one.tokens for one in self._reading if one.request.owner == stream.request.owner]
        return any(common_prefix(stream.tokens, other) >= enough for other in others)

    def _room(self, stream: ScheduledStream) -> int:
        """How many cells a stream may still take; of a request that waits, beyond its context."""
        unread = stream.reading.left if stream.reading else 0
        return unread + stream.text.left + self._cache.spare_cells

    def _start(self, stream: ScheduledStream) -> None:
        """Draw the first token of a stream whose context has been read."""
        if stream.reading is None:
            raise RuntimeError("the stream's context is not read")
        trunk, stream.reading = stream.reading.branch, None
        try:
            stream.branch = self._cache.place(trunk, len(stream.tokens))
        finally:
            self._cache.release(trunk)
        if stream.branch.logits is None:
            raise RuntimeError("prefill kept no logits")
        self._reading.remove(stream)
        self._live.append(stream)
        sampled = self._sampler.sample_rows([stream.draw(ctypes.addressof(stream.branch.logits))])
        self._accept(stream, sampled, [])
        self._timings.streams += 1

    # Passes

    def _pass(self) -> None:
        started = time.perf_counter()
        live = self._in_order() if self._mixes or not self._reading else []
        reads = self._reads(self._cache.context.n_batch - (len(live) + self._cache.spare_cells if live else 0))
        rows_read = sum(len(step.tokens) for _, step in reads)
        self._draft(live, rows_read)
        steps = [
            Step(stream.branch, [stream.tokens[-1], *stream.draft], range(1 + len(stream.draft)))
            for stream in live
            if stream.branch
        ]
        rows_drawn = sum(len(step.tokens) for step in steps)
        self._cache.make_room(rows_drawn + rows_read + self._cache.spare_cells)
        if not self._cache.run([*steps, *(step for _, step in reads)]):
            raise Interrupted
        row = rows_drawn
        for stream, step in reads:
            if stream.reading:
                stream.reading.passed(step, row)
            row += len(step.tokens)
        drawn = self._take_draws(live, steps) if live else 0
        seconds = time.perf_counter() - started
        for stream, step in reads:
            stream.prefill_tokens += len(step.tokens)
            stream.prefill_s += seconds * len(step.tokens) / row
        self._timings.prefill_tokens += rows_read
        self._timings.prefill_s += seconds * rows_read / row
        if live:
            guesses = rows_drawn - len(live)
            self._timings.passed(seconds * rows_drawn / row, len(live) + len(reads), guesses, drawn)
        for stream, _ in reads:
            if stream.reading and not stream.reading.left:
                self._start(stream)

    def _reads(self, rows: int) -> list[tuple[ScheduledStream, Step]]:
        """What the next pass reads of contexts, at most `rows` tokens."""
        steps = []
        for stream in self._reading:
            if stream.reading and rows > 0:
                steps.append((stream, stream.reading.step(rows)))
                rows -= len(steps[-1][1].tokens)
        return steps

    def _take_draws(self, live: Sequence[ScheduledStream], steps: Sequence[Step]) -> int:
        """Draw from the logits of a pass that began with these steps, one for each live stream; returns how many."""
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
        return drawn

    def _in_order(self) -> list[ScheduledStream]:
        """The live streams in the order of the pass."""
        branches = [stream.branch for stream in self._live if stream.branch]
        return [self._live[index] for index in self._cache.pass_order(branches)]

    def _draft(self, live: Sequence[ScheduledStream], others: int) -> None:
        """Guess tokens for the next pass. others: its rows besides those of live streams."""
        prospects = [_NOTHING] * len(live)
        guess = self._cache.ragged_passes or len(live) == 1
        for index, stream in enumerate(live):
            if guess and stream.drafter and stream.text.free:
                prospect = stream.drafter.prospect()
                # The last token need not be guessed: the draw after a guess comes for free.
                prospects[index] = Prospect(prospect.chances[: stream.text.left - 1], prospect.cost)
        most = self._cache.context.n_batch - self._cache.spare_cells - others
        for stream, count in zip(live, allot(prospects, self._costs, most, others=others), strict=True):
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
