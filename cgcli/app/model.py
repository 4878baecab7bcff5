"""Choosing a model and loading it, for the commands that run one; and how it is named in JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.run import Run

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.drafting import PassCosts
    from cgcli.engine.engine import LlamaEngine
    from cgcli.hub.choose import Choice
    from cgcli.native.interrupt import Interrupt


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


def identified(run: Run, choice: Choice, quant: str) -> dict[str, str]:
    """What names a model in JSON: `model`, `quant`, and the `sha256` of its file."""
    from cgcli.core.reading import sha256_file

    hashed = choice.sha256 or sha256_file(choice.path, run.output.progress(), f"hashing {choice.path.name}")
    name = choice.name if choice.stored else str(choice.path)
    return {"model": name, "quant": quant, "sha256": hashed}
