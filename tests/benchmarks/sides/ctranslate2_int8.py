"""CTranslate2 with weights in int8."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2

from tests.benchmarks.sides.worker import TEMPERATURE, TOP_P


class Side:
    def __init__(self, model: Path, threads: int) -> None:
        self.generator = ctranslate2.Generator(str(model), compute_type="int8", intra_threads=threads)
        self.texts = json.loads((model / "vocabulary.json").read_text("utf-8"))  # of ids: it takes no numbers

    def stream(self, prompt: list[int], tokens: int, on_tokens: Callable[[int], None]) -> None:
        def on_step(_step: object) -> bool:
            on_tokens(1)
            return False  # go on

        self._generate(prompt, tokens, callback=on_step)

    def candidates(self, prompt: list[int], count: int, tokens: int) -> int:
        return sum(map(len, self._generate(prompt, tokens, num_hypotheses=count).sequences_ids))

    def _generate(self, prompt: list[int], tokens: int, **options: Any) -> Any:
        (result,) = self.generator.generate_batch(
            [[self.texts[token] for token in prompt]],
            sampling_temperature=TEMPERATURE,
            sampling_topp=TOP_P,
            sampling_topk=0,
            max_length=tokens,
            include_prompt_in_result=False,  # else the prompt is forwarded token by token
            **options,
        )
        return result
