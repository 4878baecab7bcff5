"""The sampler's share of a step, and how near a single stream is to what memory allows."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from cgcli.core.progress import Silent
from cgcli.engine.bench import QUICK, run_bench
from cgcli.native.interrupt import Interrupt
from tests.benchmarks.cases.common import Figure, models


def measure(rounds: int) -> list[dict[str, Any]]:
    figures = []
    effort = replace(QUICK, rounds=rounds, streams=(1, 16), pass_rounds=1, texts=1, contexts=())
    for name, path in models().items():
        found = run_bench(path, effort, interrupt=Interrupt(), progress=Silent())
        for one in found.together:
            share = f"sampler's share of a step, {one.streams} together, {name}"
            figures.append(Figure(share, one.sampler_share, below=True))
        if limit := found.limit:
            speeds = limit.bandwidth / limit.bytes_per_token
            figures.append(
                Figure(
                    f"a single stream / what memory allows, {name}",
                    limit.share,
                    0.85,
                    found.decode_tokens_per_s,
                    speeds,
                )
            )
    return [asdict(figure) for figure in figures]
