"""Put a trained codegen-nano into models/: its checkpoint, the GGUF made from it, and the manifest.

    python -m tests.bundle OUT

OUT is the folder of a finished `cgcli train nano`, as `make nano` leaves it in build/nano.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.machine import thread_count
from cgcli.core.progress import Silent
from cgcli.core.reading import sha256_file
from cgcli.hub.catalog import bundled_models, load_catalog
from cgcli.hub.store import Manifest, Store, Stored

NAME = "codegen-nano"
PROVENANCE = Provenance(f"trained as {NAME}")


def made(checkpoint: Path, target: Path) -> None:
    """The GGUF of a checkpoint, as it is bundled."""
    (quant,) = load_catalog().require(NAME).quants
    convert(checkpoint, target, quant=quant, provenance=PROVENANCE, progress=Silent(), threads=thread_count())


def bundled(export: Path) -> Stored:
    card, store = load_catalog().require(NAME), Store(bundled_models())
    checkpoint, work = store.checkpoint(NAME), store.folder(NAME) / "new.gguf"
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.copytree(export, checkpoint)
    made(checkpoint, work)
    (quant,) = card.quants
    size, digest = work.stat().st_size, sha256_file(work, Silent(), "")
    return store.admit(work, Manifest(NAME, quant, f"{quant}.gguf", size, digest, card.source, licence=card.licence))


if __name__ == "__main__":
    print(bundled(Path(sys.argv[1]) / "export").path)
