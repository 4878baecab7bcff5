"""Tokens/s over the context: passes with cgcli's own kernels beside those that llama-cpp-python makes, on one model.

    python -m tests.benchmarks.context [--shape 350m|2b] [--rounds N] [--write]

A pass carries a token, or sixteen, behind a context of so many tokens. Each number is the fastest of its rounds, in
which the sides take turns: what disturbs a pass only ever slows it down. --write
also draws docs/context.svg. The last line is JSON.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from cgcli.engine.context import Context, Row
from cgcli.engine.model import Model
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model
from tests.benchmarks.report import MEASUREMENTS, command_line, machine, measured, print_facts, publish, seconds, table

COMMAND = "make bench BENCH=context"
CONTEXTS = (0, 128, 256, 512, 768, 1024, 1536, 2032)  # tokens; CodeGen's window has 2,048
WIDTHS = (1, 16)
OURS, THEIRS = "cgcli", "llama-cpp-python"
PIECE = 512

Rates = Mapping[int, Mapping[str, list[float]]]
"""By width and side: tokens/s at each of CONTEXTS."""


def rates(path: Path, rounds: int) -> Rates:
    found: dict[int, dict[str, list[float]]] = {width: {OURS: [], THEIRS: []} for width in WIDTHS}
    with ExitStack() as opened:
        sides = {}
        for name in (OURS, THEIRS):
            loaded = opened.enter_context(Model.load(path, gpu_layers=0, own_products=name == OURS))
            sides[name] = opened.enter_context(Context(loaded, n_ctx=2048))
        tokens = random.Random(0).choices(range(256, 50_000), k=max(CONTEXTS) + max(WIDTHS))
        for start, end in zip((0, *CONTEXTS), CONTEXTS, strict=False):
            for context in sides.values():
                for at in range(start, end, PIECE):
                    context.decode(tokens[at : min(at + PIECE, end)], at=at)
            for width in WIDTHS:
                calls = {name: partial(one_pass, side, tokens, end, width) for name, side in sides.items()}
                for name, times in measured(calls, rounds).items():
                    found[width][name].append(width / min(times))
    return found


def one_pass(context: Context, tokens: list[int], at: int, width: int) -> float:
    """Seconds of a pass, whose cells are freed again."""
    rows = [Row(tokens[at + index], at + index, wanted=True) for index in range(width)]
    took = seconds(partial(context.run, rows))
    context.remove(0, at)
    return took


def plot(found: Rates, title: str, target: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "cgcli", "font.size": 9}
    figure, panels = pyplot.subplots(1, len(WIDTHS), figsize=(8, 3), layout="constrained")
    for panel, (width, sides) in zip(panels, found.items(), strict=True):
        for (name, values), style in zip(sides.items(), ("C0o-", "C7s--"), strict=True):
            panel.plot(CONTEXTS, values, style, markersize=3, label=name)
        panel.set_title(f"{width} token{'s' if width > 1 else ''} a pass")
        panel.set_xlabel("tokens of context")
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("tokens/s")
    panels[0].legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--shape", choices=SHAPES, default="350m")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    path = model(SHAPES[arguments.shape])
    found = rates(path, arguments.rounds)
    head = ["tokens of context", *map(str, CONTEXTS)]
    lines = [
        [f"{width} a pass, {name}", *(f"{value:.1f}" for value in values)]
        for width, sides in found.items()
        for name, values in sides.items()
    ]
    conditions = f"{arguments.shape.upper()} shape, Q4_0, tokens/s, the fastest of {arguments.rounds} passes"
    publish(COMMAND, table(head, lines), conditions, write=arguments.write)
    if arguments.write:
        plot(found, f"{arguments.shape.upper()} shape, Q4_0, {machine()}", MEASUREMENTS.with_name("context.svg"))
    print_facts("context", contexts=CONTEXTS, tokens_per_s=found)


if __name__ == "__main__":
    main()
