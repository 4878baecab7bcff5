"""Choosing a model, loading it, and measuring its speed; and its identity in JSON."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.run import Run
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.bench import Bench
    from cgcli.engine.drafting import PassCosts
    from cgcli.engine.engine import LlamaEngine
    from cgcli.engine.kept_ngrams import DraftText
    from cgcli.engine.model import Loading
    from cgcli.engine.protocol import Engine, Placement
    from cgcli.hub.choose import Choice
    from cgcli.native.interrupt import Interrupt
    from cgcli.program.generation import Generation
    from cgcli.program.program import Setup, TurnFacts


def choose_model(run: Run, settings: Settings) -> Choice:
    """The model that the settings name, or the best one that is pulled. Raises like `choose`."""
    return _choose(run, settings.model)


def _choose(run: Run, model: str | None) -> Choice:
    from cgcli.core.machine import memory_bytes
    from cgcli.hub.catalog import load_catalog
    from cgcli.hub.choose import choose
    from cgcli.hub.store import open_store

    return choose(model, open_store(run.environment), load_catalog(), memory_bytes())


@dataclass(frozen=True)
class Use:
    """What an engine is for."""

    draws: bool = True  # it will draw tokens, so guessing ahead helps
    many: bool = False  # it will draw many texts at once
    texts: Sequence[DraftText] = ()  # to guess from, besides what is drawn


@contextmanager
def loaded_engine(run: Run, settings: Settings, choice: Choice, use: Use = Use()) -> Iterator[Engine]:
    """The engine with the chosen model; Ctrl-C interrupts it. Raises like `open_engine`."""
    with closing(Opening(run, settings, choice)) as opening, opening.engine(use) as engine:
        yield engine


class Opening:
    """A model that loads while the caller prepares what it is for. Close it; from the beginning to its end or the
    engine's, Ctrl-C interrupts the engine and raises nothing."""

    def __init__(self, run: Run, settings: Settings, choice: Choice) -> None:
        """Begin to load the model, unless a server may have it. Raises ModelFileError, UsageError, CgcliError."""
        from cgcli.native.interrupt import interruptible

        self._run, self._settings, self._choice = run, settings, choice
        self._loading: Loading | None = None
        with ExitStack() as opened:
            self._interrupt = opened.enter_context(interruptible())
            if settings.serve == "off" or not any(run.environment.runtime.glob("*.sock")):
                from cgcli.engine.model import begin_loading

                own = settings.kernels == "on"
                self._loading = begin_loading(
                    choice.path, gpu_layers=settings.gpu_layers, exact=settings.exact, own_products=own
                )
                opened.callback(self._loading.close)
            self._opened = opened.pop_all()

    @contextmanager
    def engine(self, use: Use) -> Iterator[Engine]:
        """The engine with the model. Raises like `open_engine`."""
        with (
            self._opened,
            closing(
                open_engine(self._run, self._settings, self._choice, self._interrupt, use, loading=self._loading)
            ) as engine,
        ):
            yield engine

    def close(self) -> None:
        self._opened.close()


def open_engine(
    run: Run,
    settings: Settings,
    choice: Choice,
    interrupt: Interrupt,
    use: Use = Use(),
    cancelled: Callable[[], bool] | None = None,
    loading: Loading | None = None,
) -> Engine:
    """The engine with the chosen model, for the caller to close: a server's, or one in this process.

    cancelled, loading: as in `load_engine`. Raises like it.
    """
    own = partial(load_engine, run, settings, choice, interrupt, use, cancelled, loading)
    if settings.serve == "on":
        from cgcli.app.serve import served_engine

        if served := served_engine(run, settings, choice, interrupt, own):
            if use.texts:
                run.output.detail("the server guesses from what it generates, not from other texts")
            return served
    return own()


def load_engine(
    run: Run,
    settings: Settings,
    choice: Choice,
    interrupt: Interrupt,
    use: Use = Use(),
    cancelled: Callable[[], bool] | None = None,
    loading: Loading | None = None,
) -> LlamaEngine:
    """An engine in this process, for the caller to close.

    cancelled: ends the loading, instead of `interrupt`. loading: of the model, if it has begun.
    Raises like `choose_model`, and ModelFileError, CgcliError.
    """
    from cgcli.engine.engine import EngineOptions, LlamaEngine

    guesser = draft_model(run, settings) if use.draws else None
    engine = LlamaEngine(
        choice.path,
        EngineOptions(
            ctx=settings.ctx,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            draft=guesser,
            speculate=use.draws and settings.draft != "off",
            exact=settings.exact,
            own_products=settings.kernels == "on",
            many=use.many,
            costs=_known_costs(run, settings, choice),
        ),
        interrupt=interrupt,
        cancelled=cancelled,
        loading=loading,
    )
    run.output.detail(f"loaded in {engine.timings.load_s:.2f} s, context window of {engine.window} tokens")
    run.output.detail(where(engine.placement))
    if use.texts:
        import hashlib

        name = choice.sha256 or str(choice.path.resolve())
        key = hashlib.sha256("\n".join([name, *sorted({str(Path(text.name).parent) for text in use.texts})]).encode())
        engine.guess_from(use.texts, run.environment.cache / "ngrams" / f"{key.hexdigest()[:16]}.ngrams", model=name)
        run.output.detail(f"guessing also from {plural(len(use.texts), 'other text')}")
    if engine.window > engine.model.n_ctx_train:
        trained = engine.model.n_ctx_train
        run.output.note(f"context window of {engine.window} tokens; the model was trained on {trained}")
    return engine


