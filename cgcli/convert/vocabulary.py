"""A checkpoint's tokenizer files as the vocabulary of a GGUF: GPT-2's byte-level BPE, its texts, types and merges.

Over the years transformers has written these in several places: vocab.json and merges.txt, or tokenizer.json; the added
tokens in added_tokens.json, in tokenizer.json, or as `added_tokens_decoder` of tokenizer_config.json. All of them are
read. Contradictions are refused, and so is any setting that gives other ids than GPT-2's tokenizer (tokenizers'
tokenizer.json; transformers' tokenization_utils_base.py, `_from_pretrained`). Nothing here tokenizes: llama.cpp does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgcli.core.errors import ModelFileError
from cgcli.core.model_files import check_kind, read_object
from cgcli.core.reading import read_text, shown, unreadable

END_OF_TEXT = "<|endoftext|>"

# enum llama_token_type of llama.h
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5

MAX_TOKEN_CHARACTERS = 1024

# The classes that read vocab.json and merges.txt as GPT-2's.
_CLASSES = {
    "CodeGenTokenizer", "CodeGenTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast",
    "PreTrainedTokenizerFast", "TokenizersBackend",
}  # fmt: skip
_ONLY = "only GPT-2's tokenizer is supported"
# Flags of an added token that change how its text is matched.
_ODD_FLAGS = ("lstrip", "rstrip", "single_word")


@dataclass
class AddedToken:
    """A token that was added to the base vocabulary."""

    text: str
    id: int
    place: Path  # the file that has it
    special: bool | None = None  # None if no file says so
    normalized: bool = False
    odd: str | None = None  # a flag of _ODD_FLAGS that it sets

    @property
    def in_text(self) -> bool:
        """Whether it is matched in text. Special tokens never are: prompts are text. If no file says whether a token is
        special, only a run of white space is matched."""
        return self.text.isspace() or self.special is False


@dataclass
class TokenizerFiles:
    """The contents of a checkpoint's tokenizer files, combined."""

    place: Path  # the file of the base vocabulary
    base: dict[str, int]  # token ids by text
    merges: list[str]  # `left right`, in order of rank
    added: dict[str, AddedToken] = field(default_factory=dict)  # by text
    content: dict[str, Any] | None = None  # of tokenizer.json

    def add(self, token: AddedToken) -> None:
        """Raises ModelFileError if another file gives the text another id."""
        known = self.added.setdefault(token.text, token)
        for other, place in (known.id, known.place), (self.base.get(token.text, token.id), self.place):
            if other != token.id:
                two = f"{shown(token.text)} has two ids, {token.id} and {other} ({place.name})"
                raise ModelFileError(f"{token.place}: {two}")
        if known is not token:
            known.special = token.special if known.special is None else bool(known.special or token.special)
            known.normalized = known.normalized or token.normalized
            known.odd = known.odd or token.odd


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """The tokenizer files in `folder`. Raises ModelFileError if they are damaged, contradict each other, or describe a
    tokenizer other than GPT-2's."""
    vocab, merges, fast = folder / "vocab.json", folder / "merges.txt", folder / "tokenizer.json"
    content = read_object(fast) if fast.is_file() else None
    if content is not None:
        _check_scheme(fast, content)
    if vocab.is_file():
        base = _ids(vocab, read_object(vocab))
        files = TokenizerFiles(vocab, base, [] if content and not merges.is_file() else _read_merges(merges))
    elif content is None:
        raise ModelFileError(f"{folder}: has neither vocab.json nor tokenizer.json")
    else:
        files = TokenizerFiles(fast, {}, [])
    if content is not None:
        files.content = content
        _unite(files, fast, content)
    added = folder / "added_tokens.json"
    if added.is_file():
        for text, token in _ids(added, read_object(added)).items():
            files.add(AddedToken(text, token, added))
    config = folder / "tokenizer_config.json"
    if config.is_file():
        _read_tokenizer_config(files, config, read_object(config))
    for one in files.added.values():
        if one.odd and one.in_text:
            raise ModelFileError(
                f"{one.place}: the added token {shown(one.text)} sets {one.odd}, which llama.cpp does not support",
                hint=f"if the model was trained without it, set {one.odd} to false",
            )
    return files


