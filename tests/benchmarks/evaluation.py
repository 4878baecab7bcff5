"""Drawing an evaluation's samples side by side, against the same samples one at a time.

    python -m tests.benchmarks.evaluation [--humaneval FILE] [--mtpb FILE] [--tasks K] [--problems K] [--rounds N]
    [--write]

FILE: the published data, if it is not in ../shared/data; a benchmark without is left out. HumanEval has five samples of
each of K tasks at T 0.2, MTPB one of each input of K problems, in several turns and in one; the tasks lie evenly among
all. Each side has the code that `cgcli eval` has, a fresh engine and its whole cache to itself, one with a single
sequence, guesses as usual; the sides take turns, and loading is not counted. The ratio is of samples a second, the
median of the rounds, which are counted from the first; at least 3 is aimed at. The last line is JSON.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.evals import humaneval, mtpb
from cgcli.evals.samples import Row, Shard
from cgcli.hub.catalog import load_catalog
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.truncate import CODEGEN
from tests.benchmarks.report import EMBEDDED, SHARED, command_line, in_turn, print_facts, publish, ratio, table

COMMAND = "make bench BENCH=evaluation"
AIM = 3.0
SIDES: dict[str, dict[str, Any]] = {"side by side": {"many": True}, "one at a time": {"sequences": 1}}
SAMPLES = 5
SAMPLING = Sampling(temperature=0.2, top_p=0.95)
TaskT = TypeVar("TaskT")
Draw = Callable[[LlamaEngine], Iterator[Row]]


@dataclass(frozen=True)
class Rate:
    """What a side drew in `seconds`."""

    samples: int
    tokens: int
    seconds: float

    @property
    def samples_per_s(self) -> float:
        return self.samples / self.seconds

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--humaneval", type=Path, metavar="FILE", default=there(SHARED / "HumanEval.jsonl.gz"))
    parser.add_argument("--mtpb", type=Path, metavar="FILE", default=there(SHARED / "mtpb.jsonl"))
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    options = parser.parse_args()
    card = load_catalog().get("smollm2-135m") if options.model == EMBEDDED else None
    generation = Generation(SAMPLING, rules=CODEGEN, stops=card.stop if card else ())
    draws: dict[str, Draw] = {}
    if options.humaneval:
        draws["HumanEval"] = of_humaneval(options.humaneval, options.tasks, generation)
    if options.mtpb:
        draws["MTPB"] = of_mtpb(options.mtpb, options.problems, generation)
    rows, facts = [], {}
    for name, draw in draws.items():
        sides = measured(name, draw, options.model, options.rounds)
        together, alone = ([rate.samples_per_s for rate in rates] for rates in sides.values())
        times = ratio(together, alone)
        medians = {
            side: {
                "samples_per_s": statistics.median(rate.samples_per_s for rate in rates),
                "tokens_per_s": statistics.median(rate.tokens_per_s for rate in rates),
            }
            for side, rates in sides.items()
        }
        for side, found in medians.items():
            numbers = (f"{found['samples_per_s']:.2f}", f"{found['tokens_per_s']:.0f}")
            rows.append((name, side, str(sides[side][0].samples), *numbers))
        rows.append((name, f"ratio, ≥ {AIM:g} is aimed at", "", f"{times:.2f}", ""))
        facts[name] = {**medians, "samples": sides["side by side"][0].samples, "times": times}
    text = table(("", "", "samples", "samples/s", "tokens/s"), rows)
    publish(COMMAND, text, f"{options.model.name}, {options.rounds} rounds", write=options.write)
    print_facts("evaluation", aim=AIM, **facts)


def there(path: Path) -> Path | None:
    return path if path.exists() else None


def of_humaneval(path: Path, count: int, generation: Generation) -> Draw:
    tasks = dict(evenly(list(humaneval.load_tasks(path).items()), count))
    plan = humaneval.SamplePlan(SAMPLES, (SAMPLING.temperature,), generation)
    keys = list(plan.keys(list(tasks)))
    return partial(humaneval.draw_rows, keys=keys, tasks=tasks, plan=plan, facts={})


def of_mtpb(path: Path, count: int, generation: Generation) -> Draw:
    specs = [
        mtpb.SampleSpec(case, turns, 0)
        for problem in evenly(mtpb.load_problems(path), count)
        for case in problem.cases()
        for turns in get_args(mtpb.Turns)
    ]
    return partial(mtpb.draw_rows, specs=specs, generation=generation, facts={}, expected=specs)


def evenly(tasks: Sequence[TaskT], count: int) -> list[TaskT]:
    return Shard(1, max(1, len(tasks) // count)).part(tasks)[:count]


def measured(name: str, draw: Draw, model: Path, rounds: int) -> dict[str, list[Rate]]:
    """The rates of each side, by round."""
    sides: dict[str, list[Rate]] = {side: [] for side in SIDES}
    for number in range(rounds):
        in_turn(number, [partial(once, name, side, draw, model, sides[side]) for side in SIDES])
    return sides


def once(name: str, side: str, draw: Draw, model: Path, rates: list[Rate]) -> float:
    with LlamaEngine(model, EngineOptions(**SIDES[side]), interrupt=Interrupt()) as engine:
        began = time.perf_counter()
        rows = list(draw(engine))
        rate = Rate(len(rows), sum(row["tokens"] for row in rows), time.perf_counter() - began)
    rates.append(rate)
    print(f"{name}, {side}: {rate.samples_per_s:.2f} samples/s, {rate.tokens_per_s:.0f} tokens/s", file=sys.stderr)
    return rate.samples_per_s


if __name__ == "__main__":
    main()
