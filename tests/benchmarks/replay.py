"""What the guards see in samples that CodeGen-16B wrote for HumanEval, and how many pass where none sees a fault.

    python -m tests.benchmarks.replay humaneval-codegen16b.jsonl.gz [--workers N]

Every sample (microsoft/CodeT, MIT; the prompts lack the docstrings' examples) goes through truncation and a guard as if
it were drawn just now, except that nothing is drawn again. The judge is that of `cgcli eval humaneval --judge`; its
verdicts are kept in build/replay/, and the first run takes about half an hour. Beside it, the guards read the standard
library, which has no faults. The last line is JSON.
"""

from __future__ import annotations

import ast
import functools
import platform
import random
import re
import statistics
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from cgcli.engine.protocol import Engine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.evals.humaneval import HumanEvalTask
from cgcli.evals.passk import bootstrap_mean
from cgcli.evals.samples import read_rows
from cgcli.native.sample import Sampling
from cgcli.program.faults import Syntax, looping, visible_fault
from cgcli.program.generation import Generation
from cgcli.program.guard import Guard
from cgcli.program.languages import parse_python
from cgcli.program.program import GuardFacts
from cgcli.program.source import encode, lines_of
from cgcli.program.truncate import CODEGEN, truncate
from tests.benchmarks.report import command_line, machine, print_facts, table
from tests.benchmarks.verdicts import Verdicts
from tests.program.fake import ScriptedEngine
from tests.support.draining import drain

GENERATION = Generation(Sampling(temperature=0.8, top_p=0.95), 10_000, CODEGEN, guard=True)

_BAR = re.compile(r"([^\w\s]|_)\1{88}")
_LIBRARY_FILES = 500
_LIBRARY_LINES = 60  # of a file, from a random one on
_LIBRARY_FUNCTIONS = 3000


@dataclass(frozen=True, eq=False)
class Replay:
    """A sample as a guard sees it."""

    task: HumanEvalTask
    text: str  # as truncation leaves it
    guard: str  # the one that cuts first, or ""; "call": a function is defined next that it calls
    stands: str  # the text before the cut, with the imports that it lacks
    imports: tuple[str, ...]
    seen: int  # characters of the sample that were drawn by then

    @property
    def is_bar(self) -> bool:
        return self.guard == "degenerate" and bool(_BAR.match(self.text, len(self.stands)))

    @functools.cached_property
    def bar_behind_code(self) -> str | None:
        """What stands before a bar, if it has no visible fault."""
        text = f"{self.stands.rstrip()}\n"
        return text if self.is_bar and visible_fault(self.task.prompt, text) is None else None

    @property
    def whole(self) -> str | None:
        """What stands, if it has no visible fault."""
        return self.bar_behind_code if self.guard else self.stands

    @property
    def kind(self) -> str:
        """What happens to it, in a few words."""
        if self.is_bar:
            return "a bar behind code that stands" if self.bar_behind_code else "degenerate: a bar"
        return {
            "": "nothing, but imports are written" if self.imports else "nothing",
            "degenerate": "degenerate: a loop",
            "call": "names: only functions, which could be defined next",
            "end": "end: the limit",
        }.get(self.guard, self.guard)


def replay(task: HumanEvalTask, sample: str) -> Replay:
    """What a guard does to a sample as it is drawn, a character a token."""
    engine, prompt = ScriptedEngine([sample], width=1), encode(task.prompt)
    request = Request(prompt, GENERATION.sampling, Stops, GENERATION.max_tokens)
    guard = Guard(cast(Engine, engine), GENERATION, request, task.prompt)
    _, drawn = drain(engine.stream(guard.request))
    text = truncate(sample)
    unfinished = drawn.finish_reason != "stop" and Syntax(task.prompt).ended(text)
    following = guard.follow(replace(drawn, finish_reason="length" if unfinished else "stop"))
    facts = guard.facts or GuardFacts()
    cut = facts.cuts[0].guard if facts.cuts else "call" if following else ""
    return Replay(task, text, cut, guard.text, facts.imports, drawn.trace[-1].end if drawn.trace else 0)


# --- what is counted

Passes = Callable[[HumanEvalTask, str], bool]


def by_guard(replays: Sequence[Replay], passes: Passes) -> list[tuple[str, int, int, int]]:
    """What happens, in how many samples, and how many of those pass: as drawn, and as they stand."""
    found = Counter(one.kind for one in replays)
    drawn = Counter(one.kind for one in replays if passes(one.task, one.text))
    standing = Counter(one.kind for one in replays if one.whole is not None and passes(one.task, one.whole))
    return [(kind, count, drawn[kind], standing[kind]) for kind, count in found.most_common()]


def bars(replays: Sequence[Replay]) -> dict[str, int]:
    """How many samples have a bar, in how many a line before it is cut, and after how many of its characters the others
    are at most."""
    found = [(one, bar.start()) for one in replays if (bar := _BAR.search(one.text))]
    earlier = sum(one.guard != "" and one.seen <= begin for one, begin in found)
    cut = [one.seen - begin for one, begin in found if one.is_bar and len(one.stands) == begin]
    return {"bars": len(found), "cut": len(cut), "cut before": earlier, "characters": max(cut, default=0)}


def unparsed(replays: Sequence[Replay]) -> Counter[str]:
    """The samples that do not compile, by the guard that cuts them."""
    return Counter(one.guard for one in replays if Syntax("").ended(one.task.prompt + one.text))


