"""What wider passes cost a model on this machine: measured, and kept in a file that later runs read.

The file is JSON: for each way of running the model here (see `place`) its costs by their rows. What is done with them
is `drafting`'s.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from pathlib import Path

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.engine.binding import gpu_devices
from cgcli.engine.cache import KVCache, Step
from cgcli.engine.drafting import PassCosts

ROWS = (1, 2, 3, 4, 6, 8, 16)


def measure(cache: KVCache, tokens: list[int], *, rounds: int) -> PassCosts:
    """Passes over `tokens`, the last of them again and again in rows of every number, in turn.

    A cost is the median of ratios, each of two passes of one round. Raises Interrupted, ContextError.
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
    ratios = [statistics.median(row[width] / row[1] for row in found[1:]) for width in ROWS]  # the first is warm-up
    # A pass is never really cheaper than a narrower one.
    return PassCosts(dict(zip(ROWS, accumulate(ratios, max), strict=True)))


def seconds(cache: KVCache, step: Step) -> float:
    """Of a pass until its logits are there. Raises Interrupted."""
    started = time.perf_counter()
    if not cache.run([step]):
        raise Interrupted
    cache.context.logits_address(-1)  # a GPU may still be at work until then
    return time.perf_counter() - started


def place(processor: str, threads: int, gpu_layers: int | None) -> str:
    """What names a way of running a model on a machine. gpu_layers: as asked for."""
    gpus = [name for name, _, _ in gpu_devices()]
    layers = [] if gpu_layers is None else [f"{gpu_layers} layers on the GPU"]
    return ", ".join([processor, *gpus, f"{threads} threads", *layers])


def load(file: Path, place: str) -> PassCosts | None:
    """What the file has of this place; None where it has none. Raises CgcliError for a damaged file."""
    try:
        known = _read(file)
    except (OSError, ValueError) as error:
        raise CgcliError(f"{file} is damaged: {error}", hint="cgcli bench") from error
    return PassCosts(known[place]) if place in known else None


def store(file: Path, place: str, costs: PassCosts) -> None:
    """Put it into the file, beside what that has of other places. Raises CgcliError where the disk says no."""
    import json

    from cgcli.core.files import write_atomic

    try:
        known = dict(_read(file))
    except (OSError, ValueError):
        known = {}
    known[place] = {rows: round(cost, 3) for rows, cost in costs.measured.items()}
    write_atomic(file, json.dumps(known, indent=2).encode() + b"\n")


def _read(file: Path) -> Mapping[str, Mapping[int, float]]:
    """Nothing where there is no such file. Raises what is wrong with its bytes."""
    if not file.exists():
        return {}
    from cgcli.core.reading import parse_json, read_bytes
    from cgcli.core.typed import typed

    known = typed(dict[str, dict[str, float]], parse_json(read_bytes(file)), "it")
    return {place: dict(_checked(costs)) for place, costs in known.items()}


def _checked(costs: Mapping[str, float]) -> Iterator[tuple[int, float]]:
    """Raises ValueError for numbers that no machine has: a wrong one would make passes that are never worth it."""
    found = sorted((int(rows), float(cost)) for rows, cost in costs.items())
    if found[:1] != [(1, 1.0)] or len(found) < 2 or not all(a[1] <= b[1] < 1e3 for a, b in pairwise(found)):
        raise ValueError(f"costs of passes are {costs!r:.80}")
    return iter(found)
