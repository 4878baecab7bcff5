"""llama-cpp-python's `Llama`, on the same GGUF and the same build of llama.cpp as cgcli."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_cpp import Llama

from tests.benchmarks.sides.worker import TEMPERATURE, TOP_P

SAMPLING = {"temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0, "min_p": 0.0}


class Side:
    def __init__(self, model: Path, threads: int) -> None:
        self.llama = Llama(str(model), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)

    def stream(self, prompt: list[int], tokens: int, on_tokens: Callable[[int], None]) -> None:
        for chunk in self._complete(prompt, tokens, stream=True):
            if chunk["choices"][0]["finish_reason"] is None:  # the last chunk carries no token
                on_tokens(1)

    def candidates(self, prompt: list[int], count: int, tokens: int) -> int:
        """One call after the other: it has no batched `n`. The prompt stays in its cache from call to call."""
        drawn = (self._complete(prompt, tokens, seed=seed)["usage"]["completion_tokens"] for seed in range(count))
        return sum(drawn)

    def _complete(self, prompt: list[int], tokens: int, seed: int = 0, stream: bool = False) -> Any:
        return self.llama.create_completion(prompt, max_tokens=tokens, seed=seed, stream=stream, **SAMPLING)
