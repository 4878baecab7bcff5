"""Options that several commands share, and the names that the shell completes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

MODEL_PANEL = "Model"
SAMPLING_PANEL = "Sampling"

_model = partial(typer.Option, rich_help_panel=MODEL_PANEL)
_sampling = partial(typer.Option, rich_help_panel=SAMPLING_PANEL)


# --- names for the shell's Tab key; an error offers nothing


def catalogued(incomplete: str) -> list[str]:
    """Models that can be pulled; after a colon, their quants."""
    from cgcli.hub.catalog import load_catalog

    cards = load_catalog().cards
    card = cards.get(incomplete.partition(":")[0])
    if card is not None and ":" in incomplete:
        return _starting([f"{card.name}:{quant}" for quant in card.quants], incomplete)
    return _starting(list(cards), incomplete)


def pulled(incomplete: str) -> list[str]:
    """Pulled models; after a colon, their quants."""
    from cgcli.core.config import Environment
    from cgcli.core.errors import CgcliError
    from cgcli.hub.store import open_store

    try:
        stored = open_store(Environment.from_process()).all()
    except (CgcliError, OSError):
        return []
    if ":" in incomplete:
        return _starting([one.spec for one in stored], incomplete)
    return _starting(list(dict.fromkeys(one.name for one in stored)), incomplete)


def guessers(incomplete: str) -> list[str]:
    """What guesses tokens ahead."""
    return [*_starting(["ngram", "off"], incomplete), *pulled(incomplete)]


def programs(incomplete: str) -> list[str]:
    """IDs of saved programs, the latest first."""
    from cgcli.core.config import Environment
    from cgcli.program.program_store import ProgramStore

    try:
        ids = ProgramStore(Environment.from_process().data / "programs").ids()
    except OSError:
        return []
    return _starting(list(ids), incomplete)


def templates(incomplete: str) -> list[str]:
    """Templates of programs."""
    from cgcli.core.config import Environment
    from cgcli.core.errors import CgcliError
    from cgcli.core.templates import load_templates

    try:
        return _starting(list(load_templates(Environment.from_process())), incomplete)
    except CgcliError:
        return []


def programs_to_resume(ctx: typer.Context, incomplete: str) -> list[str]:
    """IDs of saved programs after --resume; else nothing, and the shell completes files."""
    return programs(incomplete) if ctx.params.get("resume") else []


def languages(incomplete: str) -> list[str]:
    """Programming languages."""
    from cgcli.program.languages import LANGUAGES

    return _starting([one.name for one in LANGUAGES], incomplete)


def export_formats(incomplete: str) -> list[str]:
    """Formats of `sessions export`."""
    from cgcli.program.export import FORMATS

    return _starting(list(FORMATS), incomplete)


def _starting(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


# --- options


ModelOption = Annotated[
    str | None,
    _model(
        "-m",
        "--model",
        metavar="NAME[:QUANT]|FILE",
        help="Pulled model or GGUF file (default: the best pulled model that fits in memory).",
        autocompletion=pulled,
    ),
]
WindowOption = Annotated[
    int | None, _model("--ctx", metavar="N", help="Context window in tokens (default: the model's own).")
]
ThreadsOption = Annotated[
    int | None, _model("--threads", metavar="N", help="CPU threads (default: one per physical core).")
]
GpuLayersOption = Annotated[
    int | None, _model("--gpu-layers", metavar="N", help="Layers on the GPU (default: all that fit).")
]
DraftOption = Annotated[
    str | None,
    _model(
        "--draft",
        metavar="ngram|off|MODEL",
        help="Guess tokens ahead from the text, not at all, or with a smaller model.",
        autocompletion=guessers,
    ),
]
DraftFromOption = Annotated[
    str | None,
    _model(
        "--draft-from",
        metavar="auto|off|PATH",
        help="Guess also from this file or folder (default: the git project of the program's file).",
    ),
]
ExactOption = Annotated[
    bool | None, _model("--exact", help="Same text for the same seed, whatever else is in the batch (slower).")
]
ServeOption = Annotated[
    bool | None,
    _model("--serve/--no-serve", help="Use a server that has this model, if there is one: cgcli serve (default: yes)."),
]
FoldOption = Annotated[
    Literal["on", "off"] | None,
    _model(
        "--fold",
        metavar="on|off",
        help="Shorten a program that exceeds the context window, for the model only (default: on).",
    ),
]

TemperatureOption = Annotated[
    float | None,
    _sampling("-t", "--temperature", metavar="T", help="Sampling temperature; 0 is greedy (default: 0.2)."),
]
TopPOption = Annotated[
    float | None, _sampling("--top-p", metavar="P", help="Nucleus sampling threshold (default: 0.95).")
]
TopKOption = Annotated[
    int | None,
    _sampling("--top-k", metavar="K", help="Sample from the K most likely tokens (default: 0, off)."),
]
MinPOption = Annotated[
    float | None,
    _sampling(
        "--min-p",
        metavar="P",
        help="Drop tokens below this share of the most likely one (default: 0, off).",
    ),
]
MaxTokensOption = Annotated[
    int | None,
    _sampling("--max-tokens", metavar="N", help="Maximum tokens per completion (default: 256)."),
]
GuardOption = Annotated[
    Literal["on", "off"] | None,
    _sampling(
        "--guard",
        metavar="on|off",
        help="Regenerate lines that cannot run, and add missing imports (default: on).",
    ),
]
EvalGuardOption = Annotated[
    Literal["on", "off"] | None,
    _sampling(
        "--guard",
        metavar="on|off",
        help="Regenerate lines that cannot run, as gen does (default: off, as for published results).",
    ),
]
SeedOption = Annotated[int | None, _sampling("--seed", metavar="N", help="Random seed; chosen and printed if omitted.")]

ReadOption = Annotated[
    list[Path] | None, typer.Option("--read", metavar="PATH", help="Let programs read a file or folder; repeatable.")
]
WriteOption = Annotated[
    list[Path] | None,
    typer.Option("--write", metavar="PATH", help="Let programs change a file or folder; repeatable."),
]
UnsafeOption = Annotated[bool, typer.Option("--unsafe", help="Run programs without a sandbox.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="NAME",
        help="Programming language (default: from the file suffix, else Python).",
        autocompletion=languages,
    ),
]
