"""What guessing ahead from the text itself is worth: tokens a second with it and without, on real source files.

    python -m tests.benchmarks.speculation [--model FILE.gguf] [--files N] [--tokens N] [--write]

The second halves of files of the standard library are continued, greedily and at temperature 0.2, with guesses, from
the same cached context. A small model repeats itself, which flatters guesses; so beside it the same guesses are held
against what the file really says ("true text"): passes are run as if the model had drawn that. Without guesses all
three take as many passes of one row, so that is measured once a file, of each kind in turn. The last line is JSON.
"""

from __future__ import annotations

import random
import statistics
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cgcli.engine.drafting import by_ngrams
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.engine.scheduler import MakeDrafter
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Draw, Sampled, Sampler, Sampling
from tests.benchmarks.report import EMBEDDED, command_line, in_turn, print_facts, publish, seconds, table

COMMAND = "make bench BENCH=speculation"
CONTEXT = 700  # tokens at most, of the first half


class Truth:
    """A sampler that draws what a text says; stands in for the model's own draws."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tokens

    def sample_rows(self, draws: Sequence[Draw], *, on_gpu: bool = False) -> list[Sampled]:
        return [Sampled(self.tokens[min(draw.index, len(self.tokens) - 1)], 0.0, 1) for draw in draws]


def halves(engine: LlamaEngine, count: int, tokens: int) -> list[tuple[bytes, list[int]]]:
    """A context, and the tokens that really follow it, of so many files."""
    found = []
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    random.Random(0).shuffle(files)
    for file in files:
        text = file.read_bytes()
        middle = text.find(b"\n", len(text) // 2) + 1
        ids = engine.token_table.tokens(text[max(0, middle - 4 * CONTEXT) : middle])[-CONTEXT:]
        context = b"".join(map(engine.model.piece, ids))
        after = engine.token_table.tokens(text[middle : middle + 10 * tokens])
        if len(ids) > 200 and len(after) > tokens:
            found.append((context, after[: tokens + 1]))
        if len(found) == count:
            break
    return found


def run(engine: LlamaEngine, request: Request, guess: MakeDrafter | None, truth: Sequence[int] | None) -> Completion:
    scheduler = engine.scheduler
    scheduler._make_drafter = guess
    scheduler._sampler = Truth(truth) if truth else Sampler(engine.model.n_vocab)  # type: ignore[assignment]
    if truth:
        scheduler._sampler.n_vocab = engine.model.n_vocab
    return dict(engine.complete([request]))[0]


def took(
    engine: LlamaEngine,
    request: Request,
    truth: Sequence[int] | None,
    kept: list[float],
    guess: MakeDrafter | None = by_ngrams,
) -> float:
    """Seconds of a run. kept: gets the tokens a pass, with guesses."""
    before, passes = engine.timings.decode_tokens, engine.timings.passes
    found = seconds(partial(run, engine, request, guess, truth))
    if guess:
        kept.append((engine.timings.decode_tokens - before) / (engine.timings.passes - passes))
    return found


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    modes = {"greedy": Sampling(temperature=0), "T 0.2": Sampling(temperature=0.2), "true text": Sampling()}
    ratios: dict[str, list[float]] = {mode: [] for mode in modes}
    kept: dict[str, list[float]] = {mode: [] for mode in modes}
    with (
        interruptible() as interrupt,
        LlamaEngine(arguments.model, EngineOptions(threads=arguments.threads), interrupt=interrupt) as engine,
    ):
        engine.reserve(4 * (CONTEXT + arguments.tokens))
        ends, engine.token_table.ends = engine.token_table.ends, set()  # every run has the same length
        engine.token_table.banned = type(engine.token_table.banned).from_buffer_copy(engine.token_table.banned)
        for token in ends:
            engine.token_table.banned[token] = 1
        for number, (context, after) in enumerate(halves(engine, arguments.files, arguments.tokens)):
            engine.score(context, len(context) - 1)
            requests = {
                mode: Request(context, replace(sampling, seed=number), Stops, max_tokens=arguments.tokens)
                for mode, sampling in modes.items()
            }
            truths = {"true text": after}
            calls = {
                mode: partial(took, engine, request, truths.get(mode), kept[mode]) for mode, request in requests.items()
            }
            without = list(calls.values())[number % len(calls)]
            plain, *guessed = in_turn(number, [partial(without, guess=None), *calls.values()])
            for mode, found in zip(modes, guessed, strict=True):
                ratios[mode].append(plain / found)
            print(f"{number + 1:3}", *(f"{mode} {ratios[mode][-1]:.2f} " for mode in modes), file=sys.stderr)
    result = {
        mode: {
            "median": round(statistics.median(values), 3),
            "least": round(min(values), 3),
            "most": round(max(values), 3),
            "tokens_a_pass": round(statistics.median(kept[mode]), 2),
        }
        for mode, values in ratios.items()
    }
    rows = [(mode, *(f"{number:.2f}" for number in row.values())) for mode, row in result.items()]
    text = table(("", "times faster", "least", "most", "tokens a pass"), rows)
    conditions = f"{arguments.model.name}, medians of {arguments.files} files, {arguments.tokens} tokens each"
    publish(COMMAND, text, conditions, write=arguments.write)
    print_facts("speculation", files=arguments.files, rows=result)


if __name__ == "__main__":
    main()