def pass_at_1(replays: Iterable[Replay], text: Callable[[Replay], str | None], passes: Passes) -> dict[str, float]:
    """Of each task, the share that passes of the samples that have such a text."""
    tasks: dict[str, list[bool]] = defaultdict(list)
    for one in replays:
        if (found := text(one)) is not None:
            tasks[one.task.id].append(passes(one.task, found))
    return {task: statistics.mean(found) for task, found in tasks.items()}


def _as_drawn(one: Replay) -> str | None:
    return one.text


def _faultless(one: Replay) -> str | None:
    return one.whole if not one.imports else None


def _mended(one: Replay) -> str | None:
    return one.whole


def _untouched(one: Replay) -> str | None:
    return None if one.guard else one.whole


SHARES: dict[str, Callable[[Replay], str | None]] = {
    "all": _as_drawn,
    "without a visible fault": _faultless,
    "with missing imports written": _mended,
    "… and without code that a bar follows": _untouched,
}


# --- the standard library


def library(seed: int = 0) -> Iterator[str]:
    """The files of the standard library that parse, without its tests, in random order."""
    folder = Path(sysconfig.get_path("stdlib"))
    away = {"site-packages", "test", "tests", "idle_test", "lib2to3"}
    files = sorted(path for path in folder.rglob("*.py") if not away & set(path.parts))
    random.Random(seed).shuffle(files)
    for path in files:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        if parse_python(text):
            yield text


def dead_prefixes(texts: Iterable[str], rng: random.Random) -> tuple[int, int]:
    """Line prefixes of programs, each behind what stands before a random line, and how many are called dead."""
    asked = dead = 0
    for text in texts:
        lines = lines_of(text)
        first = rng.randrange(len(lines)) if lines else 0
        syntax, drawn = Syntax("".join(lines[:first])), ""
        for line in lines[first : first + _LIBRARY_LINES]:
            drawn += line
            asked += 1
            dead += syntax.dead(drawn) is not None
    return asked, dead


def looping_functions(texts: Iterable[str], most: int) -> tuple[int, int]:
    """Functions, and how many of them are called a loop."""
    asked = loops = 0
    for text in texts:
        lines = lines_of(text)
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and asked < most:
                asked += 1
                own = lines[node.lineno - 1 : node.end_lineno]
                loops += any(looping("".join(own[: number + 1])) for number in range(len(own)))
    return asked, loops


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workers", type=int, default=1, help="programs that are judged at a time")
    options = parser.parse_args()
    replays, begun = [], time.process_time()
    for row in read_rows(options.data):
        task = HumanEvalTask(row["task_id"], row["prompt"], row["entry_point"], row["test"])
        replays += [replay(task, sample) for sample in row["samples"]]
    cost = 1000 * (time.process_time() - begun) / len(replays)
    verdicts = Verdicts(workers=options.workers)
    texts = {(one.task, found) for one in replays for share in SHARES.values() if (found := share(one)) is not None}
    verdicts.judge(sorted(texts, key=lambda pair: (pair[0].id, pair[1])))
    print(f"{machine()}; Python {platform.python_version()}")
    print(f"{len(replays)} samples, {cost:.1f} ms of processor time each\n")

    guards = by_guard(replays, verdicts.passed)
    rows = [(kind, *map(str, numbers), f"{100 * numbers[0] / len(replays):.1f}") for kind, *numbers in guards]
    print(table(("a guard cuts", "samples", "pass as drawn", "pass as they stand", "%"), rows))
    passing = sum(drawn for _, _, drawn, _ in guards)
    named = sum(drawn for kind, _, drawn, _ in guards if kind.startswith("names"))
    print(f"of {passing} that pass, {named} ({100 * named / passing:.2f} %) lack a name\n")
    of_bars, of_unparsed = bars(replays), unparsed(replays)
    print("; ".join(f"{name}: {count}" for name, count in of_bars.items()))
    which = ", ".join(f"{name or 'nothing'}: {count}" for name, count in of_unparsed.most_common())
    print(f"{of_unparsed.total()} do not compile; what cuts them: {which}\n")
    shares = {name: pass_at_1(replays, share, verdicts.passed) for name, share in SHARES.items()}
    every = shares["all"]
    rows = []
    for name, share in SHARES.items():
        number = sum(share(one) is not None for one in replays)
        times = bootstrap_mean([(found, every[task]) for task, found in shares[name].items()])
        low, high = times.interval or (times.value, times.value)
        mean = 100 * statistics.mean(shares[name].values())
        rows.append((name, str(number), f"{mean:.1f}", f"{times.value:.2f} ({low:.2f} to {high:.2f})"))
    print(table(("samples that count", "number", "pass@1, %", "times, 95 % interval"), rows))
    cured = [one for one in replays if one.imports and not one.guard]
    cures = sum(verdicts.passed(one.task, one.stands) for one in cured)
    print(f"imports are written into {len(cured)} samples; {100 * cures / len(cured):.0f} % of them pass with these\n")

    files = list(library())[:_LIBRARY_FILES]
    prefixes, dead = dead_prefixes(files, random.Random(0))
    functions, loops = looping_functions(files, _LIBRARY_FUNCTIONS)
    print(f"standard library: {dead} of {prefixes} line prefixes dead, {loops} of {functions} functions a loop\n")
    means = {name: statistics.mean(found.values()) for name, found in shares.items()}
    print_facts(
        "replay",
        guards=guards,
        ms=round(cost, 2),
        bars=of_bars,
        unparsed=of_unparsed,
        pass_at_1=means,
        cured=[len(cured), cures],
        dead=[dead, prefixes],
        loops=[loops, functions],
    )


if __name__ == "__main__":
    main()
