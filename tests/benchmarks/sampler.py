"""Microseconds to sample one token, beside llama.cpp's own chain (temp, top-p, dist) on the same logits.

    python -m tests.benchmarks.sampler [--runs N]

Both sides in turn in one run: 51,200 Gaussian logits, top-p 0.95. llama.cpp's side is the chain alone, without filling
its array of candidates; ours is the whole call from Python, log-probability included. The last line is JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from cgcli.engine.binding import library
from cgcli.native.sample import Sampler, Sampling

N_VOCAB = 51200
TOP_P = 0.95


def microseconds(call: Callable[[int], object], index: int) -> float:
    started = time.perf_counter()
    call(index)
    return (time.perf_counter() - started) * 1e6


def compare(temperature: float, deviation: float, runs: int) -> dict[str, float]:
    api = library().api
    logits = (deviation * np.random.default_rng(0).standard_normal(N_VOCAB)).astype(np.float32)
    chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    for sampler in (api.llama_sampler_init_temp(temperature), api.llama_sampler_init_top_p(TOP_P, 1)):
        api.llama_sampler_chain_add(chain, sampler)
    api.llama_sampler_chain_add(chain, api.llama_sampler_init_dist(1))
    fresh = np.zeros(N_VOCAB, dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
    fresh["id"], fresh["logit"] = np.arange(N_VOCAB), logits
    candidates = fresh.copy()
    data = candidates.ctypes.data_as(ctypes.POINTER(api.llama_token_data))
    ours, sampling = Sampler(N_VOCAB), Sampling(temperature, TOP_P, seed=1)

    def theirs_once(_index: int) -> None:
        api.llama_sampler_apply(chain, ctypes.byref(array))

    def ours_once(index: int) -> None:
        ours.sample(logits.ctypes.data, sampling, index=index)

    pairs = []
    for index in range(runs + 5):  # the first five are warm-up
        candidates[:] = fresh
        array = api.llama_token_data_array(data, N_VOCAB, -1, False)
        pairs.append((microseconds(ours_once, index), microseconds(theirs_once, index)))
    api.llama_sampler_free(chain)
    pairs = pairs[5:]
    return {
        "temperature": temperature,
        "deviation": deviation,
        "cgk_us": round(statistics.median(mine for mine, _ in pairs)),
        "llama_us": round(statistics.median(other for _, other in pairs)),
        "times_faster": round(statistics.median(other / mine for mine, other in pairs), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    rows = [compare(temperature, deviation, runs) for temperature in (0.2, 0.8) for deviation in (1.3, 3.0)]
    print("temperature  deviation  cgk µs  llama.cpp µs  times faster")
    for row in rows:
        print("{temperature:11}  {deviation:9}  {cgk_us:6}  {llama_us:12}  {times_faster:12}".format(**row))
    print(
        json.dumps(
            {"machine": platform.processor() or platform.machine(), "n_vocab": N_VOCAB, "runs": runs, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
