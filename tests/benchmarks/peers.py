"""cgcli beside the peers that can be installed: llama-cpp-python, transformers, CTranslate2.

    python -m tests.benchmarks.peers [--rounds N] [--threads N] [--avx2] [--write]

All run one random checkpoint of the 350M shape with the same prompts, as token ids, sampling settings, threads and
OpenMP's short spin. In each round every side gets a new process, and each measurement is taken of all sides in turn;
one round is not counted. The peers' virtual environments and the int8 model are made in build/bench on first use.
--write puts the table into docs/measurements.md. --avx2: cgcli and CTranslate2 as on a processor with AVX2 and nothing
newer. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cgcli.core.machine import thread_count
from cgcli.engine.cpu_variant import VARIABLE
from tests.benchmarks.checkpoint import FOLDER, SHAPES, checkpoint, prompt
from tests.benchmarks.model import model
from tests.benchmarks.report import ROOT, command_line, print_facts, publish, ratio, table

COMMAND = "make bench-peers"
SHAPE = SHAPES["350m"]
CTRANSLATE2 = "ctranslate2==4.8.5"
PACKAGES = {
    # PyTorch to the digit: a range takes a build with CUDA, gigabytes of it. CTranslate2 is there to convert only.
    "transformers": ("torch==2.13.0", "transformers==5.23.0", CTRANSLATE2),
    # Without the others beside it, which it would import at its start.
    "ctranslate2": (CTRANSLATE2,),
}


@dataclass(frozen=True)
class Measure:
    """A row of the table.

    tokens: length of the prompt; turns: how often it is taken a round; more_is_better: or less, for seconds and bytes.
    """

    name: str
    title: str
    tokens: int
    digits: int
    turns: int = 1
    more_is_better: bool = True


MEASURES = (
    Measure("first_token_s", "start of the process to the first token after 128, s", 128, 2, more_is_better=False),
    Measure("prefill_tokens_per_s", "prefill of 512 tokens, tokens/s", 512, 0, turns=3),
    Measure("decode_tokens_per_s", "one completion of 64 tokens after 128, tokens/s", 128, 1, turns=3),
    Measure("candidates_tokens_per_s", "16 candidates of 64 tokens after 128, tokens/s", 128, 1),
    Measure("peak_mb", "peak resident memory, MB", 0, 0, more_is_better=False),
)


Turns = dict[str, list[list[float]]]
"""Of each measure: a list a turn, one number a side."""


@dataclass(frozen=True)
class Side:
    """A column. module: in tests/benchmarks/sides; variables: of its processes."""

    title: str
    module: str
    python: Path
    model: Path
    weights: str
    variables: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A side's process, until it is closed."""

    def __init__(self, side: Side, threads: int) -> None:
        self.side = side
        self.started = time.perf_counter()
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # a pipe that nobody reads fills up
        self.process = subprocess.Popen(
            [side.python, "-m", "tests.benchmarks.sides.worker", side.module, str(side.model), str(threads)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "1000", **side.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )

    def ask(self, measure: str, ids: list[int]) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"measure": measure, "prompt": ids}) + "\n")
        self.process.stdin.flush()
        if not (answer := self.process.stdout.readline()):
            self.said.seek(0)
            sys.exit(f"{self.side.title} failed at {measure}:\n{self.said.read()}")
        return float(json.loads(answer))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


