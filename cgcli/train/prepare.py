"""Turns sources into records: select texts, provide a tokenizer, tokenize, pack.

    OUT/data/texts.jsonl      the texts that are trained on, one a line
    OUT/data/held_out.jsonl   the texts that are held out
    OUT/data/tokenizer/       the tokenizer's files, copied or trained
    OUT/data/records.npy      the records
    OUT/data/data.json        counts of what was read, skipped and used, and a fingerprint of the input; written last

The work is repeated only if its input has changed. Memory grows by some 150 bytes per text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import disk_error, write_atomic
from cgcli.core.paths import expanded
from cgcli.core.progress import Progress, Silent
from cgcli.core.reading import parse_json, read_bytes, sha256_file
from cgcli.core.typed import typed
from cgcli.train.recipe import Recipe
from cgcli.train.records import SHORTEST, RecordWriter
from cgcli.train.sources import FileCounts, Source, read_sources, walk
from cgcli.train.texts import TextSelection, read_texts, write_texts
from cgcli.train.tokenizer import FILES, Tokenizer, copy_tokenizer, train_tokenizer

_FORMAT = 1  # of OUT/data; data of another format are prepared again
_BATCH_BYTES = 1 << 20  # of text, tokenized together


@dataclass(frozen=True)
class Prepared:
    """The data of a run."""

    records: Path
    held_out: Path
    texts: Path
    tokenizer: Path  # a folder
    counts: dict[str, Any]  # the content of data.json


def prepare(
    recipe: Recipe,
    base: Path,
    out: Path,
    tokenizer: Path | None,
    progress: Progress,
    sources: Iterable[Source] | None = None,
    *,
    cache: Path | None = None,
) -> Prepared:
    """Prepare the records of `recipe` in `out`/data, or return those that are there and still valid.

    base: folder that the recipe's paths are relative to; tokenizer: CodeGen's files, for a recipe that says "codegen";
    sources: read in place of the recipe's paths and packages; cache: folder for downloaded packages, `out`/packages by
    default. Raises UsageError and CgcliError for data that cannot be read or are not enough.
    """
    folder = out / "data"
    fingerprint = None if sources is not None else _fingerprint(recipe, base, tokenizer)
    there = prepared(out)
    if there is not None and fingerprint is not None and there.counts["fingerprint"] == fingerprint:
        return there
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.json").unlink(missing_ok=True)
        skipped = FileCounts()
        held_out: frozenset[str] = frozenset()
        if sources is None:
            sources, held_out = _sources(recipe, base, cache or out / "packages", skipped, progress)
        counts, starts = write_texts(sources, TextSelection(recipe.data, skipped, held_out), folder, progress)
        random.Random(recipe.data.seed).shuffle(starts)
        _provide_tokenizer(recipe, _tokenizer_folder(recipe, base, tokenizer), folder, starts, progress)
        total = sum(counts[kind]["bytes"] for kind in ("trained_on", "turns") if kind in counts)
        counts["records"] = _pack(recipe, folder, starts, total, progress)
        counts["fingerprint"] = fingerprint
        write_atomic(folder / "data.json", json.dumps(counts, indent=2).encode())
    except BaseException as error:
        _remove(folder)
        if isinstance(error, OSError):
            raise disk_error(folder, error) from error
        raise
    return _prepared(folder, counts)


def check_data(recipe: Recipe, base: Path, tokenizer: Path | None) -> None:
    """Raise what `prepare` would raise if the recipe's paths come to less than a record.

    Writes nothing, reads no more than necessary, and downloads no packages: a recipe that has some is not checked.
    """
    data, context = recipe.data, recipe.model.context
    given = _tokenizer_folder(recipe, base, tokenizer)
    if data.packages:
        return
    selection, held_out = TextSelection(data, FileCounts()), 0

    def selected() -> Iterator[str]:
        nonlocal held_out
        for source in _sources(recipe, base, base, selection.skipped, Silent())[0]:
            if selection.accepts(source):
                if selection.holds_out(source):
                    held_out += 1
                else:
                    yield source.text

    texts = selected()
    first = list(itertools.islice(texts, 1))
    selection.check_not_empty(len(first), held_out)
    texts = itertools.chain(first, texts)
    if given is None or find_spec("tokenizers") is None:
        # A token has at least one byte, and each text ends with one more.
        most = 0
        for text in texts:
            most += len(text.encode()) + 1
            if most >= context:
                return
        raise _too_few(f"{most:,} tokens at most", context)
    rows = recipe.model.vocabulary
    coder = Tokenizer(given, rows)
    with RecordWriter(Path(os.devnull), context, rows, coder.end_of_text) as writer:
        for ids in (ids for batch in _batches(texts) for ids in coder.encode(batch)):
            writer.add(ids)
            if writer.records:
                return
    raise _too_few(f"{writer.dropped:,} tokens", context)


def prepared(out: Path) -> Prepared | None:
    """The data in `out`, even if their sources have changed since; None if they are missing or incomplete."""
    folder = out / "data"
    with suppress(OSError, ValueError):
        counts = typed(dict[str, Any], parse_json(read_bytes(folder / "data.json")), "data.json")
        there = _prepared(folder, {"fingerprint": None} | counts)
        if all(path.exists() for path in (there.records, there.held_out, there.texts, there.tokenizer)):
            return there
    return None


def _remove(folder: Path) -> None:
    """Remove incomplete data: the next call prepares them from the beginning."""
    made = _prepared(folder, {})
    shutil.rmtree(made.tokenizer, ignore_errors=True)
    for file in (made.records, made.held_out, made.texts):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _prepared(folder: Path, counts: dict[str, Any]) -> Prepared:
    return Prepared(
        records=folder / "records.npy",
        held_out=folder / "held_out.jsonl",
        texts=folder / "texts.jsonl",
        tokenizer=folder / "tokenizer",
        counts=counts,
    )


def _sources(
    recipe: Recipe, base: Path, cache: Path, skipped: FileCounts, progress: Progress
) -> tuple[Iterator[Source], frozenset[str]]:
    """The recipe's sources, and the names of those that its list of packages holds out."""
    data = recipe.data
    if not data.paths and not data.packages:
        raise UsageError("no data: the recipe has neither [data] paths nor packages", hint="--data PATH")
    if not data.packages:
        return read_sources(base, data.paths, data.extensions, skipped), frozenset()
    from cgcli.train import packages

    listed = base / data.packages

    def both() -> Iterator[Source]:
        yield from packages.sources(listed, cache, progress)
        yield from read_sources(base, data.paths, data.extensions, skipped)

    return both(), packages.held_out(listed)


