"""A checkpoint's tokenizer files as the vocabulary of a GGUF: texts, types, merges.

It knows GPT-2's byte-level BPE and CodeGen's files for it (vocab.json, merges.txt, added_tokens.json; or tokenizer.json
alone). It does not tokenize: llama.cpp does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.convert.json_file import read_json
from cgcli.core.errors import ModelFileError
from cgcli.core.reading import read_text, shown, unreadable

END_OF_TEXT = "<|endoftext|>"

# enum llama_token_type of llama.h
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5

MAX_TOKEN_CHARACTERS = 1024


@dataclass(frozen=True)
class Vocabulary:
    """Texts and types by id: [n_vocab] each; merges in order of rank, `left right`."""

    texts: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    end_of_text: int


def read_vocabulary(folder: Path, n_vocab: int) -> Vocabulary:
    """The vocabulary in `folder`, padded to `n_vocab` ids. Raises ModelFileError where the files do not fit together.

    Ids of vocab.json are NORMAL, but <|endoftext|> CONTROL. Of added_tokens.json, runs of white space are USER_DEFINED,
    found in text; any other is CONTROL, never read out of a prompt. Ids that nothing names are UNUSED.
    """
    if (folder / "vocab.json").is_file():
        path = folder / "vocab.json"
        base = _ids(path, read_json(path))
        merges = _read_merges(folder / "merges.txt")
        added_path = folder / "added_tokens.json"
        added = _ids(added_path, read_json(added_path)) if added_path.is_file() else {}
    else:
        path = added_path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelFileError(f"{folder}: has no vocab.json and no tokenizer.json")
        base, merges, added = _read_tokenizer_json(path)
    alphabet = byte_alphabet()
    for text in base:
        if not alphabet.issuperset(text):
            raise ModelFileError(f"{path}: {shown(text)} is not a text of byte-level BPE")
    if not alphabet <= base.keys():
        raise ModelFileError(f"{path}: has no token for some of the 256 bytes")
    if END_OF_TEXT not in base and END_OF_TEXT not in added:
        raise ModelFileError(f"{path}: has no {END_OF_TEXT}")
    _check_merges(path, base, merges)
    texts: list[str | None] = [None] * n_vocab
    types = [UNUSED] * n_vocab
    for source, ids, place in (base, NORMAL, path), (added, CONTROL, added_path):
        for text, token in source.items():
            if token >= n_vocab:
                raise ModelFileError(f"{place}: the id {token} is not below the vocab_size {n_vocab} of config.json")
            if texts[token] not in (None, text):
                raise ModelFileError(f"{place}: {shown(text)} and {shown(texts[token])} have the same id {token}")
            if base.get(text, token) != token:
                raise ModelFileError(f"{place}: {shown(text)} has two ids")
            texts[token] = text
            types[token] = USER_DEFINED if text.isspace() else CONTROL if text == END_OF_TEXT else ids
    padded = tuple(f"[PAD{token}]" if text is None else text for token, text in enumerate(texts))
    if len(set(padded)) != n_vocab:
        raise ModelFileError(f"{path}: has a token that is called like padding, [PAD<id>]")
    return Vocabulary(padded, tuple(types), tuple(merges), padded.index(END_OF_TEXT))


def byte_alphabet() -> frozenset[str]:
    """The characters that stand for the 256 bytes in GPT-2's vocabulary (openai/gpt-2 src/encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    return frozenset(map(chr, printable)) | frozenset(chr(256 + index) for index in range(256 - len(printable)))


def _ids(path: Path, table: dict[str, Any]) -> dict[str, int]:
    seen: set[int] = set()
    for text, token in table.items():
        if type(token) is not int or token < 0 or token in seen:
            raise ModelFileError(f"{path}: {shown(text)} has the id {shown(token)}, which is not one of its own")
        if not 0 < len(text) <= MAX_TOKEN_CHARACTERS or not (text.isprintable() or text.isspace()):
            raise ModelFileError(f"{path}: the token {token} has the text {shown(text)}")
        seen.add(token)
    return table


def _read_merges(path: Path) -> list[str]:
    try:
        lines = read_text(path).split("\n")
    except (OSError, ValueError) as error:
        raise unreadable(path, error, ModelFileError) from error
    if lines[0].startswith("#version"):
        del lines[0]
    return [line.rstrip("\r") for line in lines if line.strip()]


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], list[str], dict[str, int]]:
    """Base vocabulary, merges and added tokens of a fast tokenizer's one file."""
    content = read_json(path)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise ModelFileError(f"{path}: is not a BPE tokenizer")
    merges = []
    for merge in _list(path, model, "merges"):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ModelFileError(f"{path}: has the merge {shown(merge)}")
        merges.append(" ".join(pair))
    added: dict[str, Any] = {}
    for entry in _list(path, content, "added_tokens"):
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFileError(f"{path}: has the added token {shown(entry)}")
        added[entry["content"]] = entry.get("id")
    return _ids(path, model["vocab"]), merges, _ids(path, added)


def _list(path: Path, table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise ModelFileError(f"{path}: {key} is {shown(value)}, not a list")
    return value


def _check_merges(path: Path, base: dict[str, int], merges: list[str]) -> None:
    for rank, merge in enumerate(merges):
        left, space, right = merge.partition(" ")
        if not space or left not in base or right not in base or left + right not in base:
            raise ModelFileError(f"{path.parent}: merge {rank} is {shown(merge)}, which the vocabulary does not have")
    if len(set(merges)) != len(merges):
        raise ModelFileError(f"{path.parent}: has a merge twice")
