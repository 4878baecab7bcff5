"""What a checkpoint's tokenizer files say, gathered: base vocabulary, merges, added tokens.

transformers has written them in several places over the years: vocab.json and merges.txt, or tokenizer.json; the added
tokens in added_tokens.json, in tokenizer.json, or as `added_tokens_decoder` of tokenizer_config.json. Whatever is there
is read. What contradicts itself is refused, and so is any setting with which text becomes other ids than GPT-2's
byte-level BPE gives (tokenizers' tokenizer.json; transformers' tokenization_utils_base.py, `_from_pretrained`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgcli.convert.json_file import read_json
from cgcli.core.errors import ModelFileError
from cgcli.core.file_kinds import check_kind
from cgcli.core.reading import read_text, shown, unreadable

# The classes that read vocab.json and merges.txt as GPT-2's.
CLASSES = {
    "CodeGenTokenizer", "CodeGenTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast",
    "PreTrainedTokenizerFast", "TokenizersBackend",
}  # fmt: skip
_ONLY = "only GPT-2's tokenizer can be converted"
# Of an added token: with one of these its text is matched otherwise than as it stands.
_ODD_FLAGS = ("lstrip", "rstrip", "single_word")


@dataclass
class AddedToken:
    """A token that was added to the base vocabulary. special: None where no file says it; place: the file it is in."""

    text: str
    id: int
    place: Path
    special: bool | None = None
    normalized: bool = False
    odd: str | None = None

    @property
    def in_text(self) -> bool:
        """Whether it is found in text. Special tokens never are: prompts are text. Where no file says what a token is,
        a run of white space is found, and no other."""
        return self.text.isspace() or self.special is False


@dataclass
class TokenizerFiles:
    """place: the file of the base vocabulary; content: of tokenizer.json, where there is one."""

    place: Path
    base: dict[str, int]
    merges: list[str]
    added: dict[str, AddedToken] = field(default_factory=dict)
    content: dict[str, Any] | None = None

    def add(self, token: AddedToken) -> None:
        """Raises ModelFileError where another file gives the text another id."""
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
    """All that the files in `folder` say. Raises ModelFileError where they are damaged, contradict each other, or
    describe another tokenizer than GPT-2's."""
    vocab, merges, fast = folder / "vocab.json", folder / "merges.txt", folder / "tokenizer.json"
    content = read_json(fast) if fast.is_file() else None
    if content is not None:
        _check_scheme(fast, content)
    if vocab.is_file():
        base = _ids(vocab, read_json(vocab))
        files = TokenizerFiles(vocab, base, [] if content and not merges.is_file() else _read_merges(merges))
    elif content is None:
        raise ModelFileError(f"{folder}: has no vocab.json and no tokenizer.json")
    else:
        files = TokenizerFiles(fast, {}, [])
    if content is not None:
        files.content = content
        _unite(files, fast, content)
    added = folder / "added_tokens.json"
    if added.is_file():
        for text, token in _ids(added, read_json(added)).items():
            files.add(AddedToken(text, token, added))
    config = folder / "tokenizer_config.json"
    if config.is_file():
        _read_tokenizer_config(files, config, read_json(config))
    for one in files.added.values():
        if one.odd and one.in_text:
            raise ModelFileError(
                f"{one.place}: the added token {shown(one.text)} has {one.odd}, which llama.cpp does not have",
                hint=f"if the model was trained without, set {one.odd} to false",
            )
    return files


def _unite(files: TokenizerFiles, path: Path, content: dict[str, Any]) -> None:
    """Take in tokenizer.json."""
    model = content["model"]
    for text, token in _ids(path, model["vocab"]).items():
        if files.base.setdefault(text, token) != token:
            two = f"{shown(text)} has two ids, {token} and {files.base[text]} ({files.place.name})"
            raise ModelFileError(f"{path}: {two}")
    merges = []
    for merge in _list(path, model, "merges"):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ModelFileError(f"{path}: has the merge {shown(merge)}")
        merges.append(" ".join(pair))
    shorter, longer = sorted((files.merges, merges), key=len)
    ranks = iter(longer)
    if not all(merge in ranks for merge in shorter):
        raise ModelFileError(f"{path}: its merges are not those of merges.txt, or in another order")
    files.merges = longer
    ids: set[int] = set()
    for entry in _list(path, content, "added_tokens"):
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFileError(f"{path}: has the added token {shown(entry)}")
        files.add(_added(path, entry["content"], _own_id(path, entry["content"], entry.get("id"), ids), entry))


