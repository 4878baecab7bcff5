"""What the commands that run a model share: the options that choose it, its loading, and how it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.context import Run

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.drafting import PassCosts
    from cgcli.engine.engine import LlamaEngine
    from cgcli.hub.choose import Choice
    from cgcli.native.interrupt import Interrupt
    from cgcli.program.languages import Language

MODEL_PANEL = "The model"


def _models(incomplete: str) -> list[str]:
    from cgcli.cli.complete import pulled

    return pulled(incomplete)


ModelOption = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME[:QUANT]|FILE",
        help="Which model.",
        autocompletion=_models,
        rich_help_panel=MODEL_PANEL,
    ),
]
WindowOption = Annotated[
    int | None, typer.Option("--ctx", metavar="N", help="Context window in tokens.", rich_help_panel=MODEL_PANEL)
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="CPU threads.", rich_help_panel=MODEL_PANEL)
]
GpuLayersOption = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers", metavar="N", help="Layers on the GPU; default: all that fit.", rich_help_panel=MODEL_PANEL
    ),
]
DraftOption = Annotated[
    str | None,
    typer.Option(
        "--draft",
        metavar="ngram|off|MODEL",
        help="Guess tokens ahead: from the text, not at all, or by a smaller model.",
        autocompletion=_models,
        rich_help_panel=MODEL_PANEL,
    ),
]
ExactOption = Annotated[
    bool | None,
    typer.Option(
        "--exact", help="Same seed, same text, whatever is drawn beside it (slower).", rich_help_panel=MODEL_PANEL
    ),
]
FoldOption = Annotated[
    str | None,
    typer.Option(
        "--fold",
        metavar="on|off",
        help="Where a program is too long, let the model read it without comments and bodies; default on.",
        rich_help_panel=MODEL_PANEL,
    ),
]


def chosen(run: Run, settings: Settings) -> Choice:
    """The model that the settings name, or the best one that is there. Raises as `choose`."""
    return _choose(run, settings.model)


def _choose(run: Run, model: str | None) -> Choice:
    from cgcli.core.machine import memory_bytes
    from cgcli.hub.catalog import load_catalog
    from cgcli.hub.choose import choose
    from cgcli.hub.store import open_store

    return choose(model, open_store(run.environment), load_catalog(), memory_bytes())


@contextmanager
def loaded(
    run: Run, settings: Settings, choice: Choice, *, draws: bool = True, many: bool = False
) -> Iterator[LlamaEngine]:
    """The engine with the chosen model; Ctrl-C ends what it does.

    draws: whether it will draw tokens, so that guesses are of use; many: whether it will draw many texts at a time.
    """
    from cgcli.native.interrupt import interruptible

    with interruptible() as interrupt, opened(run, settings, choice, interrupt, draws=draws, many=many) as engine:
        yield engine


def opened(
    run: Run,
    settings: Settings,
    choice: Choice,
    interrupt: Interrupt,
    *,
    cancelled: Callable[[], bool] | None = None,
    draws: bool = True,
    many: bool = False,
) -> LlamaEngine:
    """The engine with the chosen model, to be closed; says how it runs. draws, many: as in `loaded`.

    cancelled: what ends the loading, where that is not `interrupt`.

    Raises as `chosen`, and ModelFileError, CgcliError.
    """
    from cgcli.engine.engine import LlamaEngine

    guesser = _choose(run, settings.draft).path if draws and settings.draft not in ("ngram", "off") else None
    engine = LlamaEngine(
        choice.path,
        interrupt=interrupt,
        cancelled=cancelled,
        ctx=settings.ctx,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        draft=guesser,
        speculate=draws and settings.draft != "off",
        exact=settings.exact,
        separate=many and not settings.exact and guesser is None,
        costs=_known_costs(run, settings, choice),
    )
    on_gpu = f"{engine.model.gpu_layers} of {engine.model.n_layer + 1} layers on the GPU"
    took = f"loaded in {engine.timings.load_s:.2f} s, {engine.threads} threads, {on_gpu}"
    run.output.detail(f"{took}, window of {engine.window} tokens")
    if engine.window > engine.model.n_ctx_train:
        run.output.note(f"the model was trained on {engine.model.n_ctx_train} tokens, the window has {engine.window}")
    return engine


def pass_costs_of(run: Run, settings: Settings, choice: Choice) -> tuple[Path, str] | None:
    """Where it is kept what wider passes cost this model, and under which name; None for a file that is not pulled."""
    from cgcli.core.machine import processor_name, thread_count
    from cgcli.engine.pass_costs import place
    from cgcli.hub.store import open_store

    if not choice.stored:
        return None
    threads = settings.threads or thread_count()
    return open_store(run.environment).passes(choice.stored), place(processor_name(), threads, settings.gpu_layers)


def _known_costs(run: Run, settings: Settings, choice: Choice) -> PassCosts | None:
    """What `cgcli bench` measured; a file that is damaged is not worth an error."""
    from cgcli.core.errors import CgcliError
    from cgcli.engine import pass_costs

    kept = pass_costs_of(run, settings, choice)
    try:
        known = pass_costs.load(*kept) if kept else None
    except CgcliError as error:
        run.output.detail(f"{error.message}: not used")
        return None
    if known:
        run.output.detail("guesses go by what passes cost here, as `cgcli bench` measured it")
    return known


def first_prefix(settings: Settings, choice: Choice, code: Language, *, raw: bool = False) -> str:
    """What a program that starts from nothing starts with, as the model reads it."""
    from cgcli.program.program import encode, from_file

    if settings.prefix is not None:
        return settings.prefix if raw else from_file(encode(settings.prefix))
    card = choice.card.prefix if choice.card and code.name == "python" else None
    return "" if raw else card or code.prefix


def identified(run: Run, choice: Choice, quant: str) -> dict[str, str]:
    """What names a model in JSON: `model`, `quant`, and the `sha256` of its file."""
    from cgcli.core.reading import sha256_file

    hashed = choice.sha256 or sha256_file(choice.path, run.output.progress(), f"hashing {choice.path.name}")
    name = choice.name if choice.stored else str(choice.path)
    return {"model": name, "quant": quant, "sha256": hashed}
