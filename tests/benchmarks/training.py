"""cgcli's training step beside a plain PyTorch loop of the same shape, and each beside its own matrix product.

    python -m tests.benchmarks.training [--steps N] [--rounds N] [--threads N] [--context N]

The shape is nano's (models/recipes/nano.toml), float32. PyTorch's is transformers' CodeGen with AdamW, as it comes and
through torch.compile, with as many sequences a pass as cgcli takes, and with all. A side is a new process a round, in
turn; two steps of each are not counted. "Of its peak" is what share of the same library's speed at the product of two
1,024 x 1,024 matrices, in the same process, the model's operations have, as `cgcli train` counts them. The last line is
JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from cgcli.core.machine import thread_count
from cgcli.train.estimate import flops_a_token
from cgcli.train.recipe import read_recipe
from tests.benchmarks.peers import environment
from tests.benchmarks.report import ROOT, command_line, machine, measured, print_facts, ratio, table
from tests.benchmarks.sides.training import Answered, Asked

RECIPE = ROOT / "models/recipes/nano.toml"


@dataclass(frozen=True)
class Side:
    """A row. module: in tests/benchmarks/sides."""

    title: str
    module: str
    python: Path
    asked: Asked

    def measure(self) -> Answered:
        command = [str(self.python), "-m", f"tests.benchmarks.sides.{self.module}", json.dumps(asdict(self.asked))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.asked.threads)}
        done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{self.title} failed:\n{done.stderr}")
        return Answered(**json.loads(done.stdout.splitlines()[-1]))

    def tokens_per_s(self, answered: Answered) -> float:
        return self.asked.sequences * self.asked.context / statistics.median(answered.seconds)


def sides(steps: int, threads: int, context: int | None) -> list[Side]:
    """cgcli first."""
    recipe = read_recipe(RECIPE)
    shape, batch = recipe.model, recipe.batch
    asked = Asked(
        layers=shape.layers,
        width=shape.width,
        heads=shape.heads,
        rotary=shape.rotary,
        vocabulary=shape.vocabulary,
        context=context or shape.context,
        sequences=batch.sequences,
        together=batch.sequences // batch.accumulate,
        steps=steps,
        threads=threads,
    )
    torch = environment("transformers")
    found = [Side("cgcli train", "cgcli_training", Path(sys.executable), asked)]
    for name, compiled in (("PyTorch", False), ("torch.compile", True)):
        for together in (asked.together, asked.sequences):
            how = replace(asked, together=together, compiled=compiled)
            found.append(Side(f"{name}, {together} sequences a pass", "torch_training", torch, how))
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=thread_count())
    parser.add_argument("--context", type=int)
    arguments = parser.parse_args()
    columns = sides(arguments.steps, arguments.threads, arguments.context)
    recipe = read_recipe(RECIPE)
    work = flops_a_token(replace(recipe, model=replace(recipe.model, context=columns[0].asked.context)))
    shares: dict[str, list[float]] = {side.title: [] for side in columns}

    def measure(side: Side) -> float:
        answered = side.measure()
        speed = side.tokens_per_s(answered)
        shares[side.title].append(speed * work / answered.matmul_flops)
        print(f"{side.title}: {speed:.0f} tokens/s, {shares[side.title][-1]:.0%} of its peak", file=sys.stderr)
        return speed

    speeds = measured({side.title: partial(measure, side) for side in columns}, arguments.rounds, warm_up=0)
    ours = speeds[columns[0].title]
    found = {
        title: {
            "tokens_per_s": statistics.median(rates),
            "of_its_peak": statistics.median(shares[title]),
            "cgcli_is_faster_by": ratio(ours, rates),
        }
        for title, rates in speeds.items()
    }
    rows = [
        (title, f"{of['tokens_per_s']:.0f}", f"{of['of_its_peak']:.0%}", f"{of['cgcli_is_faster_by']:.2f}")
        for title, of in found.items()
    ]
    about = f"{machine()}; {arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps"
    print(table(("", "tokens/s", "of its peak", "cgcli is faster by"), rows) + about)
    print_facts("training", sides=found, about=about)


if __name__ == "__main__":
    main()
