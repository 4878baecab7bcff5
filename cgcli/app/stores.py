"""What `cgcli models`, `convert` and `sessions` do: work on the stores of models and of programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.convert.convert import Report
    from cgcli.core.config import Settings
    from cgcli.hub.choose import ListedModel
    from cgcli.hub.store import Store, Stored
    from cgcli.program.program_store import ProgramStore, Summary


# --- models


def model_store(run: Run) -> Store:
    """The store of pulled models."""
    from cgcli.hub.store import open_store

    return open_store(run.environment)


def listed_models(run: Run) -> list[ListedModel]:
    """All models that can be pulled or are pulled."""
    from cgcli.core.machine import memory_bytes
    from cgcli.hub.catalog import load_catalog
    from cgcli.hub.choose import list_models

    return list_models(load_catalog(), model_store(run).all(), memory_bytes())


def listed_model(run: Run, name: str) -> ListedModel:
    """A model that can be pulled or is pulled. Raises ModelNotFound."""
    from cgcli.core.machine import memory_bytes
    from cgcli.hub.catalog import load_catalog, parse_spec
    from cgcli.hub.choose import list_model

    catalog, wanted = load_catalog(), parse_spec(name).name
    stored = model_store(run).quants(wanted)
    card = catalog.get(wanted) if stored else catalog.require(wanted)
    return list_model(wanted, card, stored, memory_bytes())


def find_model(run: Run, name: str) -> Stored:
    """The pulled model that `NAME[:QUANT]` names. Raises like `Store.find`."""
    from cgcli.hub.catalog import parse_spec

    spec = parse_spec(name)
    return model_store(run).find(spec.name, spec.quant)


def verify_models(run: Run, names: Sequence[str]) -> list[tuple[Stored, str | None]]:
    """Hash the named models, or all: each with its problem, None if it is intact."""
    store = model_store(run)
    chosen = [find_model(run, name) for name in names] if names else store.all()
    return [(one, store.verify(one, run.output.progress())) for one in chosen]


def require_intact(verified: Sequence[tuple[Stored, str | None]]) -> None:
    """Raise ModelFileError if a verified model is damaged."""
    broken = [(one, problem) for one, problem in verified if problem is not None]
    if broken:
        first, problem = broken[0]
        raise ModelFileError(f"{len(broken)} of {len(verified)} files damaged: {problem}", hint=first.remedy)


@dataclass(frozen=True)
class Removal:
    """The result of removing a model."""

    model: str
    quant: str | None  # None: all of them
    freed_bytes: int
    linked: tuple[LinkedFile, ...]  # kept
    checkpoint: Path | None  # the original, if it was kept


@dataclass(frozen=True)
class LinkedFile:
    """A model's file outside the store."""

    path: Path
    size: int  # bytes
    run_bytes: int  # of the training run that made it, on disk; 0 without a run


def remove_model(run: Run, name: str) -> Removal:
    """Remove a pulled model, or one of its quants. Raises like `Store.remove`."""
    from cgcli.hub.catalog import parse_spec

    store, spec = model_store(run), parse_spec(name)
    linked = _linked_files(store, spec.name, spec.quant)
    freed = store.remove(spec.name, spec.quant, run.output.progress())
    original = store.checkpoint(spec.name)
    kept = original.is_dir() and not store.quants(spec.name)
    return Removal(spec.name, spec.quant, freed, tuple(linked), original if kept else None)


def _linked_files(store: Store, name: str, quant: str | None) -> list[LinkedFile]:
    """A model's files outside the store; none if its manifests cannot be read."""
    from cgcli.train.folder import RunFolder

    try:
        found = store.quants(name)
    except ModelFileError:
        return []
    paths = [one.path for one in found if one.linked and quant in (None, one.quant) and one.path.is_file()]
    return [LinkedFile(path, path.stat().st_size, RunFolder(path.parent).held_bytes) for path in paths]


@dataclass(frozen=True)
class ConvertArguments:
    """The command line of `convert`, without the settings."""

    source: Path  # a checkpoint in the Hub's layout
    output: Path
    quant: str
    no_verify: bool = False
    mp_num: int | None = None


def convert_folder(run: Run, settings: Settings, arguments: ConvertArguments) -> Report:
    """Convert a checkpoint to GGUF. Raises like `convert`, and UsageError if there is no such folder."""
    from cgcli.convert.convert import convert
    from cgcli.convert.writer import Provenance
    from cgcli.core.files import check_writable
    from cgcli.core.machine import thread_count

    source = arguments.source
    if not source.exists():
        raise UsageError(f"no such folder: {source}", hint="cgcli convert --help")
    check_writable(arguments.output)
    return convert(
        source,
        arguments.output,
        quant=arguments.quant.lower(),
        provenance=Provenance(source.resolve().name),
        progress=run.output.progress(),
        threads=settings.threads or thread_count(),
        verify_result=not arguments.no_verify,
        mp_num=arguments.mp_num,
    )


# --- programs


def program_store(run: Run) -> ProgramStore:
    """The store of programs."""
    from cgcli.program.program_store import ProgramStore

    return ProgramStore(run.environment.data / "programs")


def remove_programs(run: Run, names: Iterable[str]) -> Iterator[str]:
    """Remove programs, and yield the ID of each. Raises UsageError, before it removes any, if one does not exist."""
    store = program_store(run)
    for found in dict.fromkeys([store.find(name) for name in names]):
        store.remove(found)
        yield found


def prune_programs(run: Run, *, days: int | None, dry_run: bool) -> Iterator[Summary]:
    """Remove the programs that never had a turn and, with `days`, those that have not changed for so long; yield each.

    Open and damaged programs stay. dry_run: remove nothing.
    """
    from datetime import UTC, datetime, timedelta

    store = program_store(run)
    oldest = datetime.now(UTC) - timedelta(days=days) if days else datetime.min.replace(tzinfo=UTC)
    for one in store.list():
        if (one.empty or one.when < oldest) and not (one.open or one.damage):
            if not dry_run:
                store.remove(one.id)
            yield one


def exported_program(run: Run, name: str, form: str, output: Path | None) -> tuple[str, str]:
    """A program in an export format: the text and the format's language. With `output`, the text is written there."""
    from cgcli.core.files import check_writable, write_atomic
    from cgcli.program.export import export, find_format
    from cgcli.program.source import encode

    wanted = find_format(form)
    found = program_store(run).read(name)
    text = export(found.history.program, found.header.language, wanted, found.history.runs)
    if output:
        check_writable(output)
        write_atomic(output, encode(text))
    return text, "markdown" if wanted == "md" else "json"
