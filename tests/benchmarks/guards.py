"""HumanEval and MTPB with the embedded model, the same seeds with and without guards: what parses, fails and passes.

    python -m tests.benchmarks.guards --humaneval FILE --mtpb FILE [--folder F] [--samples N] [--limit N] [--shards N]

The two sides draw in turn, a shard of the tasks each time, so that what slows the machine down slows both. Samples and
verdicts are kept in the folder, and a run that was killed goes on there; `--timed` draws everything anew. Texts are
drawn at temperature 0.2 as `cgcli eval` does, and judged by it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.evals.passk import Mean, bootstrap_mean
from cgcli.evals.samples import Row, read_rows
from cgcli.program.languages import parse_python
from tests.benchmarks.report import machine, ratio, table

SIDES = ("off", "on")
CUTTABLE = ("SyntaxError", "IndentationError", "TabError", "NameError")  # what guards look for
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of `cgcli eval`."""

    name: str
    data: Path
    options: tuple[str, ...]
    task: str  # the field of a row that names its problem
    program: Callable[[Row], str]  # the program that a row must be


def benchmarks(humaneval: Path, mtpb: Path, samples: int) -> list[Benchmark]:
    from cgcli.evals.humaneval import load_tasks

    prompts = {name: task.prompt for name, task in load_tasks(humaneval).items()}
    return [
        Benchmark(
            "humaneval",
            humaneval,
            ("-n", str(samples)),
            "task_id",
            lambda row: prompts[str(row["task_id"])] + str(row["completion"]),
        ),
        Benchmark("mtpb", mtpb, ("--turns", "multi"), "id", lambda row: str(row["completions"])),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--humaneval", type=Path, required=True)
    parser.add_argument("--mtpb", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "guards")
    parser.add_argument("--samples", type=int, default=1, help="per task of HumanEval; MTPB has five inputs for each")
    parser.add_argument("--limit", type=int, help="only the first problems of each")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--timed", action="store_true", help="draw everything anew")
    parser.add_argument("--only", choices=["humaneval", "mtpb"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for benchmark in benchmarks(options.humaneval, options.mtpb, options.samples):
        if options.only not in (None, benchmark.name):
            continue
        seconds = draw(benchmark, options.folder, options.shards, options.limit, options.timed)
        rows = {side: judged(benchmark, options.folder, side, options.shards) for side in SIDES}
        found[benchmark.name] = report(benchmark, rows, seconds)
    print(json.dumps({"machine": machine(), **found}))


def draw(benchmark: Benchmark, folder: Path, shards: int, limit: int | None, timed: bool) -> dict[str, list[float]]:
    """Draw all samples; returns the seconds of each shard by side."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for shard in range(1, shards + 1):
        for side in SIDES if shard % 2 else SIDES[::-1]:
            path = samples_of(benchmark, folder, side, shard)
            if timed:
                path.unlink(missing_ok=True)
            part = ("--shard", f"{shard}/{shards}", *(("--limit", str(limit)) if limit else ()))
            drawn = ("--generate", str(path), "-t", "0.2", "--seed", "1", "--guard", side)
            started = time.perf_counter()
            cgcli(benchmark, *benchmark.options, *part, *drawn)
            seconds[side].append(time.perf_counter() - started)
            print(f"{benchmark.name} {shard}/{shards} {side}: {seconds[side][-1]:.1f} s", file=sys.stderr)
    return seconds


def judged(benchmark: Benchmark, folder: Path, side: str, shards: int) -> list[Row]:
    """The rows of a side with their verdicts."""
    rows: list[Row] = []
    for shard in range(1, shards + 1):
        path = samples_of(benchmark, folder, side, shard)
        cgcli(benchmark, "--judge", str(path))
        rows += read_rows(path.with_name(f"{path.name}_results.jsonl"))
    return rows


def samples_of(benchmark: Benchmark, folder: Path, side: str, shard: int) -> Path:
    return folder / f"{benchmark.name}-{side}-{shard}.jsonl"


def cgcli(benchmark: Benchmark, *arguments: str) -> None:
    command = [sys.executable, "-m", "cgcli", "eval", benchmark.name, "--data", str(benchmark.data), *arguments]
    home = {"CGCLI_HOME": os.environ.get("CGCLI_HOME", str(ROOT / "build" / "test-home"))}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | home)


def report(benchmark: Benchmark, rows: dict[str, list[Row]], seconds: dict[str, list[float]]) -> dict[str, object]:
    """Print a table; returns its numbers."""
    measures: dict[str, Callable[[Row], bool]] = {
        "parses": lambda row: parse_python(benchmark.program(row)) is not None,
        "SyntaxError or NameError": lambda row: str(row["detail"]).startswith(CUTTABLE),
        "any exception": lambda row: row["outcome"] == "exception",
        "passes": lambda row: bool(row["passed"]),
    }
    lines, numbers = [], {}
    for name, holds in measures.items():
        off, on = (shares(benchmark, rows[side], holds) for side in SIDES)
        change = bootstrap_mean([(on[task][0] - off[task][0], on[task][1]) for task in off])
        means = [sum(one for one, _ in side.values()) / sum(size for _, size in side.values()) for side in (off, on)]
        lines.append([name, f"{100 * means[0]:.1f} %", f"{100 * means[1]:.1f} %", points(change)])
        numbers[name] = {"off": means[0], "on": means[1], "interval": change.interval}
    tokens = [sum(int(row["tokens"]) for row in rows[side]) for side in SIDES]
    dropped = sum(cut["tokens"] for row in rows["on"] for facts in facts_of(row) for cut in facts["cuts"])
    drawn = tokens[1] + dropped
    times = ratio(seconds["on"], seconds["off"])
    lines += [["tokens that stand", f"{tokens[0]:,}", f"{tokens[1]:,}", f"{tokens[1] / tokens[0]:.2f} times"]]
    lines += [["tokens drawn", f"{tokens[0]:,}", f"{drawn:,}", f"{drawn / tokens[0]:.2f} times"]]
    lines += [["seconds", f"{sum(seconds['off']):.0f}", f"{sum(seconds['on']):.0f}", f"{times:.2f} times"]]
    print(f"\n{benchmark.name}: {len(rows['on'])} samples of {len(off)} problems\n")
    print(table(["", "without guards", "with guards", "change (95 % interval)"], lines))
    cuts = Counter(cut["guard"] for row in rows["on"] for facts in facts_of(row) for cut in facts["cuts"])
    left = sum(bool(facts["standing"]) for row in rows["on"] for facts in facts_of(row))
    imports = sum(len(facts["imports"]) for row in rows["on"] for facts in facts_of(row))
    print(f"cut: {dict(cuts)}; imports written: {imports}; faults left: {left}")
    kinds = {
        side: Counter(str(row["detail"]).split(":")[0] for row in rows[side] if not row["passed"]) for side in SIDES
    }
    print("failures:", {side: dict(kinds[side].most_common(8)) for side in SIDES})
    return {**numbers, "seconds": times, "cuts": dict(cuts), "imports": imports, "left": left}


def facts_of(row: Row) -> Sequence[dict[str, Any]]:
    guarded = row.get("guarded", [])
    return guarded if isinstance(guarded, list) else [guarded]


def shares(benchmark: Benchmark, rows: Sequence[Row], holds: Callable[[Row], bool]) -> dict[str, tuple[int, int]]:
    """For each problem, how many samples a measure holds for, and how many there are."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        count, size = found.get(str(row[benchmark.task]), (0, 0))
        found[str(row[benchmark.task])] = count + holds(row), size + 1
    return found


def points(change: Mean) -> str:
    interval = change.interval
    between = f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})" if interval else ""
    return f"{100 * change.value:+.1f}{between}"


if __name__ == "__main__":
    main()
