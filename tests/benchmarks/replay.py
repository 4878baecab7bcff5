"""What the guards see in samples that CodeGen-16B wrote for HumanEval, and how many pass where none sees a fault.

    python -m tests.benchmarks.replay humaneval-codegen16b.jsonl.gz [--workers N]

Every sample (microsoft/CodeT, MIT; the prompts lack the docstrings' examples) goes through truncation and the guards as
if it were drawn just now, except that nothing is drawn again. The judge is that of `cgcli eval humaneval --judge`; its
verdicts are kept in build/replay/, and the first run takes about half an hour. Beside it, the guards read the standard
library, which has no faults. The last line is JSON.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import platform
import random
import re
import statistics
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgcli.evals.humaneval import HumanEvalTask
from cgcli.evals.samples import read_rows
from cgcli.program.faults import Fault, Syntax, is_empty, looping
from cgcli.program.languages import parse_python
from cgcli.program.names import Names, with_imports
from cgcli.program.source import lines_of
from cgcli.program.truncate import truncate
from tests.benchmarks.report import machine, table
from tests.benchmarks.verdicts import Verdicts

_BAR = re.compile(r"([^\w\s]|_)\1{88}")
_LONG = 80  # characters of a line; loops inside one are longer
_LIBRARY_FILES = 500
_LIBRARY_LINES = 60  # of a file, from a random one on
_LIBRARY_FUNCTIONS = 3000


@dataclass(frozen=True, eq=False)
class Replay:
    """A sample as the guards see it."""

    task: HumanEvalTask
    text: str  # as truncation leaves it
    fault: Fault | None  # the first one; guard "end": it is unfinished
    seen: int  # characters of the text when the fault showed
    stands: str  # the text before the fault; without one, the text with the imports that it lacks
    imports: tuple[str, ...]
    lacks: tuple[str, ...]  # names that the text as it was uses and nothing defines, if it parses

    @property
    def is_bar(self) -> bool:
        return self.fault is not None and bool(_BAR.match(self.text, self.fault.at))

    @functools.cached_property
    def bar_behind_code(self) -> bool:
        """Whether a bar was cut and what stands has no visible fault."""
        return self.is_bar and _first_fault(self.task.prompt, f"{self.stands.rstrip()}\n")[0] is None

    @property
    def whole(self) -> bool:
        """Whether what stands has no visible fault."""
        return self.fault is None or self.bar_behind_code

    @property
    def kind(self) -> str:
        """What happens to it, in a few words."""
        if self.fault is None:
            return "nothing, but imports are written" if self.imports else "nothing"
        if self.is_bar:
            return "a bar behind code that stands" if self.bar_behind_code else "a bar"
        return {"degenerate": "a loop", "end": "end: cut off"}.get(self.fault.guard, self.fault.guard)


def replay(task: HumanEvalTask, sample: str) -> Replay:
    """A sample, truncated, and its first fault."""
    text, before = truncate(sample), task.prompt
    fault, seen = _first_fault(before, text)
    stands, imports = (text[: fault.at], ()) if fault else with_imports(before, text)
    lacks = tuple(one.name for one in Names(before).missing(text))
    return Replay(task, text, fault, seen, stands, imports, lacks)


def _first_fault(before: str, text: str) -> tuple[Fault | None, int]:
    """The first fault in the order in which it shows, and the characters drawn by then, one by one in long lines."""
    syntax, end = Syntax(before), 0
    for line in lines_of(text):
        begin, end = end, end + len(line)
        for seen in (*range(begin + _LONG, end), end):
            if fault := looping(text[:seen]):
                return fault, seen
        if line.endswith("\n") and (fault := syntax.dead(text[:end])):
            return fault, end
    if syntax.ended(text):
        return Fault("end", syntax.compiles_up_to(text), "unfinished"), end
    missing = [one for one in Names(before).missing(text) if not one.cure]
    if missing:
        return Fault("names", missing[0].at, missing[0].name), end
    return Fault("empty", 0, "no statement") if is_empty(text) else None, end


# --- what is counted

Passes = Callable[[HumanEvalTask, str], bool]


def by_guard(replays: Sequence[Replay], passes: Passes) -> list[tuple[str, int, int, int]]:
    """What happens, in how many samples, and how many of those pass: as drawn, and as they stand."""
    found = Counter(one.kind for one in replays)
    drawn = Counter(one.kind for one in replays if passes(one.task, one.text))
    standing = Counter(one.kind for one in replays if one.whole and passes(one.task, one.stands))
    return [(kind, count, drawn[kind], standing[kind]) for kind, count in found.most_common()]


def bars(replays: Sequence[Replay]) -> dict[str, int]:
    """How many samples have a bar, in how many a line before it is dead, and after how many of its characters the
    others are cut at most."""
    found = [(one, bar.start()) for one in replays if (bar := _BAR.search(one.text))]
    earlier = sum(one.fault is not None and one.fault.at < begin and one.seen <= begin for one, begin in found)
    cut = [one.seen - begin for one, begin in found if one.fault and one.fault.at == begin]
    return {"bars": len(found), "cut": len(cut), "dead before": earlier, "characters": max(cut, default=0)}


def unparsed(replays: Sequence[Replay]) -> dict[str, int]:
    """The samples that do not compile, by the guard that sees it, and the unfinished ones that leave statements."""
    broken = [one for one in replays if Syntax("").ended(one.task.prompt + one.text)]
    unfinished = [one for one in broken if one.fault and one.fault.guard == "end"]
    return {
        "do not compile": len(broken),
        "syntax": sum(one.fault is not None and one.fault.guard == "syntax" for one in broken),
        "degenerate": sum(one.fault is not None and one.fault.guard == "degenerate" for one in broken),
        "unfinished": len(unfinished),
        "unfinished inside a line": sum(not one.text.endswith("\n") for one in unfinished),
        "ended at a whole statement": sum(not is_empty(one.stands) for one in unfinished),
    }


def pass_at_1(replays: Iterable[Replay], text: Callable[[Replay], str | None], passes: Passes) -> float:
    """The share that passes, of the samples of a task that have such a text: its mean over the tasks."""
    tasks: dict[str, list[bool]] = defaultdict(list)
    for one in replays:
        if (found := text(one)) is not None:
            tasks[one.task.id].append(passes(one.task, found))
    return statistics.mean(statistics.mean(found) for found in tasks.values())


def _as_drawn(one: Replay) -> str | None:
    return one.text


def _faultless(one: Replay) -> str | None:
    return one.stands if one.whole and not one.lacks else None


def _mended(one: Replay) -> str | None:
    return one.stands if one.whole else None


def _untouched(one: Replay) -> str | None:
    return one.stands if one.fault is None else None


SHARES: dict[str, Callable[[Replay], str | None]] = {
    "all samples": _as_drawn,
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    print(f"{machine()}; Python {platform.python_version()}; {len(replays)} samples, {cost:.1f} ms each\n")

    guards = by_guard(replays, verdicts.passed)
    rows = [(kind, *map(str, numbers), f"{100 * numbers[0] / len(replays):.1f}") for kind, *numbers in guards]
    print(table(("a guard cuts", "samples", "pass as drawn", "pass as they stand", "%"), rows))
    passing = sum(drawn for _, _, drawn, _ in guards)
    named = sum(drawn for kind, _, drawn, _ in guards if kind == "names")
    print(f"of {passing} that pass, {named} ({100 * named / passing:.2f} %) lack a name\n")
    of_bars, of_unparsed = bars(replays), unparsed(replays)
    print("; ".join(f"{name}: {count}" for name, count in (*of_bars.items(), *of_unparsed.items())) + "\n")
    shares = {name: pass_at_1(replays, share, verdicts.passed) for name, share in SHARES.items()}
    every = shares["all samples"]
    counts = {name: sum(share(one) is not None for one in replays) for name, share in SHARES.items()}
    print(
        table(
            ("samples that count", "number", "pass@1, %", "times"),
            [(name, str(counts[name]), f"{100 * share:.1f}", f"{share / every:.2f}") for name, share in shares.items()],
        )
    )
    cured = [one for one in replays if one.imports]
    cures = sum(verdicts.passed(one.task, one.stands) for one in cured)
    print(f"imports are written into {len(cured)} samples; {100 * cures / len(cured):.0f} % of them pass with these\n")
    files = list(library())[:_LIBRARY_FILES]
    prefixes, dead = dead_prefixes(files, random.Random(0))
    functions, loops = looping_functions(files, _LIBRARY_FUNCTIONS)
    print(f"standard library: {dead} of {prefixes} line prefixes dead, {loops} of {functions} functions a loop\n")
    facts = {
        "guards": guards,
        "bars": of_bars,
        "unparsed": of_unparsed,
        "pass@1": shares,
        "samples": counts,
        "ms": cost,
    }
    cured_facts = {"cured": len(cured), "cured that pass": cures}
    seen = {"prefixes": prefixes, "dead": dead, "functions": functions, "loops": loops}
    print(json.dumps({**facts, **cured_facts, "library": seen}))


if __name__ == "__main__":
    main()
