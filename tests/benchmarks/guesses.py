"""What guesses from the files beside a program are worth: tokens a pass, and times faster by the costs of wider passes.

    python -m tests.benchmarks.guesses [--model FILE.gguf] [--files N] [--tokens N] [--drawn N] [--costs ROWS:COST,...]
    [--write]

The second halves of files of ten installed packages are continued: guesses come from the text itself (700 tokens of the
first half), and also from the other files of the package, the nearest first. They are held against what the file really
says and, in --drawn of the files, against what the model draws at temperature 0.2. No pass is timed, so that a busy
machine changes nothing: a pass of several rows costs what --costs says, else what is measured in the beginning, widths
in turn. The last line is JSON.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from cgcli.app.draft_texts import draft_texts
from cgcli.app.run import Run
from cgcli.core.config import Settings
from cgcli.engine.drafting import Drafter, NgramDrafter, PassCosts, Prospect, allot
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.kept_ngrams import kept_ngrams
from cgcli.engine.pass_costs import measure
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.draft import KeptNgrams
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampling
from tests.benchmarks.report import EMBEDDED, command_line, print_facts, publish, table

COMMAND = "make bench BENCH=guesses"
CONTEXT = 700  # tokens
MOST = 64  # rows of a pass
PACKAGES = (
    "_pytest", "fontTools", "huggingface_hub", "hypothesis", "jinja2",
    "nbformat", "packaging", "pandas", "prompt_toolkit", "typer",
)  # fmt: skip


@dataclass(frozen=True)
class Half:
    """The second half of a file."""

    context: list[int]  # tokens of the first half
    after: list[int]  # tokens that really follow
    kept: KeptNgrams | None  # of the files beside it


def halves(engine: LlamaEngine, package: Path, count: int, tokens: int) -> Iterator[Half]:
    """So many files of a package, in random order."""
    files = sorted(package.rglob("*.py"))
    random.Random(0).shuffle(files)
    for file in files:
        text = file.read_bytes()
        middle = text.find(b"\n", len(text) // 2) + 1
        context = engine.tokens(text[max(0, middle - 4 * CONTEXT) : middle])[-CONTEXT:]
        after = engine.tokens(text[middle : middle + 10 * tokens])[:tokens]
        if len(context) > 200 and len(after) == tokens and count:
            count -= 1
            yield Half(context, after, beside(engine, file, package))


def beside(engine: LlamaEngine, file: Path, package: Path) -> KeptNgrams | None:
    """The n-grams of the other files of a package."""
    texts = draft_texts(Run.from_process(), replace(Settings(), draft_from=str(package)), file)
    with tempfile.TemporaryDirectory() as place:
        return kept_ngrams(texts, Path(place, "x.ngrams"), "", engine.tokens)


def worth(drafter: Drafter, tokens: Sequence[int], costs: PassCosts) -> tuple[float, float]:
    """How many times faster the tokens come than one a pass, and how many come with a pass."""
    at, cost, passes = 0, 0.0, 0
    while at < len(tokens):
        prospect = drafter.prospect()
        chances = prospect.chances[: len(tokens) - at - 1]
        draft = drafter.draft(allot([Prospect(chances, prospect.cost)], costs, MOST)[0])
        right = next((n for n, guess in enumerate(draft) if guess != tokens[at + n]), len(draft))
        drafter.extend(tokens[at : at + right + 1])
        at, cost, passes = at + right + 1, cost + costs.of(1 + len(draft)), passes + 1
    return len(tokens) / cost, len(tokens) / passes


def drawn(engine: LlamaEngine, halves: Sequence[Half], tokens: int) -> list[list[int]]:
    """What the model writes after each context."""
    requests = [
        Request(b"".join(map(engine.model.piece, half.context)), Sampling(0.2, seed=number), Stops, tokens)
        for number, half in enumerate(halves)
    ]
    found = dict(engine.complete(requests))
    return [[one.token for one in found[index].trace] for index in range(len(halves))]


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--drawn", type=int, default=10)
    parser.add_argument("--costs", help="such as 1:1,2:1.3,4:1.6")
    arguments = parser.parse_args()
    site = Path(typer.__file__).parents[1]
    with (
        interruptible() as interrupt,
        LlamaEngine(arguments.model, EngineOptions(speculate=False), interrupt=interrupt) as engine,
    ):
        each = arguments.files // len(PACKAGES)
        files = [half for name in PACKAGES for half in halves(engine, site / name, each, arguments.tokens)]
        if arguments.costs:
            given = (pair.split(":") for pair in arguments.costs.split(","))
            costs = PassCosts({int(width): float(cost) for width, cost in given})
        else:
            engine.reserve(2 * CONTEXT)
            costs = measure(engine.cache, files[0].context[-400:], rounds=9)
        some = files[:: max(1, len(files) // max(1, arguments.drawn))][: arguments.drawn]
        texts = {"true text": [(half, half.after) for half in files]}
        texts["T 0.2"] = list(zip(some, drawn(engine, some, arguments.tokens), strict=True))
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for mode, pairs in texts.items():
        for half, tokens in pairs:
            for name, kept in {"the text itself": None, "and other files": half.kept}.items():
                drafter = NgramDrafter(half.context, CONTEXT + len(tokens), kept)
                found[mode, name].append(worth(drafter, tokens, costs))
    rows = []
    for (mode, name), measured in found.items():
        times, passes = zip(*measured, strict=True)
        numbers = statistics.median(times), min(times), max(times), statistics.median(passes)
        rows.append((mode, name, str(len(measured)), *(f"{number:.2f}" for number in numbers)))
    text = table(("held against", "guesses from", "files", "times faster", "least", "most", "tokens a pass"), rows)
    listed = ", ".join(f"{rows} {cost:.2f}" for rows, cost in costs.measured.items())
    conditions = (
        f"{arguments.model.name}, costs of passes by rows {'as given' if arguments.costs else 'measured'}: {listed}"
    )
    publish(COMMAND, text, conditions, write=arguments.write)
    print_facts("guesses", costs=dict(costs.measured), rows=rows)


if __name__ == "__main__":
    main()
