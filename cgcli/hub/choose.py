"""Which model runs: the one that was asked for, else the best one that is pulled."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from cgcli.core.errors import ModelFileError, ModelNotFound, UsageError
from cgcli.hub.catalog import Card, Catalog, check_quant, suggest
from cgcli.hub.sizes import QUANTS
from cgcli.hub.spec import parse_spec
from cgcli.hub.store import Store, Stored


@dataclass(frozen=True)
class Choice:
    """A model to load. sha256 and stored are None for a file that is not in the store; card where there is none."""

    name: str
    path: Path
    quant: str | None = None
    sha256: str | None = None
    stored: Stored | None = None
    card: Card | None = None


def choose(model: str | None, store: Store, catalog: Catalog, memory_bytes: int) -> Choice:
    """The model that `NAME[:QUANT]` or the path of a file names; for None the best pulled CodeGen-mono that fits into
    `memory_bytes`, else the embedded default.

    Raises ModelNotFound with the command that gets it, UsageError for a quant that does not exist, ModelFileError if
    its file is gone or its manifest broken. The file itself is not opened.
    """
    if model is not None:
        return _asked(model, store, catalog)
    best = max(_mono(store, catalog, memory_bytes), key=_parameters, default=None)
    if best is not None:
        return best
    if store.quants(catalog.default):
        return _choice(store.find(catalog.default), catalog)
    boxed = [stored for stored in store.all() if stored.boxed]
    pulled = [stored for stored in store.all() if not stored.boxed]
    if pulled:
        listed = ", ".join(stored.spec for stored in pulled)
        raise ModelNotFound(
            f"no default model, only {listed}", hint=f"-m {pulled[0].spec}, or cgcli pull {catalog.default}"
        )
    for error in store.broken():
        raise error
    here = "".join(f"; -m {stored.name} needs no pull, and is very small" for stored in boxed[:1])
    raise ModelNotFound("no model is pulled yet", hint=f"cgcli pull {catalog.default}{here}")


def _asked(model: str, store: Store, catalog: Catalog) -> Choice:
    file = Path(model).expanduser()
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
    """Whether it can be nothing else: no name has a slash in it, or begins with a dot."""
    if model.startswith("hf:"):
        return False
    return model.lower().endswith(".gguf") or model.startswith((".", "/", "~")) or ("/" in model and file.exists())


def _file(model: str, file: Path) -> Choice:
    if not file.exists():
        raise ModelNotFound(f"no file {model}", hint="`cgcli models` lists what is pulled")
    if file.is_dir():
        made = f"cgcli convert {shlex.quote(model)} -o {shlex.quote(file.resolve().name + '.gguf')}"
        checkpoint = (file / "config.json").is_file()
        raise UsageError(f"{model} is a folder, not a GGUF file", hint=made if checkpoint else None)
    return Choice(file.stem, file)


def _mono(store: Store, catalog: Catalog, memory_bytes: int) -> list[Choice]:
    """The pulled CodeGen-mono models that fit, each in its preferred quant that does."""
    found = []
    for name, card in catalog.cards.items():
        if name.startswith("codegen-") and name.endswith("-mono"):
            try:
                pulled = store.quants(name)
            except ModelFileError:  # `cgcli models` and `cgcli doctor` say so; other models run
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
