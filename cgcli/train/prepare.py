"""From sources to records: read, filter, take each text once, keep some out, tokenize, pack.

    OUT/data/texts.jsonl      what is trained on, a text a line
    OUT/data/held_out.jsonl   what is kept out, likewise
    OUT/data/tokenizer/       the tokenizer's files, given or trained
    OUT/data/records.npy      the records
    OUT/data/data.json        what was read, dropped and kept, and what it was made of; written last

It is done again only where what it reads has changed. Memory does not grow with the texts, but for some 150 bytes each.
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
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import disk_error, write_atomic
from cgcli.core.progress import Progress, Silent
from cgcli.core.reading import parse_json, read_bytes
from cgcli.core.typed import typed
from cgcli.core.units import plural
from cgcli.train import filters
from cgcli.train.recipe import DataPart, Recipe
from cgcli.train.records import SHORTEST, RecordWriter
from cgcli.train.sources import MAX_BYTES, Source, Tally, read, walk
from cgcli.train.texts import TextWriter, texts
from cgcli.train.tokenizer import FILES, Tokenizer, keep, train
from cgcli.train.turns import turned

_FORMAT = 1  # of what is in OUT/data; another number, and it is made anew
_BATCH_BYTES = 1 << 20  # of text, tokenized at once
# What to do about data of which nothing is left, by why a file was dropped.
_REMEDIES = {
    "compressed": "unpack them first; .zip, .whl and .tar.* are read as they are",
    "no JSON line of a text": 'each line is an object with the text: {"text": "..."}',
    "not UTF-8": "iconv -f latin1 -t utf-8 OLD > NEW",
    "too large": f"a text has {MAX_BYTES:,} bytes at most: cut it, or give texts as JSON lines",
}


@dataclass(frozen=True)
class Prepared:
    """records, held_out, texts: files; tokenizer: a folder; counts: what data.json says."""

    records: Path
    held_out: Path
    texts: Path
    tokenizer: Path
    counts: dict[str, Any]


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
    """The records of `recipe` in `out`/data, made now or there already.

    base: the folder that the recipe's paths are relative to; tokenizer: CodeGen's files, where the recipe says
    "codegen"; sources: what to read in place of the recipe's paths and packages; cache: where packages are fetched to,
    `out`/packages if not said. Raises UsageError and CgcliError for what cannot be read or is not enough.
    """
    folder = out / "data"
    print_of_input = None if sources is not None else _fingerprint(recipe, base, tokenizer)
    there = prepared(out)
    if there is not None and print_of_input is not None and there.counts["fingerprint"] == print_of_input:
        return there
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.json").unlink(missing_ok=True)
        dropped = Tally()
        kept_out: frozenset[str] = frozenset()
        if sources is None:
            sources, kept_out = _sources(recipe, base, cache or out / "packages", dropped, progress)
        counts, starts = _keep_texts(recipe, sources, kept_out, folder, dropped, progress)
        random.Random(recipe.data.seed).shuffle(starts)
        _put_tokenizer(recipe, base, tokenizer, folder, starts, progress)
        total = sum(counts[kind]["bytes"] for kind in ("trained_on", "turns") if kind in counts)
        counts["records"] = _pack(recipe, folder, starts, total, progress)
        counts["fingerprint"] = print_of_input
        write_atomic(folder / "data.json", json.dumps(counts, indent=2).encode())
    except BaseException as error:
        _remove(folder)
        if isinstance(error, OSError):
            raise disk_error(folder, error) from error
        raise
    return _prepared(folder, counts)


def check(recipe: Recipe, base: Path, tokenizer: Path | None) -> None:
    """Raise what `prepare` would where the recipe's paths come to less than a record. It writes nothing, and reads no
    more than it takes to know; packages are not fetched for it."""
    data, context = recipe.data, recipe.model.context
    given = _tokenizer_folder(recipe, base, tokenizer)
    if data.packages:
        return
    dropped, held_out, seen = Tally(), Tally(), filters.Seen()

    def kept() -> Iterator[str]:
        for source in _sources(recipe, base, base, dropped, Silent())[0]:
            if fault := _fault(source.text, seen):
                dropped.add(fault)
            elif _held_out(source, data):
                held_out.add("")
            else:
                yield source.text

    texts = kept()
    first = next(texts, None)
    if first is None:
        raise _nothing(data, held_out.files[""], dropped)
    every = itertools.chain([first], texts)
    if given is None or find_spec("tokenizers") is None:
        # A token is a byte or more, and one ends each text.
        most = 0
        for text in every:
            most += len(text.encode()) + 1
            if most >= context:
                return
        raise _too_few(f"{most:,} tokens at most", context)
    rows = recipe.model.vocabulary
    coder = Tokenizer(given, rows)
    with RecordWriter(Path(os.devnull), context, rows, coder.end_of_text) as writer:
        for ids in (ids for batch in _batches(every) for ids in coder.encode(batch)):
            writer.add(ids)
            if writer.records:
                return
    raise _too_few(f"{writer.dropped:,} tokens", context)


def prepared(out: Path) -> Prepared | None:
    """What was prepared in `out`, whatever its sources have become since; None where nothing was, or not to its end."""
    folder = out / "data"
    with suppress(OSError, ValueError):
        counts = typed(dict[str, Any], parse_json(read_bytes(folder / "data.json")), "data.json")
        there = _prepared(folder, {"fingerprint": None} | counts)
        if all(path.exists() for path in (there.records, there.held_out, there.texts, there.tokenizer)):
            return there
    return None


def _remove(folder: Path) -> None:
    """What was made of the data, which nobody goes on with: they are prepared from the beginning."""
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
    recipe: Recipe, base: Path, cache: Path, dropped: Tally, progress: Progress
) -> tuple[Iterator[Source], frozenset[str]]:
    """What the recipe names, and those sources that its list of packages keeps out."""
    data = recipe.data
    if not data.paths and not data.packages:
        raise UsageError("nothing to train on: neither [data] paths nor packages")
    if not data.packages:
        return read(base, data.paths, data.extensions, dropped), frozenset()
    from cgcli.train import packages

    listed = base / data.packages

    def both() -> Iterator[Source]:
        yield from packages.sources(listed, cache, progress)
        yield from read(base, data.paths, data.extensions, dropped)

    return both(), packages.held_out(listed)


def _keep_texts(
    recipe: Recipe,
    sources: Iterable[Source],
    kept_out: frozenset[str],
    folder: Path,
    dropped: Tally,
    progress: Progress,
) -> tuple[dict[str, Any], list[int]]:
    """Write the texts that the filters leave: counts of them, and where in texts.jsonl each begins."""
    data = recipe.data
    seen = filters.Seen()
    totals, licences = Tally(), Tally()
    held_sources: set[str] = set()
    with (
        TextWriter(folder / "texts.jsonl") as trained,
        TextWriter(folder / "held_out.jsonl") as held_out,
        progress.task("texts", None) as task,
    ):
        for source in sources:
            size = len(source.text.encode())
            task.advance(size)
            totals.add("read", size)
            if fault := _fault(source.text, seen):
                dropped.add(fault, size)
            elif source.source in kept_out or _held_out(source, data):
                held_sources.add(source.source)
                totals.add("held_out", size)
                held_out.add(source)
            else:
                totals.add("trained_on", size)
                licences.add(source.licence, size)
                trained.add(source)
                if filters.drawn(f"turns of {source.path}", data.seed, data.turns):
                    for program in turned(source.text, data.seed):
                        if not seen.before(program):
                            totals.add("turns", len(program.encode()))
                            trained.add(replace(source, path=f"{source.path} (turns)", text=program))
    if not trained.starts:
        raise _nothing(data, totals.files["held_out"], dropped)
    counts: dict[str, Any] = {
        **totals.table(),
        "held_out_sources": len(held_sources),
        "dropped": dropped.table(),
        "licences": licences.table(),
    }
    return counts, trained.starts


def _fault(text: str, seen: filters.Seen) -> str | None:
    """Why a text is not trained on; None where it is."""
    return filters.fault(text) or ("the same as another" if seen.before(text) else None)


def _held_out(source: Source, data: DataPart) -> bool:
    return filters.drawn(source.source, data.seed, data.held_out)


def _nothing(data: DataPart, held_out: int, dropped: Tally) -> CgcliError:
    """No text is left: why."""
    reasons = {"held out": held_out, **dict(dropped.files.most_common())}
    told = ", ".join(f"{files} {reason}" for reason, files in reasons.items() if files)
    if not told:
        kinds = " or ".join(data.extensions)
        return CgcliError(
            f"no file to train on in {', '.join(data.paths)}: none ends in {kinds}",
            hint="name the files themselves, or set [data] extensions in a recipe",
        )
    hint = next((hint for reason, hint in _REMEDIES.items() if reason in reasons), None)
    total = sum(reasons.values())
    return CgcliError(f"no text to train on is left of {plural(total, 'file')}: {told}", hint=hint)


def _too_few(amount: str, context: int) -> CgcliError:
    return CgcliError(
        f"the data come to {amount}, not one record of {context} tokens",
        hint=f"give more, or a smaller [model] context (texts of fewer than {SHORTEST} tokens are left out)",
    )


def _put_tokenizer(
    recipe: Recipe, base: Path, tokenizer: Path | None, folder: Path, starts: list[int], progress: Progress
) -> None:
    given = _tokenizer_folder(recipe, base, tokenizer)
    for name in FILES:
        (folder / "tokenizer" / name).unlink(missing_ok=True)
    if given is not None:
        keep(given, folder / "tokenizer")
        return
    with progress.task("learning a tokenizer", None) as task:

        def watched() -> Iterator[str]:
            for text in texts(folder / "texts.jsonl", starts):
                task.advance(len(text.encode()))
                yield text

        train(watched(), recipe.model.vocabulary, recipe.model.context, folder / "tokenizer")


def _pack(recipe: Recipe, folder: Path, starts: list[int], total: int, progress: Progress) -> dict[str, int]:
    """Write the records of the texts, `total` bytes, in the order of `starts`."""
    context, rows = recipe.model.context, recipe.model.vocabulary
    tokenizer = Tokenizer(folder / "tokenizer", rows)
    with (
        RecordWriter(folder / "records.npy", context, rows, tokenizer.end_of_text) as writer,
        progress.task("tokens", total) as task,
    ):
        for batch in _batches(texts(folder / "texts.jsonl", starts)):
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
    """Where the tokenizer's files are; None where one is to be trained."""
    if recipe.data.tokenizer == "train":
        return None
    if recipe.data.tokenizer != "codegen":
        return base / Path(recipe.data.tokenizer).expanduser()
    if tokenizer is None:
        raise UsageError(
            'the recipe wants CodeGen\'s tokenizer ([data] tokenizer = "codegen"), and none was given',
            hint="--tokenizer FOLDER, such as that of a pulled checkpoint",
        )
    return tokenizer


def _fingerprint(recipe: Recipe, base: Path, tokenizer: Path | None) -> str:
    """Of all that the records are made of: what the recipe says, and of each file its size and time."""
    data, model = recipe.data, recipe.model
    parts: list[Any] = [_FORMAT, asdict(data), model.context, model.vocabulary]
    for path, shown in walk(base, data.paths, data.extensions, Tally()):
        there = path.stat()
        parts.append([shown, there.st_size, there.st_mtime_ns])
    if data.packages and (base / data.packages).is_file():
        parts += [hashlib.sha256((base / data.packages).read_bytes()).hexdigest(), platform.python_version()]
    given = _tokenizer_folder(recipe, base, tokenizer)
    if given is not None and given.is_dir():
        files = [given / name for name in FILES if (given / name).is_file()]
        parts += [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
