"""How often the candidate that a rule picks passes HumanEval, beside a random one.

    python -m tests.benchmarks.picks codet ROWS.jsonl.gz             # CodeGen-16B's samples and tests, from CodeT
    python -m tests.benchmarks.picks live HumanEval.jsonl.gz MODEL.gguf ROWS.jsonl.gz

`codet` picks among samples that Microsoft published: 16 of them (six pools of each task) and all 100, with the calls of
40 texts of assertions. `live` draws 16 candidates at temperature 0.6 with a model of yours, with guards, for the 40
tasks that CodeGen-16B solves most often (others follow with `--tasks`), and picks with the functions of `gen --pick`
(16 texts of assertions). Everything drawn, called and judged is kept in build/; a run that was stopped goes on. Ties
count as a random pick among them. Intervals are of a bootstrap over tasks, of differences paired by task. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import re
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgcli.core.errors import Interrupted
from cgcli.evals.humaneval import HumanEvalTask, load_tasks
from cgcli.evals.judging import worker_count
from cgcli.evals.passk import bootstrap_mean
from cgcli.evals.samples import read_rows
from cgcli.program.assertions import assertions, draw_assertions, function_under_test
from cgcli.program.faults import visible_fault
from cgcli.program.languages import parse_python
from cgcli.program.reviewer import review
from cgcli.program.source import digest, encode
from cgcli.program.truncate import truncate
from cgcli.sandbox.calls import call_function
from cgcli.sandbox.policy import Policy
from tests.benchmarks.report import machine, table
from tests.benchmarks.verdicts import Verdicts

TEXTS = 40  # of assertions in `codet`, each with five at most, as CodeT takes them
EACH = 5
FEW = 16  # texts, as `gen` draws
CALLED = Path("build/picks-called.jsonl")
DRAWN = Path("build/picks-drawn.jsonl")
TASKS, CANDIDATES, TEMPERATURE = 40, 16, 0.6


@dataclass(frozen=True)
class Candidate:
    """A sample, and what is known of it."""

    text: str  # truncated
    passes: bool
    sound: bool  # without a visible fault
    values: tuple[str, ...]  # what the calls returned; "" for an error, "None" for None
    few: int = 0  # how many of the calls are in the first FEW texts of assertions
    held: tuple[bool, ...] = ()  # the assertions that hold
    mean: float = 0.0  # log-probability of a token
    tokens: int = 0
    usual: tuple[bool, ...] = ()  # parses and complete, for the ranking by `mean`
    review: float = 0.0  # log p(prompt | code)

    @property
    def total(self) -> float:
        """The log-probability of the whole completion."""
        return self.mean * self.tokens


Rule = Callable[[Sequence[Candidate]], Sequence[Candidate]]
"""Returns the candidates that are equally good."""


def sound(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    return [one for one in pool if one.sound] or pool


def by(key: Callable[[Candidate], Any], pool: Sequence[Candidate]) -> list[Candidate]:
    best = max(map(key, pool))
    return [one for one in pool if key(one) == best]


def frequent(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    pool = sound(pool)
    counts = Counter(one.text for one in pool)
    return by(lambda one: counts[one.text], pool)


def vote(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    pool = sound(pool)
    counts = Counter(one.values for one in pool if any(value not in ("", "None") for value in one.values))
    return by(lambda one: counts[one.values], pool)


def vote_on_few(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    return vote([replace(one, values=one.values[: one.few]) for one in pool])


def codet(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    pool = sound(pool)
    counts = Counter(one.held for one in pool)
    return by(lambda one: counts[one.held] ** 0.5 * sum(one.held), pool)


def mass(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    """The most probable of the group whose texts are the most probable together."""
    pool = sound(pool)
    together: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for one in pool:
        if any(value not in ("", "None") for value in one.values):
            together[one.values][one.text] = math.exp(one.total)
    sums = {values: sum(texts.values()) for values, texts in together.items()}
    return probable(by(lambda one: sums.get(one.values, -1.0), pool))


def reviewer(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    return by(lambda one: one.review, sound(pool))


def probable(pool: Sequence[Candidate]) -> Sequence[Candidate]:
    return by(lambda one: one.total, sound(pool))


OFFLINE: dict[str, Rule] = {
    "random": lambda pool: pool,
    "no visible fault": sound,
    "most frequent text": frequent,
    f"vote on results, {FEW} texts": vote_on_few,
    "vote on results": vote,
    "CodeT": codet,
}
MEAN = "mean log-probability"
ONLINE: dict[str, Rule] = {
    "random": lambda pool: pool,
    MEAN: lambda pool: by(lambda one: (one.usual, one.mean), pool),
    "no visible fault": sound,
    "`probable`: the sum of log-probabilities": probable,
    "most frequent text": frequent,
    "vote on results": vote,
    "`tests`": lambda pool: probable(vote(pool)),
    "the vote, then the reviewer": lambda pool: reviewer(vote(pool)),
    "the group that is most probable, then `probable`": mass,
    "CodeT": codet,
    "CodeT, then `probable`": lambda pool: probable(codet(pool)),
    "`reviewer`": reviewer,
    "`reviewer` and `probable` added": lambda pool: by(lambda one: one.total + one.review, sound(pool)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("codet", "live"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tasks", type=int, metavar="N", help="only the first N; `live` takes 40 without")
    parser.add_argument("--threads", type=int, help="of the model")
    options = parser.parse_args()
    began = time.perf_counter()
    if options.side == "codet":
        report = _codet(options.files[0], options.tasks)
    else:
        data, model, rows = options.files
        report = _live(data, model, rows, options.tasks or TASKS, options.threads)
    print(json.dumps({"side": options.side, **report, "seconds": round(time.perf_counter() - began)}))


# --- the published samples


def _codet(path: Path, most: int | None) -> dict[str, Any]:
    rows = list(read_rows(path))[:most]
    tasks = {str(row["task_id"]): _task(row) for row in rows}
    samples = {name: [truncate(text) for text in row["samples"]] for name, row in zip(tasks, rows, strict=True)}
    verdicts = Verdicts(workers=worker_count())
    verdicts.judge((tasks[name], text) for name, texts in samples.items() for text in texts)
    pools: dict[str, list[Candidate]] = {}
    for name, row in zip(tasks, rows, strict=True):
        texts = [_joined("assert " + text) for text in row["test_samples"][:TEXTS]]
        pools[name] = candidates_of(tasks[name], samples[name], texts, verdicts)
    found: dict[str, Any] = {"tasks": len(pools)}
    for size in (CANDIDATES, 100):
        print(f"{size} samples, {TEXTS} texts of assertions, {len(pools)} tasks, {machine()}\n")
        found[str(size)] = _report(pools, OFFLINE, size, beside="random")
    return found


def _task(row: Mapping[str, Any]) -> HumanEvalTask:
    return HumanEvalTask(row["task_id"], row["prompt"], row["entry_point"], row["test"])


def _joined(text: str) -> str:
    """Assertions whose first line is only `assert`, as in most published ones, since the prompt ends in a blank."""
    return re.sub(r"^assert\s+", "assert ", text, flags=re.MULTILINE)


def candidates_of(
    task: HumanEvalTask,
    completions: Sequence[str],
    texts: Sequence[str],
    verdicts: Verdicts,
    facts: Sequence[Mapping[str, Any]] = (),
) -> list[Candidate]:
    """The samples of a task with what can be known of them; texts: of assertions."""
    name = task.entry_point
    asserted = [list(assertions(text, name))[:EACH] for text in texts]
    calls = list(dict.fromkeys(one.call for text in asserted for one in text))
    few = len({one.call for text in asserted[:FEW] for one in text})
    tests = list(dict.fromkeys(one.text for text in asserted for one in text))
    is_sound = {text: visible_fault(task.prompt, text) is None for text in set(completions)}
    called = _called(task, [text for text in is_sound if is_sound[text]], calls, tests)
    found = []
    for number, text in enumerate(completions):
        values = called.get(text, ("",) * (len(calls) + len(tests)))
        held = tuple(value == "1" for value in values[len(calls) :])
        more = facts[number] if facts else {}
        passes = verdicts.passed(task, text)
        found.append(Candidate(text, passes, is_sound[text], values[: len(calls)], few, held, **more))
    return found


_known: dict[str, tuple[str, ...]] = {}


def _called(
    task: HumanEvalTask, completions: Sequence[str], calls: Sequence[str], tests: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """What the calls, and the expressions of the assertions, returned in each program."""
    if not _known and CALLED.exists():
        _known.update((str(row["key"]), tuple(row["values"])) for row in read_rows(CALLED))
    expressions = [*calls, *map(_expression, tests)]
    keys = {text: digest(json.dumps([task.prompt + text, expressions])) for text in completions}
    missing = [text for text, key in keys.items() if key not in _known]

    def run(text: str) -> tuple[str, ...]:
        returned = call_function(encode(task.prompt + text), expressions, Policy()).returned
        return tuple(one.key if len(one.key) < 20 else f"#{zlib.crc32(one.key.encode()):08x}" for one in returned)

    CALLED.parent.mkdir(exist_ok=True)
    with ThreadPoolExecutor(worker_count()) as pool, CALLED.open("a", encoding="utf-8") as file:
        for text, values in zip(missing, pool.map(run, missing), strict=True):
            _known[keys[text]] = values
            file.write(json.dumps({"key": keys[text], "values": values}) + "\n")
    if missing:
        print(f"{task.id}: called {len(missing)} programs, {len(expressions)} expressions", file=sys.stderr, flush=True)
    return {text: _known[key] for text, key in keys.items()}


def _expression(test: str) -> str:
    """Whether an assertion holds, as an expression."""
    statement = ast.parse(test).body[0]
    assert isinstance(statement, ast.Assert)
    return f"bool({ast.unparse(statement.test)})"


# --- live


def _live(data: Path, model: Path, rows: Path, most: int, threads: int | None) -> dict[str, Any]:
    tasks = load_tasks(data)
    names = list(dict.fromkeys([*_easiest(rows), *tasks]))[:most]
    drawn = {str(row["task_id"]): row for row in read_rows(DRAWN)} if DRAWN.exists() else {}
    missing = [name for name in names if name not in drawn]
    if missing:
        with DRAWN.open("a", encoding="utf-8") as file:
            for row in _draw([tasks[name] for name in missing], model, threads):
                drawn[row["task_id"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(f"drawn: {row['task_id']}", file=sys.stderr, flush=True)
    samples = [(tasks[name], one["text"]) for name in names for one in drawn[name]["candidates"]]
    verdicts = Verdicts(workers=worker_count())
    verdicts.judge(samples)
    pools = {}
    for name in names:
        row = drawn[name]
        facts = [
            {
                "mean": one["mean"],
                "tokens": one["tokens"],
                "review": one["review"],
                "usual": (parse_python(tasks[name].prompt + one["text"]) is not None, one["end"] == "stop"),
            }
            for one in row["candidates"]
        ]
        texts = [one["text"] for one in row["candidates"]]
        pools[name] = candidates_of(tasks[name], texts, row["assertions"], verdicts, facts)
    print(f"{model.stem}, {CANDIDATES} candidates at T {TEMPERATURE}, {len(pools)} tasks, {machine()}\n")
    return _report(pools, ONLINE, CANDIDATES, beside=MEAN)


def _easiest(path: Path) -> list[str]:
    """The tasks of CodeT's rows, first those that CodeGen-16B solves most often."""
    verdicts = Verdicts(workers=worker_count())
    passed: dict[str, int] = {}
    for row in read_rows(path):
        task = _task(row)
        samples = [(task, truncate(text)) for text in row["samples"]]
        verdicts.judge(samples)
        passed[task.id] = sum(verdicts.passed(*sample) for sample in samples)
    return sorted(passed, key=lambda name: -passed[name])


