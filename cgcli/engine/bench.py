"""Measures a model on this machine: speeds, costs of wider passes, the gain from guesses, the share of the limit.

It continues a fixed text, Python source, with the paper's sampling; an end-of-text token does not end a completion.
Repeated measurements are made in turn, and numbers are medians. It prints nothing.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cgcli.core.errors import Interrupted
from cgcli.core.machine import peak_bytes
from cgcli.core.progress import Progress
from cgcli.engine import pass_costs
from cgcli.engine.cache import Step
from cgcli.engine.drafting import PassCosts, by_ngrams
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.gguf import Tensor
from cgcli.engine.prefill import Prefill
from cgcli.engine.protocol import Placement
from cgcli.engine.request import Request, Timings
from cgcli.engine.scheduler import Scheduler
from cgcli.engine.stops import Stops
from cgcli.engine.tokens import Detokenizer, TokenTable, split_blanks
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Draw, Sampled, Sampler, Sampling

TEXT = Path(__file__).with_name("bench.txt")
"""Never change it: the numbers of two versions must be comparable."""
PREFILL = 512  # tokens
CONTEXT = 128  # tokens before a completion
GUESSED_CONTEXT = 256  # tokens that guesses come from, and after which wide passes are timed
STREAMS = 32  # at most, where the engine draws fewer together
BUFFER_BYTES = 1 << 28  # read to measure the memory's bandwidth; larger than any processor cache


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    tokens: int  # of each completion
    streams: tuple[int, ...]  # numbers of streams to draw together, if the engine can
    pass_rounds: int
    texts: int  # to measure guesses on
    guessed_tokens: int  # of each completion with guesses
    contexts: tuple[int, ...]  # lengths, in tokens, behind which a token is timed


FULL = Effort(
    rounds=3,
    tokens=24,
    streams=(1, 2, 4, 8, 16, 32, 64),
    pass_rounds=11,
    texts=6,
    guessed_tokens=96,
    contexts=(0, 256, 512, 1024, 1536, 2032),
)
QUICK = Effort(
    rounds=2, tokens=16, streams=(1, 4, 16, 64), pass_rounds=5, texts=2, guessed_tokens=48, contexts=(0, 256, 512)
)


@dataclass(frozen=True)
class Together:
    """Streams drawn together."""

    streams: int
    tokens_per_s: float  # of all of them
    sampler_share: float  # of the decoding time, 0 to 1


@dataclass(frozen=True)
class Guessing:
    """A single stream with guesses from its own text."""

    speedup: float  # in tokens/s, relative to the same stream without guesses
    tokens_per_pass: float
    acceptance: float | None  # share of the guesses that were accepted; None without guesses


@dataclass(frozen=True)
class Limit:
    """The limit that memory sets to a single stream: each token reads all weights and the stream's cache."""

    bandwidth: float  # bytes/s that the threads can read
    bytes_per_token: float
    share: float  # of the limit that the stream reaches, 0 to 1


@dataclass(frozen=True)
class AtContext:
    """A single stream behind a context, without sampling."""

    context: int  # tokens
    tokens_per_s: float


@dataclass(frozen=True)
class Bench:
    """The results."""

    quant: str
    ran_on: Placement
    load_s: float  # with the file in the system's cache
    prefill_tokens: int
    prefill_tokens_per_s: float
    together: tuple[Together, ...]  # a single stream first
    pass_costs: PassCosts | None  # None for a recurrent model
    guessing: Guessing | None  # None for a recurrent model
    peak_bytes: int | None  # None if the system does not report it
    limit: Limit | None  # None if layers are on a GPU
    over_context: tuple[AtContext, ...]  # as far as the context window goes; none for a recurrent model

    @property
    def decode_tokens_per_s(self) -> float:
        """Speed of a single stream without guesses."""
        return self.together[0].tokens_per_s


def run_bench(
    path: Path,
    effort: Effort,
    *,
    interrupt: Interrupt,
    progress: Progress,
    threads: int | None = None,
    gpu_layers: int | None = None,
    own_products: bool = True,
) -> Bench:
    """Measure the model in a file, with arguments as in `EngineOptions`.

    Raises Interrupted after Ctrl-C, and errors of loading a model.
    """
    # The first load brings the file into the system's cache.
    options = EngineOptions(threads=threads, gpu_layers=gpu_layers, own_products=own_products)
    LlamaEngine(path, options, interrupt=interrupt).close()
    with LlamaEngine(path, options, interrupt=interrupt) as engine:
        return _Measuring(engine, effort, interrupt, progress).everything()


