"""Draws the same guarded texts in several ways, and says which differ. Run by test_guard_exact.py, and by hand:

    python -m tests.program.guarded_exactly MODEL.gguf [--texts 2000] [--temperature 0.8] [--max-tokens 64]

With `exact`, each text must be the same beside 15 others, alone, and in another engine; a text that no guard touched
must be the one that is drawn without guards. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import Candidate, Program
from cgcli.program.session import Session, drain
from cgcli.program.truncate import CODEGEN

PROMPTS = (
    "count the words of a text",
    "Set numbers to a list of five numbers.",
    "a class for a point with a method that moves it",
    'Set text to "hello world" and print it in upper case.',
    "the mean and the median of a list",
    "Set words to a list of words and print how many there are.",
    "Print the numbers from 1 to 10.",
    "check whether a word is a palindrome",
    # What the bundled model writes well, so that many texts need no guard:
    "Set numbers to [4, 8, 15].",
    "Set ages to a dictionary of three names.",
    "Define a function that doubles a number.",
    "Set fruits to a list of three fruits.",
    "Define a function square that returns the square of x.",
    "Print the numbers from 1 to 5.",
    'Set text to "hello world".',
    "Set price to 3.5.",
)
PREFIX = "#!/usr/bin/env python3\n\n"
TOGETHER = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--max-tokens", type=int, default=64)
    options = parser.parse_args()
    how = Generation(Sampling(options.temperature), options.max_tokens, CODEGEN, redraws=0, guard=True)
    found = {"texts": 0, "cut": 0, "again": 0, "alone": 0, "unguarded": 0}
    with engine(options.model) as first, engine(options.model) as second:
        for seed in range(-(-options.texts // TOGETHER)):
            prompt = PROMPTS[seed % len(PROMPTS)]
            seeded = replace(how, sampling=replace(how.sampling, seed=seed))
            together = drawn(first, prompt, replace(seeded, candidates=TOGETHER))
            again = drawn(first, prompt, replace(seeded, candidates=TOGETHER))
            plain = drawn(second, prompt, replace(seeded, candidates=TOGETHER, guard=False))
            alone = [drawn(second, prompt, seeded, index)[0] for index in range(TOGETHER)]
            cut = [one.guard is not None or one.finish_reason == "empty" for one in together]
            found["texts"] += TOGETHER
            found["cut"] += sum(cut)
            found["again"] += differ(together, again)
            found["alone"] += differ(together, alone)
            found["unguarded"] += sum(
                one != other and not was_cut for one, other, was_cut in zip(together, plain, cut, strict=True)
            )
    print(json.dumps(found))


def engine(model: Path) -> LlamaEngine:
    return LlamaEngine(model, EngineOptions(exact=True, sequences=TOGETHER), interrupt=Interrupt())


def drawn(engine: LlamaEngine, prompt: str, how: Generation, first: int = 0) -> list[Candidate]:
    session = Session(engine, Program(PREFIX), how)
    return list(drain(session.draw(session.read(session.plan(prompt)), first)).candidates)


def differ(some: list[Candidate], others: list[Candidate]) -> int:
    return sum(one != other for one, other in zip(some, others, strict=True))


if __name__ == "__main__":
    main()
