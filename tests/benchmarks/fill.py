"""How often `cgcli fill` finds a line that was taken out of a module of the standard library.

    python -m tests.benchmarks.fill [MODEL.gguf]

200 lines with a statement of at most 20 characters, at random: a model of 7 million parameters seldom finds a longer
one. Each is filled with 8 candidates, under three seeds; a choice is right if it is the line, character by character.
"Alone" is the first candidate, as the model continues the text before the line. Other choices among the same 8: the
most probable line, log p(line | before), and the one with the most probable text behind, log p(behind | before + line).
`fill` takes the sum of the two. Two minutes of two cores for codegen-nano. The last line is JSON.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import random
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cgcli.engine.engine import LlamaEngine
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.hole import Hole, find_hole
from cgcli.program.infill import CANDIDATES, Filling, fill
from cgcli.program.languages import PYTHON, parse_python
from cgcli.program.source import from_file, lines_of
from tests.benchmarks.report import machine, table

HOLES, SEEDS, MOST_CHARACTERS, FIRST_LINE, MAX_TOKENS = 200, 3, 20, 20, 48
NANO = Path(__file__).parents[2] / "models" / "codegen-nano" / "q8_0.gguf"
ROWS = {
    "alone": "alone: the first candidate",
    "probable": "the most probable line of 8",
    "behind": "the most probable text behind",
    "fill": "`fill`: both together",
    "any": "any of the 8",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=NANO)
    parser.add_argument("--holes", type=int, default=HOLES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    found: Counter[str] = Counter()
    only: Counter[str] = Counter()
    began, spent = time.perf_counter(), time.process_time()
    hows = [
        Generation(Sampling(0.2, 0.95, seed=seed), MAX_TOKENS, candidates=CANDIDATES, others=0.6)
        for seed in range(options.seeds)
    ]
    places = random.Random(0).sample(sorted(set(short_lines())), options.holes)
    with interruptible() as interrupt, LlamaEngine(options.model, interrupt=interrupt) as engine:
        for path, line in places:
            hole, wanted = hole_of(path, line)
            for how in hows:
                right = judged(fill(engine, hole, how), wanted)
                found.update(name for name, holds in right.items() if holds)
                if right["fill"] != right["alone"]:
                    only["fill" if right["fill"] else "alone"] += 1
    name = options.model.parent.name if options.model.stem == "q8_0" else options.model.stem
    total = len(places) * len(hows)
    lines = f"{len(places)} lines of Python {platform.python_version()}'s standard library, {len(hows)} seeds"
    print(f"{name}, {lines}, {machine()}\n")
    rows = [(words, str(found[key]), f"{100 * found[key] / total:.1f}") for key, words in ROWS.items()]
    print(table(("choice", "right", "%"), rows))
    print(f"\nright only with fill: {only['fill']}, only alone: {only['alone']}")
    seconds = {"seconds": round(time.perf_counter() - began), "cpu_seconds": round(time.process_time() - spent)}
    print(
        json.dumps(
            {"holes": len(places), "seeds": len(hows), **{key: found[key] for key in ROWS}, "only": only, **seconds}
        )
    )


def short_lines() -> Iterator[tuple[Path, int]]:
    """Lines of the modules of the standard library that are a whole statement, or the head of one: path and number."""
    for path in Path(sysconfig.get_path("stdlib")).glob("*.py"):
        text = from_file(path.read_bytes())
        tree, lines = parse_python(text), lines_of(text)
        for node in ast.walk(tree) if tree else ():
            if not isinstance(node, ast.stmt) or isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ):
                continue
            body = getattr(node, "body", None)
            whole = body[0].lineno == node.lineno + 1 if body else node.end_lineno == node.lineno
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            inside = FIRST_LINE < node.lineno < len(lines) - 2
            if inside and whole and not docstring and len(lines[node.lineno - 1].strip()) <= MOST_CHARACTERS:
                yield path, node.lineno


def hole_of(path: Path, line: int) -> tuple[Hole, str]:
    """The hole in place of a line, and the line."""
    lines = lines_of(from_file(path.read_bytes()))
    taken = lines[line - 1]
    lines[line - 1] = taken[: len(taken) - len(taken.lstrip())] + "\n"
    return find_hole("".join(lines), line, PYTHON, name=path.name, extent="line"), taken.strip()


def judged(filling: Filling, wanted: str) -> dict[str, bool]:
    """Whether each choice is the line."""
    candidates = [filling.candidates[index] for index in filling.ranking]
    right = {"alone": filling.candidates[0].text == wanted, "any": any(one.text == wanted for one in candidates)}
    probable = max(candidates, key=lambda one: one.logprob or 0.0, default=None)
    behind = max(candidates, key=lambda one: one.suffix_logprob or 0.0, default=None)
    chosen = {"probable": probable, "behind": behind, "fill": candidates[0] if candidates else None}
    return right | {name: one is not None and one.text == wanted for name, one in chosen.items()}


if __name__ == "__main__":
    main()
