"""Mixed load on two engines that live as long as it lasts: is every text what it is alone, and is memory flat?

    python -m tests.benchmarks.soak [--seconds N] [--seed N] [--model FILE.gguf]

Shifts of load on an engine that guesses and on one that does not, in turn, both `exact`: contexts of 1 to 2,047 tokens
of the standard library, random settings, 1 to 32 candidates, priorities, cancels, streams that are closed, scores in
between, interrupts. After each shift every text is drawn again by a third engine, alone; what was ended early must be a
beginning of that. Memory is what the process has beside the engines' caches, whose sizes are known and may grow. What a
pass needs grows with the fullest cache there was, so the shifts of the first third are repeated to the end: the same
load again must need no more. The last line is JSON; the exit status tells whether all held.
"""

from __future__ import annotations

import functools
import random
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgcli.core.errors import ContextError
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.engine.scheduler import ScheduledStream
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt, interruptible
from cgcli.native.sample import Sampling
from tests.benchmarks.report import EMBEDDED, command_line, print_facts

WINDOW = 2048
SUBMISSIONS = 4  # a shift; then the queue runs dry
QUEUE = 48  # streams
SLACK_MB = 48.0  # that memory may grow by after the warm-up: the heaps of C and Python are never packed
WARM_UP = 1 / 3  # of the time


class Texts:
    """Random pieces of the standard library's files."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))

    def piece(self) -> bytes:
        """1 to 1,500 tokens mostly, now and then about as many as the window has."""
        text = self._draw.choice(self._files).read_bytes()
        size = 7000 if self._draw.random() < 0.05 else int(10 ** self._draw.uniform(0, 3.7))
        start = self._draw.randrange(max(1, len(text) - size))
        return text[start : start + size].decode("utf-8", "ignore").encode() or b"import os\n"


@dataclass
class Tally:
    """What happened."""

    texts: int = 0
    tokens: int = 0
    too_long: int = 0
    cancelled: int = 0
    closed: int = 0
    scores: int = 0
    interrupts: int = 0
    ended_early: int = 0
    filled_window: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Going:
    """A stream, and the pass that it is cancelled after."""

    stream: ScheduledStream
    last_pass: float


class Soak:
    def __init__(self, path: Path, draw: random.Random, interrupt: Interrupt) -> None:
        def make(**options: Any) -> LlamaEngine:
            return LlamaEngine(path, EngineOptions(ctx=WINDOW, exact=True, **options), interrupt=interrupt)

        self.engines = [make(speculate=True), make(speculate=False)]
        self.judge = make(speculate=False, sequences=1)
        self.tally = Tally()
        self._draw = draw
        self._texts = Texts(draw)
        self._interrupt = interrupt
        self._drawn: list[tuple[Request, Completion]] = []

    def close(self) -> None:
        for engine in (*self.engines, self.judge):
            engine.close()

    def shift(self, engine: LlamaEngine, seed: int) -> None:
        """A load that the seed says, until nothing is left to do."""
        draw, left, passes = self._draw, SUBMISSIONS, 0
        draw.seed(seed)
        going: list[Going] = []
        while True:
            loading = left > 0
            if loading and len(going) < QUEUE and draw.random() < 0.3:
                going += self._submit(engine, passes)
                left -= 1
            for one in going:
                if passes >= one.last_pass:
                    one.stream.cancel()
                    self.tally.cancelled += 1
                    one.last_pass = float("inf")
            if draw.random() < 0.002:
                self._interrupt.set()
                self.tally.interrupts += 1
            engine.scheduler.step()
            self._interrupt.clear()
            passes += 1
            going = [one for one in going if not self._finished(one.stream)]
            if loading and draw.random() < 0.005:
                self._aside(engine)
            if not (going or loading):
                return

    def _requests(self) -> Iterator[Request]:
        draw = self._draw
        context = self._texts.piece()
        sampling = Sampling(
            draw.choice([0.0, 0.2, 0.8, 1.2]),
            draw.choice([1.0, 0.95, 0.5]),
            draw.choice([0, 0, 5, 40]),
            draw.choice([0.0, 0.0, 0.05]),
            draw.getrandbits(64),
        )
        cutter = functools.partial(Stops, draw.choice([(), (), ("\n\n",), ("def ", "class ")]))
        max_tokens = draw.randint(1, 128)
        turn = draw.randrange(20)
        for candidate in range(draw.choice([1, 1, 1, 2, 3, 5, 8, 16, 32])):
            yield Request(context, sampling, cutter, max_tokens, turn, candidate)

    def _submit(self, engine: LlamaEngine, passes: int) -> list[Going]:
        draw = self._draw
        going = []
        for request in self._requests():
            try:
                stream = engine.submit(request)
            except ContextError:
                self.tally.too_long += 1
                break
            going.append(Going(stream, passes + draw.randrange(60) if draw.random() < 0.1 else float("inf")))
        return going

    def _finished(self, stream: ScheduledStream) -> bool:
        done = stream.completion
        if not done:
            return False
        tally = self.tally
        tally.texts += 1
        tally.tokens += done.tokens
        tally.ended_early += done.finish_reason == "interrupted"
        tally.filled_window += done.finish_reason == "context"
        self._drawn.append((stream.request, done))
        return True

    def _aside(self, engine: LlamaEngine) -> None:
        """A stream that is closed after a piece, or a score, between the passes of the others."""
        request = next(self._requests())
        try:
            if self._draw.random() < 0.5:
                pieces = engine.stream(request)
                next(pieces, None)
                pieces.close()
                self.tally.closed += 1
            else:
                engine.score(request.context, len(request.context) // 2)
                self.tally.scores += 1
        except ContextError:
            self.tally.too_long += 1

    def compare(self) -> None:
        """Draw the shift's requests again, each alone; the cache holds its context at most."""
        context = b""
        for request, done in sorted(self._drawn, key=lambda drawn: drawn[0].context):
            if request.context != context:
                self.judge.cache.restart()
                context = request.context
            ((_, alone),) = self.judge.complete([request])
            self.tally.compared += 1
            if not same(done, alone):
                self.tally.wrong.append(f"{request!r}\n  {done!r}\n  alone: {alone!r}")
        self._drawn.clear()

    @property
    def memory_mb(self) -> float:
        """Resident memory beside the caches; not of the mapped model file, whose embeddings come in as their tokens are
        first seen."""
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
        caches = sum(engine.cache.size * engine.model.cell_bytes for engine in (*self.engines, self.judge))
        return (int(line.split()[1]) * 1024 - caches) / 1e6

    def facts(self) -> dict[str, int | float]:
        timings = [engine.timings for engine in self.engines]
        return {
            "passes": sum(one.passes for one in timings),
            "drafted": sum(one.drafted for one in timings),
            "kept": sum(one.kept for one in timings),
            "prefill_tokens": sum(one.prefill_tokens for one in timings),
            "reread_tokens": sum(engine.cache.reread for engine in self.engines),
            "cells": sum(engine.cache.size for engine in self.engines),
        }


