"""MTPB in several turns, as in the paper, with guards, and with guards and `--until runs`: how many programs end in an
exception, and how many pass.

    nice python -m tests.benchmarks.until --mtpb FILE --rows FILE [--problems K] [--inputs N] [--sides SIDE...]

The sides draw the same programs with the same seed, one after the other, as `cgcli eval mtpb` does; a draft that two of
them draw is drawn once. Results go to the rows file, one JSON object a line, and a run that was killed goes on there. A
program is run as it is. It is judged by the paper's rules, for which the last print counts whatever happened after it,
and by the strict ones, for which a program that failed does not pass. The K problems lie evenly among all 115; they are
drawn in a random order, so that a part of a run is a sample, too. N of the five inputs of each are taken. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cgcli.core.errors import ContextError
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.evals import mtpb
from cgcli.evals.mtpb_judge import MTPBCheck, MTPBRules
from cgcli.evals.passk import Mean, bootstrap_mean
from cgcli.hub.catalog import load_catalog
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import Program, Turn
from cgcli.program.session import Reading, Session, drain
from cgcli.program.source import encode
from cgcli.program.truncate import CODEGEN
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.until import Patience, Until
from cgcli.sandbox.verdict import Verdict
from tests.benchmarks.evaluation import evenly
from tests.benchmarks.report import EMBEDDED, machine, table

SIDES = ("paper", "guards", "until runs")
SYNTAX_AND_NAMES = {"SyntaxError", "IndentationError", "TabError", "NameError", "UnboundLocalError"}
SAMPLING = Sampling(temperature=0.2, top_p=0.95)


@dataclass(frozen=True)
class Result:
    """What came of a program."""

    problem: str
    case: int
    side: str
    text: str
    outcome: str  # of the program as it is
    detail: str
    silent: bool
    passed: bool  # by the paper's rules
    drafts: int  # of all turns
    turns: int
    tokens: int
    draw_s: float
    run_s: float  # of the tries; 0 without any
    strictly: bool = False  # passed by the strict rules

    @property
    def kind(self) -> str:
        """The class of the exception."""
        return self.detail.partition(":")[0].partition(",")[0]

    @property
    def failed(self) -> bool:
        """Whether it ended in an exception."""
        return self.outcome in ("exception", "denied", "memory", "exit", "crash", "processes")


class SharedSession(Session):
    """A session that draws each draft once, for both sides."""

    drawn: dict[tuple[bool, bytes, str, int], Turn]

    def draw(self, reading: Reading, first: int = 0) -> Generator[Any, None, Turn]:
        key = self.generation.guard, reading.plan.context, reading.plan.keep, first
        if key not in self.drawn:
            self.drawn[key] = yield from super().draw(reading, first)
        return self.drawn[key]


class Runner:
    """Runs programs, and counts the seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, program: Program, policy: Policy, checks: Sequence[str]) -> Verdict:
        verdict = run(encode(program.source()), checks=checks, policy=policy)
        self.seconds += verdict.wall_s
        return verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mtpb", type=Path, metavar="FILE", required=True)
    parser.add_argument("--rows", type=Path, metavar="FILE", required=True)
    parser.add_argument("--problems", type=int, default=115)
    parser.add_argument("--inputs", type=int, default=1)
    parser.add_argument("--tries", type=int, default=Patience.tries)
    parser.add_argument("--seconds", type=float, default=Patience.seconds)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    done = [Result(**json.loads(line)) for line in _lines(options.rows)]
    problems = evenly(mtpb.load_problems(options.mtpb), options.problems)
    cases = [
        case
        for number in range(options.inputs)
        for problem in problems
        for case in list(problem.cases())[number : number + 1]
    ]
    if not options.only_report:
        random.Random(0).shuffle(cases)
        known = {(one.problem, one.case) for one in done}
        waiting = [case for case in cases if (case.problem.id, case.number) not in known]
        with options.rows.open("a") as file:
            for results in drawn(waiting, options.sides, Patience(options.tries, options.seconds)):
                file.write("".join(json.dumps(asdict(one)) + "\n" for one in results))
                file.flush()
                done += results
                print(f"{len(done) // len(options.sides)} programs", file=sys.stderr)
    report(done, options.sides)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def drawn(cases: Sequence[mtpb.Case], sides: Sequence[str], patience: Patience) -> Iterator[list[Result]]:
    """The results of the sides, program by program."""
    card = load_catalog().get("smollm2-135m")
    generation = Generation(SAMPLING, rules=CODEGEN, stops=card.stop if card else ())
    with LlamaEngine(EMBEDDED, EngineOptions(), interrupt=Interrupt()) as engine:
        session = SharedSession(engine, Program(), generation, model="smollm2-135m", fold=False)
        for case in cases:
            session.drawn = {}
            results = []
            for side in sides:
                session.generation = replace(
                    generation, max_tokens=case.problem.max_tokens, guard=side != "paper", redraws=0
                )
                results.append(grown(session, case, side, patience))
            yield results


