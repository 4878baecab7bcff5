"""Converts a CodeGen checkpoint on disk to a quantized, verified GGUF.

Steps: read the folder, write an f16 GGUF beside the target, verify it against the checkpoint, quantize it, measure the
quantized model's divergence from f16, rename. Temporary files are removed in any case.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cgcli.convert.checkpoint import open_checkpoint, sha256_of
from cgcli.convert.config import read_config
from cgcli.convert.verify import SUSPICIOUS_LOSS, Verification, kl_divergence, verify, verify_token_ids
from cgcli.convert.vocabulary import make_vocabulary, read_tokenizer_files
from cgcli.convert.writer import Provenance, write_gguf
from cgcli.core.errors import ModelFileError, UsageError
from cgcli.core.files import disk_error, replacing, temporary
from cgcli.core.progress import Progress

UNQUANTIZED = "f16"
NO_SPACE_BYTES = 1 << 20  # with less than this left, a write failed because the disk is full


@dataclass(frozen=True)
class Report:
    """The result of a conversion."""

    source: str
    revision: str | None
    quant: str
    parameters: int
    mp_num: int
    source_sha256: dict[str, str]
    verification: Verification | None  # None if it was turned off
    texts_compared: int | None  # with the checkpoint's own tokenizer, all equal; None without the tokenizers package
    kl_divergence: float | None  # from f16, in nats; None for f16 itself
    size_bytes: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)


def convert(
    source: Path,
    target: Path,
    *,
    quant: str,
    provenance: Provenance,
    progress: Progress,
    threads: int,
    verify_result: bool = True,
    mp_num: int | None = None,
) -> Report:
    """Convert the checkpoint in the folder `source` to the GGUF `target`, quantized as `quant`.

    mp_num: groups of the fused qkv rows; overrides the value that follows from the shape. Raises ModelFileError if the
    folder is not a CodeGen checkpoint, is damaged, or the result fails verification; UsageError for an unknown quant;
    CgcliError if the disk is full. `target` is then unchanged.
    """
    from cgcli.engine.gguf_check import read_header
    from cgcli.engine.quantize import QUANTS, quantize

    if quant not in QUANTS:
        raise UsageError(f"unknown quant {quant!r}", hint=f"choose one of {', '.join(QUANTS)}")
    started = time.monotonic()
    config = read_config(source, mp_num)
    files = read_tokenizer_files(source)
    vocabulary = make_vocabulary(files, config.shape.vocabulary)
    checkpoint = open_checkpoint(source, tied=config.tied)
    hashes = {path.name: provenance.sha256.get(path.name) or sha256_of(path) for path in checkpoint.files}
    provenance = replace(provenance, sha256=hashes)
    verification: Verification | None = None
    divergence: float | None = None
    with replacing(target) as result:
        with _beside(target, result, quant) as f16:
            with _full_disk(target):
                write_gguf(f16, checkpoint, config, vocabulary, provenance, progress)
            read_header(f16)
            compared = verify_token_ids(f16, files)
            if verify_result:
                verification, logits = verify(f16, checkpoint, config, progress, threads=threads)
                if verification.loss > SUSPICIOUS_LOSS:
                    progress.note(
                        f"{provenance.source} has a loss of {verification.loss:.1f} nats per token on Python code, "
                        f"like an untrained model. If it is trained, its mp_num is not {config.mp_num}"
                    )
            if quant != UNQUANTIZED:
                with progress.task(f"quantizing to {quant}", None, unit="steps"), _full_disk(target):
                    quantize(f16, result, quant, threads=threads)
        parameters, size = read_header(result).parameters, result.stat().st_size
        if verification and quant != UNQUANTIZED:
            divergence = kl_divergence(result, logits, threads=threads)
    return Report(
        source=provenance.source,
        revision=provenance.revision,
        quant=quant,
        parameters=parameters,
        mp_num=config.mp_num,
        source_sha256=hashes,
        verification=verification,
        texts_compared=compared,
        kl_divergence=divergence,
        size_bytes=size,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _beside(target: Path, result: Path, quant: str) -> Iterator[Path]:
    """The file for the f16 GGUF: the result itself, or a temporary file beside the target."""
    if quant == UNQUANTIZED:
        yield result
        return
    with temporary(target.resolve()) as f16:
        yield f16


@contextmanager
def _full_disk(target: Path) -> Iterator[None]:
    """Report a full disk as such: NumPy and llama.cpp only say that a write failed."""
    try:
        yield
    except (OSError, ModelFileError):
        if shutil.disk_usage(target.parent).free < NO_SPACE_BYTES:
            raise disk_error(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from None
        raise