def _unite(files: TokenizerFiles, path: Path, content: dict[str, Any]) -> None:
    """Add the contents of tokenizer.json."""
    model = content["model"]
    for text, token in _ids(path, model["vocab"]).items():
        if files.base.setdefault(text, token) != token:
            two = f"{shown(text)} has two ids, {token} and {files.base[text]} ({files.place.name})"
            raise ModelFileError(f"{path}: {two}")
    merges = []
    for merge in _list(path, model, "merges"):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ModelFileError(f"{path}: has the invalid merge {shown(merge)}")
        merges.append(" ".join(pair))
    shorter, longer = sorted((files.merges, merges), key=len)
    ranks = iter(longer)
    if not all(merge in ranks for merge in shorter):
        raise ModelFileError(f"{path}: its merges differ from those of merges.txt")
    files.merges = longer
    ids: set[int] = set()
    for entry in _list(path, content, "added_tokens"):
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFileError(f"{path}: has the invalid added token {shown(entry)}")
        files.add(_added(path, entry["content"], _own_id(path, entry["content"], entry.get("id"), ids), entry))


def _read_tokenizer_config(files: TokenizerFiles, path: Path, content: dict[str, Any]) -> None:
    for key in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if content.get(key) not in (None, False):
            raise ModelFileError(f"{path}: {key} is {shown(content[key])}; {_ONLY}, without {key}")
    kind = content.get("tokenizer_class")
    if files.content is None and kind is not None and not (isinstance(kind, str) and kind in _CLASSES):
        raise ModelFileError(f"{path}: tokenizer_class is {shown(kind)}; {_ONLY}")
    table = content.get("added_tokens_decoder") or {}
    if not isinstance(table, dict):
        raise ModelFileError(f"{path}: added_tokens_decoder is {shown(table)}, expected an object")
    ids: set[int] = set()
    for key, entry in table.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFileError(f"{path}: has the invalid added token {shown(entry)}")
        number = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else key
        files.add(_added(path, entry["content"], _own_id(path, entry["content"], number, ids), entry))


def _added(path: Path, text: str, token: int, entry: dict[str, Any]) -> AddedToken:
    special = entry.get("special")
    odd = next((flag for flag in _ODD_FLAGS if entry.get(flag) not in (None, False)), None)
    known = special if isinstance(special, bool) else None
    return AddedToken(text, token, path, known, entry.get("normalized") is True, odd)


def _check_scheme(path: Path, content: dict[str, Any]) -> None:
    """Raise ModelFileError for a setting of tokenizer.json that gives other token ids than GPT-2's tokenizer."""

    def refuse(what: str) -> ModelFileError:
        return ModelFileError(f"{path}: {what}; {_ONLY}")

    model = content.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None  # files from before 2021 omit the type
    if not isinstance(model, dict) or kind != "BPE" or not isinstance(model.get("vocab"), dict):
        named = f" (its model is of type {shown(kind)})" if kind not in (None, "BPE") else ""
        raise refuse(f"not a BPE tokenizer{named}")
    if "merges" not in model:
        raise refuse("not a BPE tokenizer (its model has no merges)")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(key):
            raise refuse(f"its model sets {key} to {shown(model[key])}")
    for step in _steps(content.get("normalizer"), "normalizers"):
        raise refuse(f"has the normalizer {_type(step)}")
    splits = _steps(content.get("pre_tokenizer"), "pretokenizers")
    for step in splits:
        if _type(step) != "ByteLevel":
            raise refuse(f"has the pre-tokenizer {_type(step)} instead of ByteLevel")
        if step.get("add_prefix_space") not in (None, False):
            raise refuse("its pre-tokenizer sets add_prefix_space")
        if step.get("use_regex", True) is not True:
            raise refuse("its pre-tokenizer does not use GPT-2's pattern (use_regex)")
    if len(splits) != 1:
        raise refuse(f"has {len(splits) or 'no'} pre-tokenizers instead of ByteLevel alone")
    for step in _steps(content.get("post_processor"), "processors"):
        if _type(step) != "ByteLevel" and not _adds_nothing(step):
            raise refuse(f"has the post-processor {_type(step)}, which adds tokens to a text")


def _steps(value: Any, inner: str) -> list[Any]:
    """The steps of one part of tokenizer.json: those of a sequence, or the part itself."""
    if isinstance(value, dict) and value.get("type") == "Sequence" and isinstance(value.get(inner), list):
        return list(value[inner])
    return [] if value is None else [value]


def _type(step: Any) -> str:
    kind = step.get("type") if isinstance(step, dict) else step
    return kind if isinstance(kind, str) and kind.isidentifier() and len(kind) < 40 else shown(kind)


def _adds_nothing(step: Any) -> bool:
    """Whether it is a template that consists of the text alone."""
    if _type(step) != "TemplateProcessing" or not isinstance(step.get("single"), list):
        return False
    return all(isinstance(part, dict) and set(part) == {"Sequence"} for part in step["single"])


def _ids(path: Path, table: dict[str, Any]) -> dict[str, int]:
    seen: set[int] = set()
    return {text: _own_id(path, text, token, seen) for text, token in table.items()}


