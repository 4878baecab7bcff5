"""HumanEval's samples: which are wanted, and how they are drawn."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from cgcli.core.errors import Interrupted
from cgcli.engine.protocol import Engine
from cgcli.engine.request import Request
from cgcli.evals.humaneval import Task
from cgcli.evals.samples import Key, Row
from cgcli.native.sample import Sampling
from cgcli.program.program import encode
from cgcli.program.session import Generation

KEY = ("task_id", "temperature", "seed", "index")


@dataclass(frozen=True)
class Protocol:
    """How many samples of each task, at which temperatures, and how they are drawn (its temperature is not used)."""

    n: int
    temperatures: tuple[float, ...]
    generation: Generation

    @property
    def seed(self) -> int:
        return self.generation.sampling.seed

    @property
    def facts(self) -> dict[str, object]:
        """What every row says of how it was drawn, beside its key."""
        how = self.generation
        sampling = {"top_p": how.sampling.top_p, "top_k": how.sampling.top_k, "min_p": how.sampling.min_p}
        return {**sampling, "max_tokens": how.max_tokens}

    def keys(self, tasks: Sequence[str]) -> Iterator[Key]:
        """All samples that are wanted: those of one task next to each other, so that its prompt is read once."""
        for task, temperature, index in product(tasks, self.temperatures, range(self.n)):
            yield task, temperature, self.seed, index

    def wants(self, row: Row) -> bool:
        """Whether a row is one of them, its task aside."""
        index = row.get("index")
        return (
            row.get("seed") == self.seed
            and row.get("temperature") in self.temperatures
            and isinstance(index, int)
            and index < self.n
        )


@dataclass(frozen=True)
class Preset:
    """A protocol by name. n: samples of each task."""

    n: int
    temperatures: tuple[float, ...]
    sampling: Sampling


PRESETS = {
    # Nijkamp et al. 2023 (arXiv 2203.13474), section 2: the best temperature for each k is reported.
    "paper": Preset(200, (0.2, 0.6, 0.8), Sampling(top_p=0.95)),
    # EvalPlus' column of greedy decoding.
    "greedy": Preset(1, (0.0,), Sampling(temperature=0.0, top_p=1.0)),
}


def request(task: Task, protocol: Protocol, temperature: float, index: int, *, heal: bool) -> Request:
    """A sample to draw: the task's own prompt, raw; each index is a candidate of a first turn. heal: see `heals`."""
    generation, prompt = protocol.generation, encode(task.prompt)
    sampling = replace(generation.sampling, temperature=temperature)
    cutter = functools.partial(generation.cutter, prompt)
    return Request(prompt, sampling, cutter, generation.max_tokens, 0, index, continues_code=heal)


def heals(engine: Engine) -> bool:
    """Whether the model's tokenizer reads a line end together with the indentation after it.

    CodeGen's does not: there a prompt's tokens are those of the paper. Others (GPT-2's own) have never seen a line end
    alone before an indented line: SmolLM2 then goes on with three back-ticks (HumanEval/0: a probability of 0.49), and
    completes nothing, where line end and indentation as one token have 0.99. For them the last line end is left to the
    first token drawn; the text is the same.
    """
    tokens = engine.tokens
    prompt, following = b'def f():\n    """Say 1."""\n', b"    return 1\n"
    alone = tokens(prompt)
    return tokens(prompt + following)[: len(alone)] != alone


def draw(
    engine: Engine, keys: Iterable[Key], tasks: Mapping[str, Task], protocol: Protocol, facts: Mapping[str, object]
) -> Iterator[Row]:
    """Draw the samples with these keys; yields the row of each when it is done. facts: of the model, in every row.

    Raises Interrupted after Ctrl-C, ContextError for a prompt that does not fit.
    """
    heal = heals(engine)
    taken: list[Key] = []

    def requests() -> Iterator[Request]:
        for key in keys:
            taken.append(key)
            yield request(tasks[str(key[0])], protocol, *_of(key), heal=heal)

    for index, completion in engine.complete(requests()):
        if completion.finish_reason == "interrupted":
            raise Interrupted
        key = taken[index]
        yield {
            "task_id": key[0],
            "completion": completion.text,
            **dict(zip(KEY[1:], key[1:], strict=True)),
            "tokens": completion.tokens,
            "mean_logprob": completion.mean_logprob,
            "finish_reason": completion.finish_reason,
            "healed": heal,
            **facts,
            **protocol.facts,
        }


def _of(key: Key) -> tuple[float, int]:
    _, temperature, _, index = key
    if not (isinstance(temperature, float) and isinstance(index, int)):
        raise TypeError(f"{key!r} is not the key of a sample")
    return temperature, index
