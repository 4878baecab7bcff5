"""The kernels after the logits, beside llama.cpp's own chain (temp, top-p, dist) and NumPy, on the same rows.

    python -m tests.benchmarks.sampler [--runs N] [--model FILE]

Both sides in turn in one run, top-p 0.95; a figure is the median, a ratio the median of the ratios of neighbours. Rows:
Gaussian ones of 51,200 entries, and what the embedded model puts out after lines of a module of the standard library.
Ours is the whole call from Python, log-probability included; llama.cpp's is the chain alone, without filling its array
of candidates. NumPy's is log-softmax in float32 and one number of each row. The last line is JSON.
"""

from __future__ import annotations

import ast
import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgcli.engine.binding import llama
from cgcli.engine.context import Context
from cgcli.engine.model import Model
from cgcli.native.library import tier
from cgcli.native.sample import Draw, Sampler, Sampling
from tests.benchmarks.report import EMBEDDED, command_line, medians, print_facts, ratio, seconds
from tests.native.bindings import logprobs

Floats = NDArray[np.float32]

N_VOCAB = 51200
TOP_P = 0.95
ROWS = 16
CONTEXT = 400  # tokens
WARM_UP = 5


def gaussian(deviation: float) -> Floats:
    return (deviation * np.random.default_rng(0).standard_normal((ROWS, N_VOCAB))).astype(np.float32)


def recorded(model: Path) -> Floats:
    """Logits float32 [ROWS, n_vocab] after tokens spread over the source of `ast`."""
    with Model.load(model) as loaded, Context(loaded, n_ctx=CONTEXT, n_batch=CONTEXT) as context:
        tokens = loaded.tokenize(Path(ast.__file__).read_bytes())[:CONTEXT]
        places = [CONTEXT - 1 - place * (CONTEXT // ROWS) for place in range(ROWS)]
        context.decode(tokens, outputs=places)
        return np.stack([context.logits(place).copy() for place in places])


def compared(
    ours: Callable[[int], object],
    theirs: Callable[[int], object],
    runs: int,
    *,
    before: Callable[[int], object] = lambda _: None,
    share: int = 1,
) -> dict[str, float]:
    """Microseconds of both, and the ratio. before: what each round needs, not timed; share: what ours is divided by."""
    pairs = []
    for index in range(WARM_UP + runs):
        before(index)
        pairs.append((seconds(partial(ours, index)) / share * 1e6, seconds(partial(theirs, index)) * 1e6))
    mine, other = zip(*pairs[WARM_UP:], strict=True)
    return {**medians({"cgk_us": mine, "other_us": other}, 1), "times_faster": round(ratio(other, mine), 1)}


class Chain:
    """llama.cpp's samplers over the rows given, one a call."""

    def __init__(self, rows: Floats, temperature: float) -> None:
        self.api = llama().api
        self.chain = self.api.llama_sampler_chain_init(self.api.llama_sampler_chain_default_params())
        for sampler in (self.api.llama_sampler_init_temp(temperature), self.api.llama_sampler_init_top_p(TOP_P, 1)):
            self.api.llama_sampler_chain_add(self.chain, sampler)
        self.api.llama_sampler_chain_add(self.chain, self.api.llama_sampler_init_dist(1))
        self.fresh = np.zeros(rows.shape, dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
        self.fresh["id"], self.fresh["logit"] = np.arange(rows.shape[1]), rows
        self.candidates = self.fresh[0].copy()
        self.data = self.candidates.ctypes.data_as(ctypes.POINTER(self.api.llama_token_data))

    def fill(self, index: int) -> None:
        self.candidates[:] = self.fresh[index % len(self.fresh)]
        self.array = self.api.llama_token_data_array(self.data, len(self.candidates), -1, False)

    def apply(self, _index: int) -> None:
        self.api.llama_sampler_apply(self.chain, ctypes.byref(self.array))

    def free(self) -> None:
        self.api.llama_sampler_free(self.chain)


def sampling(name: str, rows: Floats, temperature: float, runs: int) -> list[dict[str, object]]:
    """One row a call, and 16 a call, each row's share of it beside one row of llama.cpp's."""
    chain, settings, sampler = Chain(rows, temperature), Sampling(temperature, TOP_P, seed=1), Sampler(rows.shape[1])
    addresses = [row.ctypes.data for row in rows]

    def one(index: int) -> None:
        sampler.sample(addresses[index % ROWS], settings, index=index)

    def all_rows(index: int) -> None:
        sampler.sample_rows([Draw(address, settings, index=index) for address in addresses])

    found = []
    for together, ours in ((1, one), (ROWS, all_rows)):
        times = compared(ours, chain.apply, runs, before=chain.fill, share=together)
        found.append({"what": "sample", "rows": name, "temperature": temperature, "together": together, **times})
    chain.free()
    return found


def scoring(name: str, rows: Floats, runs: int) -> list[dict[str, object]]:
    found = []
    for together in (1, ROWS):
        some = rows[:together]
        tokens = some.argmax(axis=1).tolist()

        def ours(_index: int, some: Floats = some, tokens: list[int] = tokens) -> list[float]:
            return logprobs(some.ctypes.data, some.shape[1], tokens)

        def numpy(_index: int, some: Floats = some, tokens: list[int] = tokens) -> Floats:
            shifted = some - some.max(axis=1, keepdims=True)
            scored = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            return np.asarray(scored[np.arange(len(tokens)), tokens])

        found.append({"what": "logprob", "rows": name, "temperature": 1.0, "together": together,
                      **compared(ours, numpy, runs)})  # fmt: skip
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    cases = {f"Gaussian, {deviation}": gaussian(deviation) for deviation in (1.3, 3.0)}
    if arguments.model.exists():
        cases["recorded"] = recorded(arguments.model)
    results = []
    print("what     rows           T    together  cgk us  other us  times faster")
    for name, rows in cases.items():
        measured = [one for temperature in (0.2, 0.8) for one in sampling(name, rows, temperature, arguments.runs)]
        for one in measured + scoring(name, rows, arguments.runs):
            results.append(one)
            print(
                "{what:8} {rows:14} {temperature:3}  {together:8}  {cgk_us:6}  {other_us:8}  {times_faster:12}".format(
                    **one
                )
            )
    print_facts("sampler", tier=tier(), runs=arguments.runs, rows=results)


if __name__ == "__main__":
    main()