def _own_id(path: Path, text: str, token: Any, seen: set[int]) -> int:
    if type(token) is not int or token < 0 or token in seen:
        raise ModelFileError(f"{path}: {shown(text)} has the id {shown(token)}, which is invalid or taken")
    seen.add(token)
    return token


def _read_merges(path: Path) -> list[str]:
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error, ModelFileError) from error
    check_kind(path, text.encode(), "text", "empty")
    lines = text.split("\n")
    if lines[0].startswith("#version"):
        del lines[0]
    return [line.rstrip("\r") for line in lines if line.strip()]


def _list(path: Path, table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise ModelFileError(f"{path}: {key} is {shown(value)}, expected a list")
    return value


@dataclass(frozen=True)
class GGUFVocabulary:
    """The vocabulary of a GGUF."""

    texts: tuple[str, ...]  # by id: [n_vocab]
    types: tuple[int, ...]  # by id: [n_vocab]
    merges: tuple[str, ...]  # `left right`, in order of rank
    end_of_text: int  # id


def read_vocabulary(folder: Path, n_vocab: int) -> GGUFVocabulary:
    """The vocabulary of the tokenizer files in `folder`. Raises ModelFileError."""
    return make_vocabulary(read_tokenizer_files(folder), n_vocab)


def make_vocabulary(files: TokenizerFiles, n_vocab: int) -> GGUFVocabulary:
    """The vocabulary that `files` describe, padded to `n_vocab` ids. Raises ModelFileError if they do not fit.

    Tokens of the base vocabulary are NORMAL, except <|endoftext|>, which is CONTROL. Added tokens are USER_DEFINED if
    they are matched in text, as runs of white space are, otherwise CONTROL. Ids without a token are UNUSED.
    """
    alphabet = byte_alphabet()
    base = {text: token for text, token in files.base.items() if text not in files.added}
    for text, token in base.items():
        if not text or len(text) > MAX_TOKEN_CHARACTERS or not alphabet.issuperset(text):
            what = f"token {token} has the text {shown(text)}, which is not byte-level BPE"
            raise ModelFileError(f"{files.place}: {what}")
    if not alphabet <= files.base.keys():
        raise ModelFileError(f"{files.place}: some of the 256 bytes have no token")
    if END_OF_TEXT not in files.base and END_OF_TEXT not in files.added:
        raise ModelFileError(f"{files.place}: has no {END_OF_TEXT}")
    _check_merges(files)
    texts: list[str | None] = [None] * n_vocab
    types = [UNUSED] * n_vocab

    def put(text: str, token: int, kind: int, place: Path) -> None:
        if token >= n_vocab:
            raise ModelFileError(f"{place}: the id {token} is out of range: vocab_size in config.json is {n_vocab}")
        if texts[token] not in (None, text):
            raise ModelFileError(f"{place}: {shown(text)} and {shown(texts[token])} share the id {token}")
        texts[token] = text
        types[token] = CONTROL if text == END_OF_TEXT else kind

    for text, token in base.items():
        put(text, token, NORMAL, files.place)
    for added in files.added.values():
        if fault := _fault(added.text):
            raise ModelFileError(f"{added.place}: token {added.id} has the text {shown(added.text)}, {fault}")
        put(added.text, added.id, USER_DEFINED if added.in_text else CONTROL, added.place)
    padded = tuple(f"[PAD{token}]" if text is None else text for token, text in enumerate(texts))
    if len(set(padded)) != n_vocab:
        raise ModelFileError(f"{files.place}: a token has the name of a padding token, [PAD<id>]")
    return GGUFVocabulary(padded, tuple(types), tuple(files.merges), padded.index(END_OF_TEXT))


def byte_alphabet() -> frozenset[str]:
    """The characters that represent the 256 bytes in GPT-2's vocabulary (openai/gpt-2 src/encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    return frozenset(map(chr, printable)) | frozenset(chr(256 + index) for index in range(256 - len(printable)))


def _fault(text: str) -> str | None:
    """Why this cannot be the text of an added token, for the end of a sentence."""
    if not text or len(text) > MAX_TOKEN_CHARACTERS:
        return f"expected 1 to {MAX_TOKEN_CHARACTERS} characters"
    if "\0" in text:
        return "with a NUL, which llama.cpp does not support"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "with a lone surrogate, which is half a character"
    return None


def _check_merges(files: TokenizerFiles) -> None:
    base, folder = files.base, files.place.parent
    for rank, merge in enumerate(files.merges):
        left, space, right = merge.partition(" ")
        if not space or left not in base or right not in base or left + right not in base:
            raise ModelFileError(f"{folder}: merge {rank} is {shown(merge)}, which is not in the vocabulary")
    if len(set(files.merges)) != len(files.merges):
        raise ModelFileError(f"{folder}: has a merge twice")