def _too_few(amount: str, context: int) -> CgcliError:
    return CgcliError(
        f"the data come to {amount}, less than one record of {context} tokens",
        hint=f"add data, or reduce [model] context (texts of fewer than {SHORTEST} tokens are skipped)",
    )


def _provide_tokenizer(recipe: Recipe, given: Path | None, folder: Path, starts: list[int], progress: Progress) -> None:
    """Copy the tokenizer `given` into `folder`/tokenizer, or train one on the texts at `starts`."""
    for name in FILES:
        (folder / "tokenizer" / name).unlink(missing_ok=True)
    if given is not None:
        copy_tokenizer(given, folder / "tokenizer")
        return
    with progress.task("training the tokenizer", None) as task:

        def watched() -> Iterator[str]:
            for text in read_texts(folder / "texts.jsonl", starts):
                task.advance(len(text.encode()))
                yield text

        train_tokenizer(watched(), recipe.model.vocabulary, recipe.model.context, folder / "tokenizer")


def _pack(recipe: Recipe, folder: Path, starts: list[int], total: int, progress: Progress) -> dict[str, int]:
    """Write the records of the texts, `total` bytes in all, in the order of `starts`."""
    context, rows = recipe.model.context, recipe.model.vocabulary
    tokenizer = Tokenizer(folder / "tokenizer", rows)
    with (
        RecordWriter(folder / "records.npy", context, rows, tokenizer.end_of_text) as writer,
        progress.task("tokens", total) as task,
    ):
        for batch in _batches(read_texts(folder / "texts.jsonl", starts)):
            for ids in tokenizer.encode(batch):
                writer.add(ids)
            task.advance(sum(len(text.encode()) for text in batch))
    if not writer.records:
        raise _too_few(f"{writer.dropped:,} tokens", context)
    return {"records": writer.records, "tokens": writer.tokens, "tokens_dropped": writer.dropped}


def _batches(every: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in every:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tokenizer_folder(recipe: Recipe, base: Path, tokenizer: Path | None) -> Path | None:
    """The folder with the tokenizer's files; None if one is to be trained."""
    if recipe.data.tokenizer == "train":
        return None
    if recipe.data.tokenizer != "codegen":
        return base / expanded(recipe.data.tokenizer)
    if tokenizer is None:
        raise UsageError(
            'the recipe needs CodeGen\'s tokenizer ([data] tokenizer = "codegen")',
            hint="--tokenizer FOLDER, for example that of a pulled checkpoint",
        )
    return tokenizer


def _fingerprint(recipe: Recipe, base: Path, tokenizer: Path | None) -> str:
    """A hash of the input of the records: the recipe, and the size and time of each file."""
    data, model = recipe.data, recipe.model
    parts: list[Any] = [_FORMAT, asdict(data), model.context, model.vocabulary]
    for path, shown in walk(base, data.paths, data.extensions, FileCounts()):
        there = path.stat()
        parts.append([shown, there.st_size, there.st_mtime_ns])
    if data.packages and (base / data.packages).is_file():
        parts += [sha256_file(base / data.packages), platform.python_version()]
    given = _tokenizer_folder(recipe, base, tokenizer)
    if given is not None and given.is_dir():
        files = [given / name for name in FILES if (given / name).is_file()]
        parts += [[path.name, sha256_file(path)] for path in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
