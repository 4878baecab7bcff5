"""What the log costs and holds: runs that are killed, searches in 10,000 rows, gen with and without it, and `replay`.

    python -m tests.benchmarks.run_log [--only kills search gen replay] [--kills N] [--rows N] [--runs N] [--programs N]

kills: runs of `gen` with codegen-nano, each killed (SIGKILL) at a random moment; after each the database is checked,
and every run that wrote a byte must have its row. search: of words in rows with real prompts and texts, the first of
which opens the database. gen: processor and elapsed time of runs with and without `--no-log`, in turn, on a log of that
size. replay: programs of random prompts and settings, drawn with --exact and again. The last line is JSON.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cgcli.program.log_reader import LogReader
from cgcli.program.program import Layout, Program
from cgcli.program.program_store import ProgramStore
from cgcli.program.run_log import RunEnd, RunStart
from tests.benchmarks.report import command_line, machine, measured, print_facts
from tests.program.steps import drawn

CGCLI = [sys.executable, "-m", "cgcli"]
WORDS = ("sort", "print", "read", "write", "count", "sum", "mean", "list", "words", "numbers", "lines", "file", "csv")


def command(home: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return [*CGCLI, *arguments], {**variables, "CGCLI_HOME": str(home)}


def prompt(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=5))


# --- kills


def kills(home: Path, count: int, rng: random.Random) -> dict[str, object]:
    """Kill runs at random moments, from their start to a little after their end."""
    database = home / "data" / "log.sqlite"
    prompts = [prompt(rng) for _ in range(6)]
    options = ["-m", "codegen-nano", "--no-stdin", "-t", "1", "--guard", "off"]
    started = time.perf_counter()
    words, environment = command(home, "gen", *options, *prompts)
    subprocess.run(words, env=environment, capture_output=True, check=True)
    longest = 1.2 * (time.perf_counter() - started)
    wrote, states = 0, {"killed": 0, "done": 0, "none": 0}
    for number in range(count):
        words, environment = command(home, "gen", *options, f"{number} {prompt(rng)}", *prompts)
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout
            try:
                process.wait(rng.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            text = process.stdout.read()
        row = None
        if database.exists():
            with sqlite3.connect(database) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                row = connection.execute(
                    "SELECT ended, text FROM runs WHERE prompts LIKE ?", (f"{number} %",)
                ).fetchone()
        assert row or not text, f"run {number} wrote {text[:60]!r} and has no row"
        assert row is None or row[0] is None or row[1].encode() == text
        wrote += bool(text)
        states["none" if row is None else "done" if row[0] else "killed"] += 1
    log = LogReader(database)
    assert {one.state for one in log.last(count)} <= {"killed", ""}
    log.close()
    return {"runs": count, "wrote": wrote, **states}


# --- search


def filled(path: Path, rows: int, rng: random.Random) -> LogReader:
    """A log with rows as runs leave them."""
    log = LogReader(path)
    for _ in range(rows):
        words, code = (
            prompt(rng),
            "".join(f"{rng.choice(WORDS)}_{rng.randrange(99)} = {prompt(rng)!r}\n" for _ in range(12)),
        )
        first = RunStart("/home/me", ("gen", words), (words,), "", "", "python", Layout(), True, None, {"seed": 1})
        number = log.begin(first)
        log.finish(number, first, RunEnd(f"# {words}\n{code}", (drawn(Program(), words, code),), "ran", 0))
    return log


def search(log: LogReader, programs: ProgramStore, rng: random.Random) -> float:
    """Milliseconds of a search of two words, the database opened for it."""
    log.close()
    words, started = " ".join(rng.choices(WORDS, k=2)), time.perf_counter()
    found = log.search(words, 20, programs)
    assert found
    return 1000 * (time.perf_counter() - started)


# --- gen


def run_ms(home: Path, *arguments: str) -> float:
    """Milliseconds of processor time of a run; elapsed time on a busy machine says little."""
    words, environment = command(
        home, "gen", "-m", "codegen-nano", "--no-stdin", "--seed", "1", "sort words", *arguments
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words += ["--max-tokens", "1", "--threads", "1", "--draft", "off"]  # what draws is the same, and noise
    subprocess.run(words, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def elapsed_ms(home: Path, *arguments: str) -> float:
    started = time.perf_counter()
    run_ms(home, *arguments)
    return 1000 * (time.perf_counter() - started)


# --- replay

OPTIONS: list[Callable[[random.Random], list[str]]] = [
    lambda rng: ["-t", str(rng.choice([0, 0.2, 0.8, 1.2]))],
    lambda rng: ["-n", str(rng.randint(2, 6)), "--pick", rng.choice(["probable", "reviewer", "auto"])],
    lambda rng: ["--top-k", str(rng.randint(1, 50)), "--min-p", "0.02"],
    lambda rng: ["--guard", "off"],
    lambda rng: ["--no-comment"],
    lambda rng: ["--until", "runs"],
    lambda rng: ["--stamp", "--no-log"],
    lambda rng: ["--draft", "off"],
]


def replays(home: Path, count: int, rng: random.Random) -> dict[str, object]:
    """Draw programs in one to three runs each, and all of them again."""
    same, turns = 0, 0
    for number in range(count):
        file = home / f"prog{number}.py"
        for _ in range(rng.randint(1, 3)):
            options = [word for one in rng.sample(OPTIONS, 2) for word in one(rng)]
            prompts = [prompt(rng) for _ in range(rng.randint(1, 3))]
            words, environment = command(home, "gen", "-m", "codegen-nano", "--exact", "--max-tokens", "60", "--into")
            subprocess.run([*words, str(file), *options, *prompts], env=environment, capture_output=True, check=False)
            turns += len(prompts)
        words, environment = command(home, "replay", str(file))
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        same += done.returncode == 0
        if done.returncode:
            print(f"{file}: {done.stderr.splitlines()[-1]}")
    return {"programs": count, "same": same, "turns": turns}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--only", nargs="+", default=["kills", "search", "gen", "replay"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--programs", type=int, default=50)
    options = parser.parse_args()
    rng, facts = random.Random(1), dict[str, object]()
    print(machine())
    with tempfile.TemporaryDirectory(dir=Path.cwd() / "build") as place:
        home = Path(place)
        if "kills" in options.only:
            facts["kills"] = kills(home, options.kills, rng)
            print(facts["kills"])
            shutil.rmtree(home / "data")
        if {"search", "gen"} & {*options.only}:
            log, programs = filled(home / "data" / "log.sqlite", options.rows, rng), ProgramStore(home / "none")
            found = [search(log, programs, rng) for _ in range(options.runs)]
            log.close()
            facts["search_ms"] = [round(statistics.median(found), 2), round(max(found), 2)]
            print(f"search in {options.rows} rows: median {facts['search_ms']} ms (and the longest)")
        if "gen" in options.only:
            for name, measure in {"cpu_ms": run_ms, "elapsed_ms": elapsed_ms}.items():
                sides = {"log": partial(measure, home), "no log": partial(measure, home, "--no-log")}
                times = measured(sides, options.runs)
                more = statistics.median(a - b for a, b in zip(times["log"], times["no log"], strict=True))
                least = min(times["log"]) - min(times["no log"])
                facts[name] = [round(more, 1), round(least, 1)]
                print(f"gen with the log takes {more:.1f} ms more ({name}, median of pairs; minima: {least:.1f})")
        if "replay" in options.only:
            facts["replay"] = replays(home, options.programs, rng)
            print(facts["replay"])
    print_facts("run_log", **facts)


if __name__ == "__main__":
    main()