def same(done: Completion, alone: Completion) -> bool:
    """Ended early, it must begin like the other; a stop that had begun by then may still stand at its end."""
    if done.finish_reason != "interrupted":
        return done == alone
    begun = done.text.startswith(alone.text) and len(done.text) - len(alone.text) < len("class ")
    return done.tokens <= alone.tokens and (begun or alone.text.startswith(done.text))


def soak(path: Path, seconds: float, seed: int) -> bool:
    shifts = 0  # that are not repeated, an even number: each has the engine that it had
    with interruptible() as interrupt:
        run = Soak(path, random.Random(), interrupt)
        started, memory = time.perf_counter(), list[tuple[float, float]]()
        while (spent := time.perf_counter() - started) < seconds:
            number = len(memory)
            if not shifts and number and number % 2 == 0 and spent > seconds * WARM_UP:
                shifts = number
            number %= shifts or number + 1
            run.shift(run.engines[number % 2], seed + number)
            run.compare()
            memory.append((time.perf_counter() - started, run.memory_mb))
            tally = run.tally
            print(
                f"{memory[-1][0]:6.0f} s: {tally.texts} texts, {tally.compared} compared, {len(tally.wrong)} wrong, "
                f"{memory[-1][1]:.0f} MB",
                file=sys.stderr,
            )
        facts = run.facts()
        held = any(engine.cache.held for engine in run.engines)
        run.close()
    warm = max(mb for _, mb in memory[: shifts or 1])
    growth = max(mb for _, mb in memory) - warm
    for wrong in run.tally.wrong[:5]:
        print(wrong, file=sys.stderr)
    good = shifts > 0 and not run.tally.wrong and growth <= SLACK_MB and not held and run.tally.compared > 0
    counts = {name: value for name, value in vars(run.tally).items() if name != "wrong"}
    print_facts(
        "soak",
        ok=good,
        seconds=round(time.perf_counter() - started),
        seed=seed,
        shifts={"first": shifts, "all": len(memory)},
        model=path.name,
        **counts,
        wrong=len(run.tally.wrong),
        **facts,
        memory_mb={"warm": round(warm), "end": round(memory[-1][1]), "growth": round(growth, 1)},
        slack_mb=SLACK_MB,
    )
    return good


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    given = parser.parse_args()
    sys.exit(not soak(given.model, given.seconds, given.seed))