def _draw(tasks: Iterable[HumanEvalTask], model: Path, threads: int | None) -> Iterator[dict[str, Any]]:
    """The candidates of each task, their reviews, and the texts of assertions, as `gen` draws them for a file."""
    from cgcli.engine.engine import EngineOptions, LlamaEngine
    from cgcli.native.interrupt import interruptible
    from cgcli.native.sample import Sampling
    from cgcli.program.generation import Generation
    from cgcli.program.program import Program
    from cgcli.program.session import Session, drain
    from cgcli.program.truncate import CODEGEN

    options = EngineOptions(threads=threads)
    with interruptible() as interrupt, LlamaEngine(model, options, interrupt=interrupt) as engine:
        how = Generation(Sampling(TEMPERATURE), 256, CODEGEN, ("```",), CANDIDATES, redraws=0, guard=True)
        for task in tasks:
            began = time.perf_counter()
            session = Session(engine, Program(task.prompt), how)
            plan = session.plan(None)
            turn = drain(session.draw(session.read(plan)))
            if turn.interrupted:
                raise Interrupted
            drew = time.perf_counter()
            texts = [one.text for one in turn.candidates]
            function = function_under_test(task.prompt, texts)
            asked = draw_assertions(session, plan, function) if function else []
            tested = time.perf_counter()
            distinct = [text for text in dict.fromkeys(texts) if visible_fault(task.prompt, text) is None]
            reviews = (review(session, plan, distinct) if distinct else None) or [0.0] * len(distinct)
            reviewed = dict(zip(distinct, reviews, strict=True))
            yield {
                "task_id": task.id,
                "candidates": [
                    {
                        "text": one.text,
                        "mean": one.mean_logprob or 0.0,
                        "tokens": one.tokens,
                        "end": one.finish_reason,
                        "review": reviewed.get(one.text, 0.0),
                    }
                    for one in turn.candidates
                ],
                "assertions": asked,
                "times": [drew - began, tested - drew, time.perf_counter() - tested],
            }