def _read_tokenizer_config(files: TokenizerFiles, path: Path, content: dict[str, Any]) -> None:
    for key in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if content.get(key) not in (None, False):
            raise ModelFileError(f"{path}: {key} is {shown(content[key])}; {_ONLY}, without it")
    kind = content.get("tokenizer_class")
    if files.content is None and kind is not None and not (isinstance(kind, str) and kind in CLASSES):
        raise ModelFileError(f"{path}: tokenizer_class is {shown(kind)}; {_ONLY}")
    table = content.get("added_tokens_decoder") or {}
    if not isinstance(table, dict):
        raise ModelFileError(f"{path}: added_tokens_decoder is {shown(table)}, not an object")
    ids: set[int] = set()
    for key, entry in table.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ModelFileError(f"{path}: has the added token {shown(entry)}")
        number = int(key) if key.isascii() and key.isdigit() and len(key) < 10 else key
        files.add(_added(path, entry["content"], _own_id(path, entry["content"], number, ids), entry))


def _added(path: Path, text: str, token: int, entry: dict[str, Any]) -> AddedToken:
    special = entry.get("special")
    odd = next((flag for flag in _ODD_FLAGS if entry.get(flag) not in (None, False)), None)
    known = special if isinstance(special, bool) else None
    return AddedToken(text, token, path, known, entry.get("normalized") is True, odd)


def _check_scheme(path: Path, content: dict[str, Any]) -> None:
    """Raises ModelFileError, naming it, for what in tokenizer.json makes other ids of a text than GPT-2's tokenizer."""

    def refuse(what: str) -> ModelFileError:
        return ModelFileError(f"{path}: {what}; {_ONLY}")

    model = content.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None  # the type is left out in files of before 2021
    if not isinstance(model, dict) or kind != "BPE" or not isinstance(model.get("vocab"), dict):
        named = f" (its model is of type {shown(kind)})" if kind not in (None, "BPE") else ""
        raise refuse(f"is not a BPE tokenizer{named}")
    if "merges" not in model:
        raise refuse("is not a BPE tokenizer (its model has no merges)")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(key):
            raise refuse(f"its model has {key} {shown(model[key])}")
    for step in _steps(content.get("normalizer"), "normalizers"):
        raise refuse(f"has the normalizer {_type(step)}")
    splits = _steps(content.get("pre_tokenizer"), "pretokenizers")
    for step in splits:
        if _type(step) != "ByteLevel":
            raise refuse(f"has the pre-tokenizer {_type(step)}, not ByteLevel alone")
        if step.get("add_prefix_space") not in (None, False):
            raise refuse("its pre-tokenizer has add_prefix_space")
        if step.get("use_regex", True) is not True:
            raise refuse("its pre-tokenizer does not split by GPT-2's pattern (use_regex)")
    if len(splits) != 1:
        raise refuse(f"has {len(splits) or 'no'} pre-tokenizers, not ByteLevel alone")
    for step in _steps(content.get("post_processor"), "processors"):
        if _type(step) != "ByteLevel" and not _adds_nothing(step):
            raise refuse(f"has the post-processor {_type(step)}, which adds tokens to a text")


def _steps(value: Any, inner: str) -> list[Any]:
    """The steps of one part of tokenizer.json, the outermost sequence opened; each has to be one that is known."""
    if isinstance(value, dict) and value.get("type") == "Sequence" and isinstance(value.get(inner), list):
        return list(value[inner])
    return [] if value is None else [value]


def _type(step: Any) -> str:
    kind = step.get("type") if isinstance(step, dict) else step
    return kind if isinstance(kind, str) and kind.isidentifier() and len(kind) < 40 else shown(kind)


def _adds_nothing(step: Any) -> bool:
    """Whether it is a template of the text alone."""
    if _type(step) != "TemplateProcessing" or not isinstance(step.get("single"), list):
        return False
    return all(isinstance(part, dict) and set(part) == {"Sequence"} for part in step["single"])


def _ids(path: Path, table: dict[str, Any]) -> dict[str, int]:
    seen: set[int] = set()
    return {text: _own_id(path, text, token, seen) for text, token in table.items()}


def _own_id(path: Path, text: str, token: Any, seen: set[int]) -> int:
    if type(token) is not int or token < 0 or token in seen:
        raise ModelFileError(f"{path}: {shown(text)} has the id {shown(token)}, which is not one of its own")
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
        raise ModelFileError(f"{path}: {key} is {shown(value)}, not a list")
    return value
