"""Measures the costs of wider passes of a model on this machine, and keeps them in a file for later runs.

The file is JSON: costs by number of rows, for each way of running the model here (see `place`). `drafting` uses them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from pathlib import Path

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.engine.binding import gpu_devices, llama
from cgcli.engine.cache import KVCache, Step
from cgcli.engine.drafting import PassCosts

ROWS = (1, 2, 3, 4, 6, 8, 16)


def measure(cache: KVCache, tokens: list[int], *, rounds: int) -> PassCosts:
    """Time passes of different widths over the end of `tokens`, the widths in turn in each round.

    A cost is the median over the rounds of its ratio to a pass of one row. Raises Interrupted, ContextError.
    """
    context, following = tokens[: -max(ROWS)], tokens[-max(ROWS) :]
    cache.make_room(len(tokens) + cache.spare_cells)
    branch = cache.fork(None, 0)
    try:
        seconds(cache, Step(branch, context, [len(context) - 1]))
        found = []
        for _ in range(rounds + 1):
            row = {}
            for width in ROWS:
                row[width] = seconds(cache, Step(branch, following[:width], range(width)))
                cache.trim(branch, len(context))
            found.append(row)
    finally:
        cache.release(branch)
        cache.drop(branch)
    import statistics

    ratios = [statistics.median(row[width] / row[1] for row in found[1:]) for width in ROWS]  # the first is warm-up
    # A wider pass is never really cheaper.
    return PassCosts(dict(zip(ROWS, accumulate(ratios, max), strict=True)))


def seconds(cache: KVCache, step: Step) -> float:
    """The time of a pass until its logits are available. Raises Interrupted."""
    started = time.perf_counter()
    if not cache.run([step]):
        raise Interrupted
    cache.context.logits_address(-1)  # waits for a GPU
    return time.perf_counter() - started


def place(processor: str, threads: int, gpu_layers: int | None, *, own_products: bool) -> str:
    """Names a way of running a model on a machine. gpu_layers, own_products: as the user set it."""
    own = ["own kernels"] if own_products and llama().without_own_products is None else []
    gpus = [name for name, _, _ in gpu_devices()]
    layers = [] if gpu_layers is None else [f"{gpu_layers} layers on the GPU"]
    return ", ".join([processor, *gpus, f"{threads} threads", *layers, *own])


def load_costs(file: Path, place: str) -> PassCosts | None:
    """The costs in a file for this place; None without any. Raises CgcliError for a damaged file."""
    try:
        known = _read(file)
    except (OSError, ValueError) as error:
        raise CgcliError(f"{file} is damaged: {error}", hint="cgcli bench") from error
    return PassCosts(known[place]) if place in known else None


def store_costs(file: Path, place: str, costs: PassCosts) -> None:
    """Store costs in a file, which keeps those of other places. Raises CgcliError if writing fails."""
    import json

    from cgcli.core.files import write_atomic

    try:
        known = dict(_read(file))
    except (OSError, ValueError):
        known = {}
    known[place] = {rows: round(cost, 3) for rows, cost in costs.measured.items()}
    write_atomic(file, json.dumps(known, indent=2).encode() + b"\n")


def _read(file: Path) -> Mapping[str, Mapping[int, float]]:
    """The contents of a file, empty if it does not exist. Raises OSError, ValueError."""
    if not file.exists():
        return {}
    from cgcli.core.reading import parse_json, read_bytes
    from cgcli.core.typed import typed

    known = typed(dict[str, dict[str, float]], parse_json(read_bytes(file)), "it")
    return {place: dict(_checked(costs)) for place, costs in known.items()}


def _checked(costs: Mapping[str, float]) -> Iterator[tuple[int, float]]:
    """Raises ValueError for impossible costs, which would cause passes that never pay."""
    found = sorted((int(rows), float(cost)) for rows, cost in costs.items())
    if found[:1] != [(1, 1.0)] or len(found) < 2 or not all(a[1] <= b[1] < 1e3 for a, b in pairwise(found)):
        raise ValueError(f"costs of passes are {costs!r:.80}")
    return iter(found)
