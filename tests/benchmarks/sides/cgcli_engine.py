"""cgcli's engine, without speculation: random weights write in loops, which would be all its gain."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native import products
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from tests.benchmarks.sides.worker import CANDIDATES, TEMPERATURE, TOP_P

SAMPLING = Sampling(TEMPERATURE, TOP_P)


class Side:
    def __init__(self, model: Path, threads: int) -> None:
        if tier := os.environ.get("PRODUCT_TIER"):
            assert products.choose_tier(tier)
        self.engine = LlamaEngine(
            model, EngineOptions(threads=threads, speculate=False, sequences=CANDIDATES), interrupt=Interrupt()
        )

    def stream(self, prompt: list[int], tokens: int, on_tokens: Callable[[int], None]) -> None:
        before = self.engine.timings.decode_tokens
        for _text in self.engine.stream(self._request(prompt, tokens)):
            drawn = self.engine.timings.decode_tokens
            on_tokens(drawn - before)
            before = drawn

    def candidates(self, prompt: list[int], count: int, tokens: int) -> int:
        requests = [self._request(prompt, tokens, candidate) for candidate in range(count)]
        return sum(completion.tokens for _, completion in self.engine.complete(requests))

    def _request(self, prompt: list[int], tokens: int, candidate: int = 0) -> Request:
        text = b"".join(map(self.engine.model.piece, prompt))
        if self.engine.model.tokenize(text) != prompt:
            sys.exit("the prompt's text is read as other tokens")
        return Request(text, SAMPLING, Stops, max_tokens=tokens, candidate=candidate)