def where(placement: Placement) -> str:
    """What runs where, for people."""
    on_gpu = f"{placement.gpu_layers} of {placement.layers} layers on {placement.gpu}"
    on = on_gpu if placement.gpu_layers else "all layers on the CPU"
    by = f"products: {placement.products}, sampling: {placement.sampler}"
    return f"{on}, {plural(placement.threads, 'thread')}; {by}"


def draft_model(run: Run, settings: Settings) -> Path | None:
    """The file of the model that guesses tokens, if the settings name one. Raises like `choose`."""
    return None if settings.draft in ("ngram", "off") else _choose(run, settings.draft).path


def _pass_costs_of(run: Run, choice: Choice) -> Path | None:
    """The file with this model's pass costs, which need not exist; None for a model that is not in the store."""
    from cgcli.hub.store import open_store

    return open_store(run.environment).passes(choice.stored) if choice.stored else None


def _place(settings: Settings) -> str:
    """Names how a model runs here, in that file."""
    from cgcli.core.machine import processor_name, thread_count
    from cgcli.engine.pass_costs import place

    own = settings.kernels == "on"
    return place(processor_name(), settings.threads or thread_count(), settings.gpu_layers, own_products=own)


def _known_costs(run: Run, settings: Settings, choice: Choice) -> PassCosts | None:
    """The pass costs that `cgcli bench` measured; None if there are none or the file is damaged."""
    from cgcli.core.errors import CgcliError

    kept = _pass_costs_of(run, choice)
    if not (kept and kept.exists()):  # what follows takes 10 ms
        return None
    from cgcli.engine import pass_costs

    try:
        known = pass_costs.load_costs(kept, _place(settings))
    except CgcliError as error:
        run.output.detail(f"pass costs not used: {error.message}")
        return None
    if known:
        run.output.detail("guessing with the pass costs that `cgcli bench` measured")
    return known


def measure_model(run: Run, settings: Settings, *, quick: bool) -> tuple[Choice, Bench]:
    """Measure the chosen model's speed, and store its pass costs if it is in the store. Raises like `run_bench`."""
    from cgcli.core.errors import CgcliError
    from cgcli.engine import pass_costs
    from cgcli.engine.bench import FULL, QUICK, run_bench
    from cgcli.native.interrupt import interruptible

    choice = choose_model(run, settings)
    with interruptible() as interrupt:
        measured = run_bench(
            choice.path,
            QUICK if quick else FULL,
            interrupt=interrupt,
            progress=run.output.progress(),
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            own_products=settings.kernels == "on",
        )
    kept = _pass_costs_of(run, choice)
    if kept and measured.pass_costs:
        try:
            pass_costs.store_costs(kept, _place(settings), measured.pass_costs)
        except CgcliError as error:
            run.output.note(f"pass costs not stored: {error}")
    return choice, measured


def setup_of(settings: Settings, choice: Choice, engine: Engine | None = None) -> Setup:
    """What draws the turns of a session, for their facts. A file outside the store is not hashed whole.

    engine: with the model; before it is loaded, what the settings ask for.
    """
    from cgcli import __version__
    from cgcli.core.machine import processor_name, thread_count
    from cgcli.program.program import Setup

    return Setup(
        sha256=file_identity(choice),
        file="" if choice.stored else str(choice.path.resolve()),
        cgcli=__version__,
        processor=processor_name(),
        threads=engine.placement.threads if engine else settings.threads or thread_count(),
        gpu_layers=engine.placement.gpu_layers if engine else settings.gpu_layers or 0,
        window=engine.window if engine else settings.ctx or 0,
        exact=settings.exact,
        draft=settings.draft,
    )


def planned_facts(settings: Settings, choice: Choice, how: Generation) -> TurnFacts:
    """The facts of turns that are to be drawn, as far as they are known before the model is loaded."""
    from cgcli.program.program import TurnFacts

    return TurnFacts(
        model=choice.name,
        quant=choice.quant or "",
        **asdict(how.sampling),
        max_tokens=how.max_tokens,
        context="",
        prompt_tokens=0,
        prompt_perplexity=None,
        guard=platform.python_version() if how.guard else "",
        stops=how.stops,
        batch=how.candidates,
        others=how.others,
        setup=setup_of(settings, choice),
    )


def file_identity(choice: Choice) -> str:
    """The sha256 of a model's file; of samples of it, marked so, if the file is outside the store; "" if unreadable."""
    from cgcli.core.reading import sampled_sha256

    try:
        return choice.sha256 or f"sampled-{sampled_sha256(choice.path)}"
    except OSError:
        return ""


def model_identity(run: Run, choice: Choice, quant: str) -> dict[str, str]:
    """A model in JSON: `model`, `quant`, and the `sha256` of its file."""
    from cgcli.core.reading import sha256_file

    hashed = choice.sha256 or sha256_file(choice.path, run.output.progress(), f"hashing {choice.path.name}")
    name = choice.name if choice.stored else str(choice.path)
    return {"model": name, "quant": quant, "sha256": hashed}
