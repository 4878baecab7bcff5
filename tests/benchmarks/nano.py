"""codegen-nano judged beside SmolLM2-135M, a 5-gram model and xz: held-out text, completions that parse, programs.

    python -m tests.benchmarks.nano --data OUT/data [--model NAME|FILE.gguf] [--against NAME|FILE.gguf] [--bytes N]

OUT is the folder of nano's training (`cgcli train models/recipes/nano.toml`), which keeps texts.jsonl, what it was
trained on, and held_out.jsonl, packages that it was not trained on. Bits per byte are over whole files of these, drawn
by a fixed seed, each file read on its own in the model's window (a longer one in windows that overlap by half); SmolLM2
may well have been trained on them. The 5-gram model (bytes, interpolated Kneser-Ney) is trained on nano's training
text. xz -9e sees the files one after the other, and nothing else.

Completions are drawn as `cgcli gen` draws by default, with seeds 1, 2, 3, ...; one parses if it is not blank and is
Python by itself, whatever became of the turns before it. Prompts are none of a benchmark's. Ten sample programs are
shown as they came out. The last line is JSON.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cgcli.core.config import Environment
from cgcli.core.machine import memory_bytes
from cgcli.engine.engine import LlamaEngine
from cgcli.hub.catalog import load_catalog
from cgcli.hub.choose import Choice, choose
from cgcli.hub.store import open_store
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.languages import PYTHON, parse_python
from cgcli.program.program import Program
from cgcli.program.session import Session
from tests.benchmarks.bits import bits, read_texts, xz
from tests.benchmarks.ngram import NGram
from tests.benchmarks.report import command_line, print_facts, table

MAX_TOKENS = 128
TASKS = """
a list of the first ten even numbers | print their sum | print the largest
a dictionary with the prices of four fruits | print the cheapest fruit | print the mean price
store "hello world" in a variable | print it in upper case | print the number of vowels
read the names of the files in the current directory | keep those that end in .py | print how many there are
a function that converts celsius to fahrenheit | a list of five temperatures | print them in fahrenheit
import random | a list of twenty random numbers | print the numbers sorted
a class Point with x and y | create a point and print its x | create another at (3, 4)
count from 1 to 20 and print multiples of 3 | print the squares of the numbers from 1 to 5
a list of names | sort them by length | print each with its length
set n to 12 | print whether n is even | print the numbers that divide n
Write a function that reverses a string | Call it with "python" and print the result
Create a matrix of three rows of zeros | Set its diagonal to one | Print each row
open a file and count its lines | print the number of lines
Split the sentence "the quick brown fox" into words | Join the words with dashes | Print the result
Define a function add that takes two numbers | Print the sum of 3 and 4
"""
TURNS = [[prompt.strip() for prompt in line.split("|")] for line in TASKS.strip().splitlines()]
SAMPLES = 10


@dataclass(frozen=True)
class Judged:
    """parsing, completions: of all turns; programs: the texts that came out, in the order of TURNS."""

    name: str
    bits_per_byte: float
    parsing: int
    completions: int
    programs: list[str]


def judged(choice: Choice, texts: Sequence[str]) -> Judged:
    with LlamaEngine(choice.path, interrupt=Interrupt()) as engine:
        name = f"{choice.name} {engine.quant}"
        found = bits(engine, texts)
        seeds = itertools.count(1)
        programs: list[str] = []
        parsing = 0
        for prompts in TURNS:
            program = Program((choice.card.prefix if choice.card else None) or PYTHON.prefix)
            for prompt in prompts:
                longer = drawn(engine, choice, program, prompt, next(seeds))
                if longer is not None:
                    parsing += parse_python(longer.turns[-1].completion) is not None
                    program = longer
            programs.append(program.source())
    return Judged(name, found.per_byte, parsing, sum(map(len, TURNS)), programs)


def drawn(engine: LlamaEngine, choice: Choice, program: Program, prompt: str, seed: int) -> Program | None:
    """The program with a turn more; None where the completion came out blank."""
    stops = choice.card.stop if choice.card else ()
    generation = Generation(Sampling(seed=seed), MAX_TOKENS, PYTHON.rules, stops)
    session = Session(engine, program, generation)
    for _ in session.add(prompt):
        pass
    return session.program if len(session.program.turns) > len(program.turns) else None


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="codegen-nano")
    parser.add_argument("--against", default="smollm2-135m")
    parser.add_argument("--bytes", type=int, default=150_000)
    asked = parser.parse_args()
    texts = read_texts(asked.data / "held_out.jsonl", asked.bytes)
    catalog, store = load_catalog(), open_store(Environment.from_process())
    models = [judged(choose(name, store, catalog, memory_bytes()), texts) for name in (asked.model, asked.against)]
    ngram = NGram(read_texts(asked.data / "texts.jsonl")).bits(texts).per_byte
    packed = xz(texts).per_byte

    for number, text in enumerate(models[0].programs[:SAMPLES], 1):
        print(f"--- program {number} ---\n{text}")
    rows = [(one.name, f"{one.bits_per_byte:.3f}", f"{one.parsing} of {one.completions}") for one in models]
    rows += [("5-gram model of bytes", f"{ngram:.3f}", ""), ("xz -9e", f"{packed:.3f}", "")]
    size = sum(len(text.encode()) for text in texts)
    print(table(("", f"bits per byte, {size:,} bytes held out", "completions that parse"), rows))
    told = {one.name: {"bits_per_byte": one.bits_per_byte, "parse": one.parsing / one.completions} for one in models}
    told |= {"5-gram": {"bits_per_byte": ngram}, "xz": {"bits_per_byte": packed}}
    print_facts("nano", bytes=size, **told)


if __name__ == "__main__":
    main()
