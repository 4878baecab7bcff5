"""Tokenizes texts, with CodeGen's tokenizer or with one of the same scheme trained on the data.

The scheme is GPT-2's byte-level BPE, <|endoftext|>, and a token for each run of 31 to 2 spaces and 9 to 2 tabs. Files
are read as `cgcli convert` reads them, so that text is tokenized the same way in training and in use.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.convert.vocabulary import END_OF_TEXT, UNUSED, USER_DEFINED, byte_alphabet, read_vocabulary
from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import write_atomic
from cgcli.core.model_files import read_object

if TYPE_CHECKING:
    import tokenizers

# CodeGen's added tokens, in the order of their ids (salesforce/CodeGen codegen1/jaxformer/hf/sample.py).
RUNS = tuple(" " * length for length in range(31, 1, -1)) + tuple("\t" * length for length in range(9, 1, -1))
SAMPLE_BYTES = 40_000_000  # of text; more of it hardly changes the BPE
_ONE_FILE = "tokenizer.json"  # of a fast tokenizer; replaces the first three
FILES = ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json", _ONE_FILE)


class Tokenizer:
    """A tokenizer read from a folder of files."""

    def __init__(self, folder: Path, rows: int) -> None:
        """rows: ids in all, padding included. Raises UsageError if `rows` are too few for the files in `folder`,
        ModelFileError if the files do not match."""
        from tokenizers import AddedToken, models, pre_tokenizers
        from tokenizers import Tokenizer as Bpe

        _check_rows(folder, rows)
        vocabulary = read_vocabulary(folder, rows)
        self.end_of_text = vocabulary.end_of_text  # the id that ends a text
        self.rows = rows
        ids = {text: token for token, text in enumerate(vocabulary.texts) if vocabulary.types[token] != UNUSED}
        merges = [(left, right) for left, right in (merge.split(" ") for merge in vocabulary.merges)]
        # No merge produces <|endoftext|> or a run, so BPE never yields them; runs are split off before BPE.
        self._bpe: tokenizers.Tokenizer = Bpe(models.BPE(ids, merges))
        self._bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        runs = [text for text, kind in zip(vocabulary.texts, vocabulary.types, strict=True) if kind == USER_DEFINED]
        self._bpe.add_tokens([AddedToken(run, normalized=False) for run in runs])

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text. Special tokens in a text are read as plain text."""
        return [encoding.ids for encoding in self._bpe.encode_batch_fast(texts, add_special_tokens=False)]


def copy_tokenizer(folder: Path, into: Path) -> None:
    """Copy the tokenizer files in `folder`. Raises CgcliError if it has none."""
    names = [name for name in FILES if (folder / name).is_file()]
    if not {"vocab.json", _ONE_FILE} & set(names):
        raise CgcliError(
            f"{folder} has no tokenizer: it needs vocab.json and merges.txt, or {_ONE_FILE}",
            hint="give the folder of a checkpoint, pulled with cgcli pull NAME --keep",
        )
    into.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(folder / name, into / name)


def train_tokenizer(texts: Iterable[str], rows: int, context: int, folder: Path) -> None:
    """Train a BPE on the first SAMPLE_BYTES of `texts` and write its files to `folder`.

    rows: 256 bytes, merges, <|endoftext|> and the runs; fewer if the texts do not yield that many merges. context:
    tokens, written to tokenizer_config.json. The same texts give the same files. Raises UsageError if `rows` are too
    few.
    """
    from tokenizers import Regex, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Bpe

    least = 256 + 1 + len(RUNS)
    if rows < least:
        raise UsageError(
            f"[model] vocabulary {rows} is too small: bytes, end of text and runs of white space need {least}"
        )
    bpe = Bpe(models.BPE())
    runs = pre_tokenizers.Split(Regex(" {2,}|\t{2,}"), "removed")  # tokens of their own, never part of another
    bpe.pre_tokenizer = pre_tokenizers.Sequence([runs, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=rows - 1 - len(RUNS),
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(byte_alphabet()),
    )
    bpe.train_from_iterator(_sample(texts), trainer)
    learned = json.loads(bpe.to_str())["model"]
    vocabulary = {**learned["vocab"], END_OF_TEXT: len(learned["vocab"])}
    added = {run: len(vocabulary) + index for index, run in enumerate(RUNS)}
    names = dict.fromkeys(("unk_token", "bos_token", "eos_token"), END_OF_TEXT)
    config = {"add_prefix_space": False, "model_max_length": context, "tokenizer_class": "CodeGenTokenizer"}
    merges = "".join(f"{left} {right}\n" for left, right in learned["merges"])
    write_atomic(folder / "merges.txt", f"#version: 0.2\n{merges}".encode())
    for name, content in {
        "vocab.json": vocabulary,
        "added_tokens.json": added,
        "tokenizer_config.json": names | config,
        "special_tokens_map.json": names,
    }.items():
        write_atomic(folder / name, json.dumps(content, ensure_ascii=False).encode())


def _sample(texts: Iterable[str]) -> Iterator[str]:
    left = SAMPLE_BYTES
    for text in texts:
        left -= len(text)
        if left < 0:
            return
        yield text


def _check_rows(folder: Path, rows: int) -> None:
    """Raises UsageError if the files have more tokens than the model has rows."""
    names = [folder / name for name in ("vocab.json", "added_tokens.json") if (folder / name).is_file()]
    tokens = sum(len(read_object(path)) for path in names)
    if tokens > rows:
        raise UsageError(f"[model] vocabulary {rows} is smaller than the {tokens} tokens of {folder}")
