"""Quartiles of a model's perplexity of MTPB's prompts: what its card's `prompt_perplexity` says.

    python -m tests.benchmarks.prompt_quartiles --data mtpb.jsonl --model NAME|FILE [--problems N]

Every prompt is read in its program so far, as the REPL's gauge reads it: the tool's own layout and prefix, turns drawn
greedily, 128 tokens at most. Holes in prompts are filled with the problem's first input (salesforce/CodeGen
codegen1/benchmark/mtpb_sample.py). The context's first token, which nothing predicts, is not scored. Problems are drawn
together: other problems beside it change a context's last bits, and so, here and there, a drawn
token. A problem ends where it leaves the model's window.

Prints the line for models/catalog.toml; the last line is JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path

from cgcli.core.config import Environment
from cgcli.core.errors import ContextError
from cgcli.core.machine import memory_bytes
from cgcli.engine.engine import LlamaEngine
from cgcli.hub.catalog import load_catalog
from cgcli.hub.choose import Choice, choose
from cgcli.hub.store import open_store
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.languages import PYTHON
from cgcli.program.program import Program
from cgcli.program.session import Session
from tests.benchmarks.report import command_line, print_facts

MAX_TOKENS = 128
TOGETHER = 8  # problems
CELLS = 2048  # of the cache, for each


def prompts_of(data: Path) -> Iterator[list[str]]:
    """Of each problem, in order."""
    for line in data.read_text("utf-8").splitlines():
        problem = json.loads(line)
        yield [prompt.format(**problem["inputs"][0]) for prompt in problem["prompts"]]


def solved(session: Session, prompts: list[str], found: list[float]) -> Generator[str, None, None]:
    """Draw a problem's turns; the perplexity of each prompt is appended to `found`, as far as they fit the window."""
    for prompt in prompts:
        try:
            reading = session.read(session.plan(prompt))
        except ContextError:
            return
        assert reading.perplexity is not None
        found.append(reading.perplexity)
        turn = yield from session.draw(reading)
        if turn.accepted is not None:
            session.program = session.program.add(turn)


def perplexities(engine: LlamaEngine, choice: Choice, problems: list[list[str]]) -> list[float]:
    """Of all prompts. Each pass over the weights that one problem asks for carries the others' tokens, too."""
    card = choice.card
    program = Program((card.prefix if card else None) or PYTHON.prefix)
    stops = card.stop if card else ()
    greedy = Generation(Sampling(temperature=0), MAX_TOKENS, PYTHON.rules, stops, redraws=0)
    engine.reserve(TOGETHER * CELLS)
    found: list[float] = []
    waiting = deque(problems)
    going: deque[Generator[str, None, None]] = deque()
    while waiting or going:
        while waiting and len(going) < TOGETHER:
            going.append(solved(Session(engine, program, greedy), waiting.popleft(), found))
        problem = going.popleft()
        if next(problem, None) is not None:
            going.append(problem)
        else:
            print(f"\r{len(found)} prompts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--problems", type=int, help="the first so many; default: all")
    asked = parser.parse_args()
    choice = choose(asked.model, open_store(Environment.from_process()), load_catalog(), memory_bytes())
    with LlamaEngine(choice.path, interrupt=Interrupt()) as engine:
        values = perplexities(engine, choice, list(prompts_of(asked.data))[: asked.problems])
        quant = engine.quant
    quartiles = [round(value, 2) for value in statistics.quantiles(values, n=4, method="inclusive")]
    print(f"prompt_perplexity = {quartiles} # {len(values)} prompts of MTPB, {quant}")
    about = {"model": choice.name, "quant": quant, "prompts": len(values), "quartiles": quartiles}
    print_facts("prompt_quartiles", **about)


if __name__ == "__main__":
    main()