def environment(name: str) -> Path:
    """The Python of a virtual environment with the packages of that name, made on first use."""
    python = FOLDER / name / "bin" / "python"
    made = FOLDER / name / "made"
    packages = PACKAGES[name]
    if not made.exists() or made.read_text() != str(packages):
        print(f"installing {', '.join(packages)} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        made.write_text(str(packages))
    return python


def ctranslate2_model(source: Path, converter: Path) -> Path:
    """The checkpoint as CTranslate2 reads it, in int8, made on first use. converter: a Python that has all it needs."""
    target = source.with_name(f"{source.name}.ct2-int8")
    if not target.exists():
        print(f"making {target.name} ...", file=sys.stderr)
        # Not its script: that holds the path that the environment had when it was made.
        program = "from ctranslate2.converters.transformers import main; main()"
        words = ["--model", str(source), "--quantization", "int8", "--output_dir", str(target)]
        subprocess.run([converter, "-c", program, *words], check=True, stderr=subprocess.DEVNULL)
    return target


def unpacked(kind: str) -> Path:
    """The folder of the libraries of a wheel of llama.cpp, unpacked. kind: portable or native."""
    build: list[str | Path] = [sys.executable, ROOT / "kernels" / "llama" / "build_wheel.py", f"--{kind}"]
    wheel = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    folder = FOLDER / f"llama-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "llama_cpp" / "lib"


def sides() -> list[Side]:
    """cgcli first."""
    source, gguf = checkpoint(SHAPE), model(SHAPE)
    own, torch, small = Path(sys.executable), environment("transformers"), environment("ctranslate2")
    return [
        Side("cgcli", "cgcli_engine", own, gguf, "Q4_0"),
        Side(f"llama-cpp-python {version('llama-cpp-python')}", "llama_cpp_python", own, gguf, "the same file"),
        Side(_release("transformers"), "transformers_float32", torch, source, "float32"),
        Side(_release("ctranslate2"), "ctranslate2_int8", small, ctranslate2_model(source, torch), "int8"),
    ]


def sides_with_avx2() -> list[Side]:
    ours, *_, theirs = sides()
    mkl = dict.fromkeys(("CT2_FORCE_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"), "AVX2")
    llama = {"LLAMA_CPP_LIB_PATH": str(unpacked("portable")), VARIABLE: "haswell", "PRODUCT_TIER": "avx2"}
    return [replace(ours, variables=llama), replace(theirs, variables=mkl)]


def _release(name: str) -> str:
    return next(package.replace("==", " ") for package in PACKAGES[name] if package.startswith(name))


def run_round(columns: list[Side], threads: int, draw: np.random.Generator) -> Turns:
    """The numbers of one round. The time of the first measure counts the start of the process."""
    found: Turns = {}
    first, *others = MEASURES
    with ExitStack() as stack:
        workers, seconds = [], []
        ids = prompt(draw, first.tokens)
        for side in columns:
            worker = stack.enter_context(closing(Worker(side, threads)))
            worker.ask(first.name, ids)
            seconds.append(time.perf_counter() - worker.started)
            workers.append(worker)
        found[first.name] = [seconds]
        for measure in others:
            prompts = [prompt(draw, measure.tokens) for _ in range(measure.turns)]
            found[measure.name] = [[worker.ask(measure.name, ids) for worker in workers] for ids in prompts]
    return found


def result(rounds: list[Turns]) -> dict[str, dict[str, list[float]]]:
    """For each measure the medians of all sides, and how many times better cgcli is, turn by turn."""
    found = {}
    for measure in MEASURES:
        turns = [numbers for one in rounds for numbers in one[measure.name]]
        ours, *_ = series = list(zip(*turns, strict=True))
        better = [ratio(ours, theirs) if measure.more_is_better else ratio(theirs, ours) for theirs in series]
        medians = [round(statistics.median(values), measure.digits) for values in series]
        found[measure.name] = {"medians": medians, "cgcli_is_better_by": [round(times, 2) for times in better]}
    return found


def rows(found: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    """The table's: a number, and in brackets how many times better cgcli's is."""
    lines = []
    for measure in MEASURES:
        medians, better = found[measure.name]["medians"], found[measure.name]["cgcli_is_better_by"]
        cells = [f"{number:.{measure.digits}f}" for number in medians]
        lines.append(
            [measure.title, cells[0], *(f"{c} (×{b:.2f})" for c, b in zip(cells[1:], better[1:], strict=True))]
        )
    return lines


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=thread_count())
    parser.add_argument("--avx2", action="store_true")
    arguments = parser.parse_args()
    columns = sides_with_avx2() if arguments.avx2 else sides()
    draw = np.random.default_rng(0)
    rounds = []
    for number in range(arguments.rounds + 1):
        started = time.perf_counter()
        rounds.append(run_round(columns, arguments.threads, draw))
        print(f"round {number} of {arguments.rounds}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    found = result(rounds[1:])
    head = ["", *(side.title for side in columns)]
    text = table(head, [["weights", *(side.weights for side in columns)], *rows(found)])
    conditions = f"{arguments.threads} threads, {arguments.rounds} rounds"
    command = f"{COMMAND} ARGS=--avx2" if arguments.avx2 else COMMAND
    publish(command, text, conditions, write=arguments.write)
    names = [side.title for side in columns]
    print_facts("peers", sides=names, measures=found, conditions=conditions)


if __name__ == "__main__":
    main()
