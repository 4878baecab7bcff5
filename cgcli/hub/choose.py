"""Which models are available, and which one runs: the one the user names, else the best one that is pulled."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cgcli.core.errors import ModelFileError, ModelNotFound, UsageError
from cgcli.core.paths import expanded
from cgcli.hub.catalog import Card, Catalog, check_quant, parse_spec, suggest
from cgcli.hub.sizes import QUANTS
from cgcli.hub.store import Store, Stored


class NothingPulled(ModelNotFound):
    """There is no model but the bundled one. `card`: the default one, which can be pulled."""

    def __init__(self, card: Card, *, hint: str) -> None:
        super().__init__("no model is pulled yet", hint=hint)
        self.card = card


class Choice(NamedTuple):
    """A model to load. Of a file outside the store, only name and path are known."""

    name: str
    path: Path
    quant: str | None = None
    sha256: str | None = None
    stored: Stored | None = None
    card: Card | None = None  # None: not in the catalog


def choose(model: str | None, store: Store, catalog: Catalog, memory_bytes: int) -> Choice:
    """Find the model named by `NAME[:QUANT]` or a file's path. The file is not opened.

    model: None takes the largest pulled CodeGen-mono model that fits into `memory_bytes`, else the catalog's default.
    Raises ModelNotFound with the command that pulls it, UsageError for an unknown quantization, ModelFileError if the
    file is missing or its manifest damaged.
    """
    if model is not None:
        return _named(model, store, catalog)
    best = max(_mono(store, catalog, memory_bytes), key=_parameters, default=None)
    if best is not None:
        return best
    if store.quants(catalog.default):
        return _choice(store.find(catalog.default), catalog)
    bundled = [stored for stored in store.all() if stored.bundled]
    pulled = [stored for stored in store.all() if not stored.bundled]
    if pulled:
        listed = ", ".join(stored.spec for stored in pulled)
        raise ModelNotFound(
            f"the default model is not pulled, only {listed}",
            hint=f"choose one with -m {pulled[0].spec}, or run `cgcli pull {catalog.default}`",
        )
    for error in store.broken():
        raise error
    here = "".join(f"; or try the tiny bundled model: -m {stored.name}" for stored in bundled[:1])
    raise NothingPulled(catalog.require(catalog.default), hint=f"cgcli pull {catalog.default}{here}")


def _named(model: str, store: Store, catalog: Catalog) -> Choice:
    file = expanded(model)
    if _is_path(model, file):
        return _file(model, file)
    try:
        spec = parse_spec(model)
    except UsageError:
        if model.startswith("hf:") or not file.is_file():
            raise
        return _file(model, file)
    card = catalog.get(spec.name)
    pulled = [stored.quant for stored in store.quants(spec.name)]
    if not pulled and card is None and spec.repo is None:
        if file.is_file() or (file / "config.json").is_file():
            return _file(model, file)
        known = sorted({*catalog.cards, *(stored.name for stored in store.all())})
        raise ModelNotFound(f"no model named {spec.name!r}", hint=suggest(spec.name, known))
    if spec.quant is not None and spec.quant not in pulled:
        check_quant(spec.name, spec.quant, card.quants if card else QUANTS)
    if not pulled:
        raise ModelNotFound(f"{spec.name} is not pulled yet", hint=f"cgcli pull {model}")
    return _choice(store.find(spec.name, spec.quant), catalog)


def _is_path(model: str, file: Path) -> bool:
    """Whether it is certainly a path: names contain no slash and do not begin with a dot."""
    if model.startswith("hf:"):
        return False
    return model.lower().endswith(".gguf") or model.startswith((".", "/", "~")) or ("/" in model and file.exists())


def _file(model: str, file: Path) -> Choice:
    if not file.exists():
        raise ModelNotFound(f"no file {model}", hint="run `cgcli models` to see the pulled models")
    if file.is_dir():
        made = f"cgcli convert {shlex.quote(model)} -o {shlex.quote(file.resolve().name + '.gguf')}"
        checkpoint = (file / "config.json").is_file()
        raise UsageError(f"{model} is a folder, not a GGUF file", hint=made if checkpoint else None)
    return Choice(file.stem, file)


def _mono(store: Store, catalog: Catalog, memory_bytes: int) -> list[Choice]:
    """The pulled CodeGen-mono models that fit, each in the preferred quantization that fits."""
    found = []
    for name, card in catalog.cards.items():
        if name.startswith("codegen-") and name.endswith("-mono"):
            try:
                pulled = store.quants(name)
            except ModelFileError:  # `cgcli models` and `cgcli doctor` report it; other models still run
                continue
            fitting = (one for one in pulled if card.memory_bytes.get(one.quant, 0) <= memory_bytes)
            stored = next(fitting, None)
            if stored is not None:
                found.append(_choice(store.find(name, stored.quant), catalog))
    return found


def _parameters(choice: Choice) -> int:
    return (choice.card.parameters if choice.card else None) or 0


def _choice(stored: Stored, catalog: Catalog) -> Choice:
    card = catalog.of(stored.name, stored.manifest.source)
    return Choice(stored.name, stored.path, stored.quant, stored.manifest.sha256, stored, card)


class ListedModel(NamedTuple):
    """A model of the catalog, of the store, or of both: a row of `cgcli models`."""

    name: str
    card: Card | None  # None: not in the catalog
    pulled: tuple[Stored, ...]
    memory_bytes: int | None  # for the default quantization, or the smallest pulled one; None: unknown
    fits: bool | None  # into the memory of this machine; None: unknown


def list_models(catalog: Catalog, stored: Iterable[Stored], machine_bytes: int) -> list[ListedModel]:
    """All models: those of the catalog in its order, then the other stored ones by name."""
    by_name: dict[str, list[Stored]] = {}
    for one in stored:
        by_name.setdefault(one.name, []).append(one)
    names = [*catalog.cards, *sorted(by_name.keys() - catalog.cards.keys())]
    return [list_model(name, catalog.get(name), by_name.get(name, ()), machine_bytes) for name in names]


def list_model(name: str, card: Card | None, stored: Iterable[Stored], machine_bytes: int) -> ListedModel:
    """The row of one model."""
    pulled = tuple(stored)
    needed = card.memory_bytes.get(card.default_quant) if card else None
    if needed is None and pulled:
        # Mostly the file; the cache of an unknown shape is not estimated.
        needed = min(one.manifest.size for one in pulled)
    return ListedModel(name, card, pulled, needed, None if needed is None else needed <= machine_bytes)
