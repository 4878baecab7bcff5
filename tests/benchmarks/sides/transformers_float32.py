"""Hugging Face transformers on PyTorch, float32: on a CPU without AVX-512 or AMX, half precision is slower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CodeGenForCausalLM

from tests.benchmarks.sides.worker import TEMPERATURE, TOP_P


class OnToken:
    """A streamer: transformers gives it the prompt first, then token by token."""

    def __init__(self, on_tokens: Callable[[int], None]) -> None:
        self.on_tokens = on_tokens
        self.begun = False

    def put(self, _tokens: object) -> None:
        if self.begun:
            self.on_tokens(1)
        self.begun = True

    def end(self) -> None: ...


class Side:
    def __init__(self, model: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = CodeGenForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def stream(self, prompt: list[int], tokens: int, on_tokens: Callable[[int], None]) -> None:
        self._generate(prompt, tokens, streamer=OnToken(on_tokens))

    def candidates(self, prompt: list[int], count: int, tokens: int) -> int:
        found = self._generate(prompt, tokens, num_return_sequences=count)
        return found.shape[0] * (found.shape[1] - len(prompt))

    def _generate(self, prompt: list[int], tokens: int, **options: Any) -> Any:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            return self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                pad_token_id=self.model.config.eos_token_id,
                do_sample=True,
                temperature=TEMPERATURE,
                top_p=TOP_P,
                top_k=0,
                max_new_tokens=tokens,
                **options,
            )
