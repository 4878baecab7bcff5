"""A checkpoint's tokenizer files as the vocabulary of a GGUF: texts, types, merges.

It knows GPT-2's byte-level BPE; where the files have what is `tokenizer_files`'s. It does not tokenize: llama.cpp does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cgcli.convert.tokenizer_files import TokenizerFiles, read_tokenizer_files
from cgcli.core.errors import ModelFileError
from cgcli.core.reading import shown

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
    """The vocabulary of the files in `folder`, as `make_vocabulary` makes it."""
    return make_vocabulary(read_tokenizer_files(folder), n_vocab)


def make_vocabulary(files: TokenizerFiles, n_vocab: int) -> Vocabulary:
    """The vocabulary that `files` describe, padded to `n_vocab` ids. Raises ModelFileError where they do not fit.

    Ids of the base vocabulary are NORMAL, but <|endoftext|> CONTROL. Added tokens that are found in text, such as runs
    of white space, are USER_DEFINED; any other is CONTROL, never read out of a prompt. Ids that nothing names are
    UNUSED.
    """
    alphabet = byte_alphabet()
    base = {text: token for text, token in files.base.items() if text not in files.added}
    for text, token in base.items():
        if not text or len(text) > MAX_TOKEN_CHARACTERS or not alphabet.issuperset(text):
            what = f"the token {token} has the text {shown(text)}, which is not a text of byte-level BPE"
            raise ModelFileError(f"{files.place}: {what}")
    if not alphabet <= files.base.keys():
        raise ModelFileError(f"{files.place}: has no token for some of the 256 bytes")
    if END_OF_TEXT not in files.base and END_OF_TEXT not in files.added:
        raise ModelFileError(f"{files.place}: has no {END_OF_TEXT}")
    _check_merges(files)
    texts: list[str | None] = [None] * n_vocab
    types = [UNUSED] * n_vocab

    def put(text: str, token: int, kind: int, place: Path) -> None:
        if token >= n_vocab:
            raise ModelFileError(f"{place}: the id {token} is not below the vocab_size {n_vocab} of config.json")
        if texts[token] not in (None, text):
            raise ModelFileError(f"{place}: {shown(text)} and {shown(texts[token])} have the same id {token}")
        texts[token] = text
        types[token] = CONTROL if text == END_OF_TEXT else kind

    for text, token in base.items():
        put(text, token, NORMAL, files.place)
    for added in files.added.values():
        if fault := _fault(added.text):
            raise ModelFileError(f"{added.place}: the token {added.id} has the text {shown(added.text)}{fault}")
        put(added.text, added.id, USER_DEFINED if added.in_text else CONTROL, added.place)
    padded = tuple(f"[PAD{token}]" if text is None else text for token, text in enumerate(texts))
    if len(set(padded)) != n_vocab:
        raise ModelFileError(f"{files.place}: has a token that is called like padding, [PAD<id>]")
    return Vocabulary(padded, tuple(types), tuple(files.merges), padded.index(END_OF_TEXT))


def byte_alphabet() -> frozenset[str]:
    """The characters that stand for the 256 bytes in GPT-2's vocabulary (openai/gpt-2 src/encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    return frozenset(map(chr, printable)) | frozenset(chr(256 + index) for index in range(256 - len(printable)))


def _fault(text: str) -> str | None:
    """What keeps the text of an added token from being one, for the end of a sentence."""
    if not text or len(text) > MAX_TOKEN_CHARACTERS:
        return f", which is not of 1 to {MAX_TOKEN_CHARACTERS} characters"
    if "\0" in text:
        return " with a NUL, which no token of llama.cpp can hold"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return " with half a character (a surrogate)"
    return None


def _check_merges(files: TokenizerFiles) -> None:
    base, folder = files.base, files.place.parent
    for rank, merge in enumerate(files.merges):
        left, space, right = merge.partition(" ")
        if not space or left not in base or right not in base or left + right not in base:
            raise ModelFileError(f"{folder}: merge {rank} is {shown(merge)}, which the vocabulary does not have")
    if len(set(files.merges)) != len(files.merges):
        raise ModelFileError(f"{folder}: has a merge twice")