# --- the table


def _report(
    pools: Mapping[str, Sequence[Candidate]], rules: Mapping[str, Rule], size: int, *, beside: str
) -> dict[str, Any]:
    """Print pass@1 of each rule in percent, and its difference from another rule; returns the numbers."""
    scores: dict[str, list[float]] = defaultdict(list)
    for candidates in pools.values():
        parts = [candidates[at : at + size] for at in range(0, len(candidates) - size + 1, size)]
        for name, rule in rules.items():
            shares = [_share(rule(part)) for part in parts]
            scores[name].append(100 * sum(shares) / len(shares))
    found: dict[str, Any] = {}
    lines = []
    for name, values in scores.items():
        gain = bootstrap_mean([(one - other, 1) for one, other in zip(values, scores[beside], strict=True)])
        mean = sum(values) / len(values)
        base = sum(scores[beside]) / len(values)
        low, high = gain.interval or (0.0, 0.0)
        told = f"{gain.value:+.1f} ({low:+.1f} to {high:+.1f})" if name != beside else ""
        lines.append((name, f"{mean:.1f}", told, f"{mean / base:.2f}" if base and name != beside else ""))
        found[name] = {
            "pass": round(mean, 2),
            "gain": round(gain.value, 2),
            "interval": [round(low, 2), round(high, 2)],
        }
    print(table(("picked by", "pass@1, %", f"against {beside}, points", "times"), lines))
    return found


def _share(picked: Sequence[Candidate]) -> float:
    return sum(one.passes for one in picked) / len(picked)


if __name__ == "__main__":
    main()