def grown(session: Session, case: mtpb.Case, side: str, patience: Patience) -> Result:
    """A program, drawn and judged."""
    runner = Runner()
    until = Until(session, runner, Policy(), patience, say=lambda words: print(f"  {words}", file=sys.stderr))
    session.program = Program(mtpb.PREFIX, (), mtpb.LAYOUT)
    turns: list[Turn] = []
    print(f"#{case.problem.id} {side}", file=sys.stderr)
    for prompt in case.prompts:
        try:
            reading = session.read(session.plan(prompt))
        except ContextError:
            break
        turn: Turn = drain((until.draw if side == "until runs" else session.draw)(reading))
        turns.append(turn)
        session.program = session.program.add(turn)
    text = session.program.source()
    verdict = run(encode(text), policy=Policy())
    return Result(
        case.problem.id,
        case.number,
        side,
        text,
        verdict.outcome,
        verdict.detail,
        verdict.silent,
        passes(text, case.expected, MTPBRules("paper")),
        sum(len(turn.candidates) for turn in turns),
        len(turns),
        sum(candidate.tokens for turn in turns for candidate in turn.candidates),
        sum(turn.facts.seconds for turn in turns if turn.facts),
        runner.seconds,
        passes(text, case.expected, MTPBRules("strict")),
    )


def passes(text: str, expected: Any, rules: MTPBRules) -> bool:
    check = MTPBCheck(text, expected, rules)
    return check.result(run(check.source, policy=check.policy)).passed


def report(results: Sequence[Result], sides: Sequence[str]) -> None:
    by_side = {side: [one for one in results if one.side == side] for side in sides}
    first, last = by_side[sides[0]], by_side[sides[-1]]
    if not first:
        return
    kinds: dict[str, Callable[[Result], bool]] = {
        "end in an exception": lambda one: one.failed,
        "of these SyntaxError, NameError": lambda one: one.failed and one.kind in SYNTAX_AND_NAMES,
        "over the time limit": lambda one: one.outcome in ("cpu time", "wall time", "output limit"),
        "run and print nothing": lambda one: one.outcome == "passed" and one.silent,
        "print nothing at all": lambda one: one.silent,
        "pass, paper's rules": lambda one: one.passed,
        "pass, strict rules": lambda one: one.strictly,
    }
    rows = []
    facts: dict[str, Any] = {}
    for name, is_so in kinds.items():
        means = [share(by_side[side], is_so) for side in sides]
        change = share_change(first, last, is_so)
        rows.append((f"{name}, %", *map(words, means), words(change, signed=True)))
        facts[name] = [100 * mean.value for mean in (*means, change)]
    numbers: dict[str, Callable[[Result], tuple[float, int]]] = {
        "drafts a turn": lambda one: (one.drafts, one.turns),
        "tokens a program": lambda one: (one.tokens, 1),
        "seconds a program, drawing": lambda one: (one.draw_s, 1),
        "seconds a program, running": lambda one: (one.run_s, 1),
    }
    for name, number in numbers.items():
        ratios = [
            sum(number(one)[0] for one in some) / sum(number(one)[1] for one in some) for some in by_side.values()
        ]
        rows.append((name, *(f"{one:.2f}" for one in ratios), f"{ratios[-1] / ratios[0]:.2f} ×" if ratios[0] else ""))
        facts[name] = ratios
    left = Counter(one.kind for one in last if one.failed)
    print(f"{machine()}; {EMBEDDED.name}, {len(last)} programs\n")
    print(table(("", *sides, "last against first"), rows))
    print(f"left: {', '.join(f'{count} {kind}' for kind, count in left.most_common())}")
    print(json.dumps({"benchmark": "until", "programs": len(last), **facts}))


def share(results: Sequence[Result], is_so: Callable[[Result], bool]) -> Mean:
    clusters: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one in results:
        clusters[one.problem][0] += is_so(one)
        clusters[one.problem][1] += 1
    return bootstrap_mean([(total, size) for total, size in clusters.values()])


def share_change(before: Sequence[Result], after: Sequence[Result], is_so: Callable[[Result], bool]) -> Mean:
    """The difference of two sides, paired by problem."""
    clusters: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for sign, results in ((-1, before), (1, after)):
        for one in results:
            clusters[one.problem][0] += sign * is_so(one)
            clusters[one.problem][1] += sign > 0
    return bootstrap_mean([(total, size) for total, size in clusters.values()])


def words(mean: Mean, *, signed: bool = False) -> str:
    sign = "+" * signed
    interval = mean.interval and f" ({100 * mean.interval[0]:{sign}.1f} to {100 * mean.interval[1]:{sign}.1f})"
    return f"{100 * mean.value:{sign}.1f}{interval or ''}"


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