class _TimedSampler(Sampler):
    """A sampler that adds up its time."""

    seconds = 0.0

    def sample_rows(self, draws: Sequence[Draw], *, on_gpu: bool = False) -> list[Sampled]:
        started = time.perf_counter()
        sampled = super().sample_rows(draws, on_gpu=on_gpu)
        self.seconds += time.perf_counter() - started
        return sampled


@dataclass(frozen=True)
class _Drawn:
    timings: Timings
    tokens_per_s: float  # without each stream's first token, which the prefill gave
    sampler_share: float  # of the decoding time


class _Measuring:
    """Measures an engine's model, on its cache."""

    def __init__(self, engine: LlamaEngine, effort: Effort, interrupt: Interrupt, progress: Progress) -> None:
        self.engine = engine
        most = max(STREAMS, engine.sequences)
        self.effort = replace(effort, streams=tuple(streams for streams in effort.streams if streams <= most))
        self.cache = engine.cache
        self.table = TokenTable(engine.model)
        self.table.ends = set()
        self.interrupt = interrupt
        self.progress = progress
        # Contexts are as long as the window allows, with room for completions.
        self.longest = min(PREFILL, engine.window // 2)
        widest = min(CONTEXT, self.longest) + max(self.effort.streams) * (effort.tokens + self.cache.spare_cells)
        self.cache.reserve(max(widest, 2 * self.longest + effort.guessed_tokens) + self.cache.spare_cells)

    def everything(self) -> Bench:
        effort, model = self.effort, self.engine.model
        own_guesses = not model.recurrent
        longest = self.engine.window - self.cache.spare_cells
        contexts = [tokens for tokens in effort.contexts if own_guesses and tokens < longest]
        steps = effort.rounds * (1 + len(effort.streams)) + own_guesses * (1 + effort.texts) + 1 + len(contexts)
        with self.progress.task("measuring", steps, unit="steps") as task:
            rates = []
            for text in self.texts(self.longest, effort.rounds):
                rates.append(self.prefill(text))
                task.advance(1)
            rounds: list[list[Together]] = []
            for text in self.texts(min(CONTEXT, self.longest), effort.rounds):
                rounds.append([])
                for streams in effort.streams:
                    rounds[-1].append(self.together(text, streams))
                    task.advance(1)
            together = tuple(map(_median, zip(*rounds, strict=True)))
            costs = guessing = None
            if own_guesses:
                (text,) = self.texts(min(GUESSED_CONTEXT, self.longest), 1)
                self.forget()
                costs = pass_costs.measure(self.cache, self.table.tokens(text), rounds=effort.pass_rounds)
                task.advance(1)
                pairs = []
                for index, text in enumerate(self.texts(min(GUESSED_CONTEXT, self.longest), effort.texts)):
                    pairs.append(self.with_and_without_guesses(text, costs, guesses_first=index % 2 == 1))
                    task.advance(1)
                guessing = _guessing(pairs)
            peak = peak_bytes()  # before the bandwidth measurement allocates its buffer
            limit = None if model.gpu_layers else self.limit(together[0].tokens_per_s)
            task.advance(1)
            over_context = []
            for one in self.over_context(contexts):
                over_context.append(one)
                task.advance(1)
        return Bench(
            quant=model.header.quant,
            ran_on=self.engine.placement,
            load_s=self.engine.timings.load_s,
            prefill_tokens=self.longest,
            prefill_tokens_per_s=statistics.median(rates),
            together=together,
            pass_costs=costs,
            guessing=guessing,
            peak_bytes=peak,
            limit=limit,
            over_context=tuple(over_context),
        )

    def texts(self, tokens: int, count: int) -> Iterator[bytes]:
        """Pieces of the text, each of `tokens` tokens."""
        ids = self.table.tokens(TEXT.read_bytes())
        for at in range(0, tokens * count, tokens):
            yield split_blanks(b"".join(map(self.table.piece, ids[at : at + tokens])))[0]

    def prefill(self, text: bytes) -> float:
        """Prefill speed in tokens/s."""
        self.forget()
        timings = self.draw([text], 1).timings
        return timings.prefill_tokens / timings.prefill_s

    def together(self, text: bytes, streams: int) -> Together:
        self.forget()
        drawn = self.draw([text] * streams, self.effort.tokens)
        return Together(streams, drawn.tokens_per_s, drawn.sampler_share)

    def with_and_without_guesses(self, text: bytes, costs: PassCosts, *, guesses_first: bool) -> tuple[_Drawn, _Drawn]:
        """The same completion with and without guesses."""
        self.forget()
        drawn = {}
        for guesses in (guesses_first, not guesses_first):
            drawn[guesses] = self.draw([text], self.effort.guessed_tokens, costs if guesses else None)
            self.forget(longer_than=len(self.table.tokens(text)))
        return drawn[True], drawn[False]

    def draw(self, contexts: Sequence[bytes], tokens: int, costs: PassCosts | None = None) -> _Drawn:
        """Draw completions of `tokens` tokens together; with `costs`, with guesses."""
        timings, sampler = Timings(), _TimedSampler(self.engine.model.n_vocab)
        scheduler = Scheduler(
            self.cache,
            Prefill(self.cache, self.interrupt, timings),
            sampler,
            self.interrupt,
            timings,
            sequences=len(contexts),
            costs=costs or PassCosts.usual(self.engine.quant),
            make_drafter=by_ngrams if costs else None,
        )
        for candidate, context in enumerate(contexts):
            request = Request(context, Sampling(), Stops, max_tokens=tokens, candidate=candidate)
            scheduler.submit(request, self.table.tokens(context), Detokenizer(request, self.table, tokens))
        while scheduler.step():
            pass
        if self.interrupt.requested:
            raise Interrupted
        share = sampler.seconds / timings.decode_s if timings.decode_s else 0.0
        return _Drawn(timings, timings.tokens_per_s, share)

    def over_context(self, contexts: Sequence[int]) -> Iterator[AtContext]:
        """The speed behind contexts of these lengths, shortest first."""
        self.forget()
        tokens = self.table.tokens(TEXT.read_bytes())
        self.cache.make_room(max(contexts, default=0) + 1 + self.cache.spare_cells)
        branch = self.cache.fork(None, 0)
        try:
            for length in contexts:
                while (known := len(branch.tokens)) < length:
                    piece = tokens[known : min(known + PREFILL, length)]
                    pass_costs.seconds(self.cache, Step(branch, piece, [len(piece) - 1]))
                took = []
                for _ in range(self.effort.pass_rounds + 1):
                    took.append(pass_costs.seconds(self.cache, Step(branch, tokens[length : length + 1], [0])))
                    self.cache.trim(branch, length)
                yield AtContext(length, 1 / statistics.median(took[1:]))  # the first is warm-up
        finally:
            self.cache.release(branch)
            self.cache.drop(branch)

    def forget(self, *, longer_than: int = 0) -> None:
        """Evict longer branches: passes take longer if more cells are in use."""
        for branch in [branch for branch in self.cache.branches if len(branch.tokens) > longer_than]:
            self.cache.drop(branch)

    def limit(self, tokens_per_s: float) -> Limit:
        model = self.engine.model
        bandwidth = memory_bandwidth(self.engine.threads)
        cells = min(CONTEXT, self.longest) + self.effort.tokens / 2  # on average
        each = bytes_per_pass(model.header.tensors.values()) + cells * model.cell_bytes
        return Limit(bandwidth, each, each * tokens_per_s / bandwidth)


def bytes_per_pass(tensors: Iterable[Tensor]) -> int:
    """Bytes of the weights that a pass of one row reads: all but the embeddings, of which it reads a row.

    A model without an output matrix uses the embeddings for that, and reads all of them.
    """
    sizes = {tensor.name: tensor.size for tensor in tensors}
    embeddings = sizes["token_embd.weight"] if "output.weight" in sizes else 0
    return sum(sizes.values()) - embeddings


def memory_bandwidth(threads: int, *, buffer_bytes: int = BUFFER_BYTES, rounds: int = 6) -> float:
    """Bytes/s that so many threads read together: the best of several rounds, since others are disturbed."""
    import numpy as np

    # The maximum: of NumPy's reductions it takes the fewest instructions per byte, and it lets other threads run.
    parts = np.array_split(np.ones(buffer_bytes, np.uint8), threads)
    best = float("inf")
    for _ in range(rounds):
        readers = [threading.Thread(target=np.max, args=(part,)) for part in parts]
        started = time.perf_counter()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        best = min(best, time.perf_counter() - started)
    return buffer_bytes / best


def _median(rounds: Sequence[Together]) -> Together:
    """Medians over rounds with the same number of streams."""
    return Together(
        rounds[0].streams,
        statistics.median(one.tokens_per_s for one in rounds),
        statistics.median(one.sampler_share for one in rounds),
    )


def _guessing(pairs: Sequence[tuple[_Drawn, _Drawn]]) -> Guessing:
    """pairs: each with and without guesses."""
    guessed = [one.timings for one, _ in pairs]
    drafted = sum(timings.drafted for timings in guessed)
    return Guessing(
        speedup=statistics.median(one.tokens_per_s / plain.tokens_per_s for one, plain in pairs),
        tokens_per_pass=statistics.median((one.decode_tokens - 1) / one.passes for one in guessed),
        acceptance=sum(timings.kept for timings in guessed) / drafted if drafted else None,
    )
