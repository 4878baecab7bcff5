"""Added tokens in every place where transformers has put them, and tokenizers that are not GPT-2's."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.convert import verify
from cgcli.convert.convert import Report, convert
from cgcli.convert.vocabulary import CONTROL, USER_DEFINED, GGUFVocabulary, read_tokenizer_files, read_vocabulary
from cgcli.convert.writer import Provenance
from cgcli.core.errors import ModelFileError
from cgcli.core.progress import Silent
from cgcli.engine.model import Model
from tests.convert import checkpoints as make
from tests.convert.refusal import match, refused

N_VOCAB = 384
FREE = 380  # an id that the golden checkpoint does not use


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def entry(text: str, token: int | None = None, **flags: object) -> dict[str, object]:
    plain = {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    return ({} if token is None else {"id": token}) | plain | {"special": False} | flags


def fast(folder: Path, added: list[dict[str, object]], **parts: object) -> None:
    """Write the tokenizer.json of vocab.json and merges.txt with these added tokens."""
    merges = (folder / "merges.txt").read_text().splitlines()[1:]
    model = {"type": "BPE", "vocab": read(folder, "vocab.json"), "merges": merges} | dict(parts.pop("model", {}))  # type: ignore[call-overload]
    write(folder, "tokenizer.json", {"added_tokens": added, "pre_tokenizer": make.BYTE_LEVEL, "model": model} | parts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The golden checkpoint, to be changed."""
    folder = make.copy_texts(tmp_path / "source")
    (folder / "pytorch_model.bin").symlink_to(make.GOLDEN / "pytorch_model.bin")
    return folder


def converted(folder: Path) -> Report:
    return convert(
        folder, folder.parent / "out.gguf", quant="f16", provenance=Provenance("x"), progress=Silent(), threads=1,
        verify_result=False,
    )  # fmt: skip


def to_fast(folder: Path) -> None:
    added = read(folder, "added_tokens.json")
    (folder / "added_tokens.json").unlink()
    fast(folder, [entry(text, token) for text, token in added.items()])


def to_fast_alone(folder: Path) -> None:
    to_fast(folder)
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()


def to_fast_without_merges(folder: Path) -> None:
    to_fast(folder)
    (folder / "merges.txt").unlink()


def to_fast_without_type(folder: Path) -> None:
    to_fast_alone(folder)
    content = read(folder, "tokenizer.json")
    del content["model"]["type"]
    write(folder, "tokenizer.json", content)


def to_config(folder: Path) -> None:
    added = read(folder, "added_tokens.json")
    (folder / "added_tokens.json").unlink()
    table = {str(token): entry(text) for text, token in added.items()}
    write(folder, "tokenizer_config.json", {"tokenizer_class": "CodeGenTokenizer", "added_tokens_decoder": table})


def dealt_out(folder: Path) -> None:
    """A third in each place, the middle one in two."""
    added = list(read(folder, "added_tokens.json").items())
    write(folder, "added_tokens.json", dict(added[:20]))
    fast(folder, [entry(text, token) for text, token in added[10:30]])
    write(
        folder,
        "tokenizer_config.json",
        {"added_tokens_decoder": {str(token): entry(text) for text, token in added[30:]}},
    )


def into_the_vocabulary(folder: Path) -> None:
    """As a trainer of `tokenizers` does with the special tokens that it is given."""
    added = read(folder, "added_tokens.json")
    (folder / "added_tokens.json").unlink()
    fast(folder, [entry(text, token) for text, token in added.items()],
         model={"vocab": read(folder, "vocab.json") | added})  # fmt: skip


def marked(folder: Path) -> None:
    """A byte order mark before each file."""
    for name in ("config.json", "vocab.json", "merges.txt", "added_tokens.json"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())


def to_fast_with_merges_left_out(folder: Path) -> None:
    """As where merges that begin with # were taken for comments."""
    to_fast(folder)
    content = read(folder, "tokenizer.json")
    del content["model"]["merges"][::7]
    write(folder, "tokenizer.json", content)


PLACES = (
    to_fast, to_fast_alone, to_fast_without_merges, to_fast_without_type, to_fast_with_merges_left_out, to_config,
    dealt_out, into_the_vocabulary, marked,
)  # fmt: skip


@pytest.mark.parametrize("move", PLACES)
def test_added_tokens_are_found_wherever_they_are(move: Callable[[Path], None], folder: Path) -> None:
    expected = read_vocabulary(make.GOLDEN, N_VOCAB)
    move(folder)
    assert read_vocabulary(folder, N_VOCAB) == expected
    report = converted(folder)
    assert report.texts_compared is not None and report.texts_compared > 300
    with Model.load(folder.parent / "out.gguf", vocab_only=True) as model:
        assert len(model.tokenize(b"x\n        y")) == 4


def test_a_base_token_that_only_tokenizer_json_has(folder: Path) -> None:
    fast(folder, [], model={"vocab": read(folder, "vocab.json") | {"zqx": FREE}})
    assert read_vocabulary(folder, N_VOCAB).texts[FREE] == "zqx"


def swap(folder: Path, name: str) -> None:
    """Two added tokens with each other's ids."""
    added = read(make.GOLDEN, "added_tokens.json")
    first, second = list(added)[:2]
    changed = added | {first: added[second], second: added[first]}
    if name == "tokenizer.json":
        fast(folder, [entry(text, token) for text, token in changed.items()])
    else:
        write(folder, name, {"added_tokens_decoder": {str(token): entry(text) for text, token in changed.items()}})


def other_merges(folder: Path) -> None:
    merges = (folder / "merges.txt").read_text().splitlines()[1:]
    fast(folder, [], model={"merges": [merges[1], merges[0], *merges[2:]]})


def other_base(folder: Path) -> None:
    vocab = read(folder, "vocab.json")
    fast(folder, [], model={"vocab": vocab | {"a": vocab["b"], "b": vocab["a"]}})


def same_id(folder: Path) -> None:
    fast(folder, [entry("<x>", FREE)])
    write(folder, "tokenizer_config.json", {"added_tokens_decoder": {str(FREE): entry("<y>")}})


CONTRADICTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "ids of tokenizer.json": (lambda folder: swap(folder, "tokenizer.json"), "has two ids"),
    "ids of tokenizer_config.json": (lambda folder: swap(folder, "tokenizer_config.json"), "has two ids"),
    "one id, two texts": (same_id, "'<y>' and '<x>' share the id 380"),
    "merges": (other_merges, "its merges differ from those of merges.txt"),
    "base vocabulary": (other_base, r"has two ids, \d+ and \d+ \(vocab.json\)"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_files_that_contradict_each_other_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    change, message = CONTRADICTIONS[name]
    change(folder)
    match(message, refused(folder, tmp_path / "out.gguf"))


def part(**parts: object) -> Callable[[Path], None]:
    return lambda folder: fast(folder, [], **parts)


def config(**settings: object) -> Callable[[Path], None]:
    return lambda folder: write(folder, "tokenizer_config.json", settings)


SPLIT = {"type": "Split", "pattern": {"Regex": r"\d"}, "behavior": "Isolated", "invert": False}
BOS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
}
OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a split of digits": (part(pre_tokenizer=SPLIT), "has the pre-tokenizer Split"),
    "digits, then bytes": (
        part(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Digits"}, make.BYTE_LEVEL]}),
        "has the pre-tokenizer Digits"),
    "bytes twice": (
        part(pre_tokenizer={"type": "Sequence", "pretokenizers": [make.BYTE_LEVEL] * 2}), "has 2 pre-tokenizers"),
    "no pre-tokenizer": (part(pre_tokenizer=None), "has no pre-tokenizers"),
    "no pattern": (part(pre_tokenizer=make.BYTE_LEVEL | {"use_regex": False}), "use_regex"),
    "a space before": (part(pre_tokenizer=make.BYTE_LEVEL | {"add_prefix_space": True}), "add_prefix_space"),
    "a space before, by the configuration": (config(add_prefix_space=True), "add_prefix_space is True"),
    "a token before, by the configuration": (config(add_bos_token=True), "add_bos_token is True"),
    "a token before": (part(post_processor=BOS), "post-processor TemplateProcessing, which adds tokens"),
    "NFC": (part(normalizer={"type": "NFC"}), "has the normalizer NFC"),
    "lower case in a sequence": (
        part(normalizer={"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}), "has the normalizer Lowercase"),
    "a normalizer that is no object": (part(normalizer="\x1b[2J"), r"normalizer '\\x1b"),
    "dropout": (part(model={"dropout": 0.1}), "dropout to 0.1"),
    "an end of words": (part(model={"end_of_word_suffix": "</w>"}), "end_of_word_suffix to '</w>'"),
    "words without merges": (part(model={"ignore_merges": True}), "ignore_merges to True"),
    "WordPiece": (part(model={"type": "WordPiece"}), "not a BPE tokenizer .*'WordPiece'"),
    "another class": (config(tokenizer_class="CLIPTokenizer"), "tokenizer_class is 'CLIPTokenizer'"),
    "a class that is a list": (config(tokenizer_class=[]), "tokenizer_class is a list of 0"),
    "white space that takes more of it": (
        lambda folder: fast(folder, [entry("\n\n\n", FREE, rstrip=True)]), r"'\\n\\n\\n' sets rstrip"),
    "whole words": (lambda folder: fast(folder, [entry("foo", FREE, single_word=True)]), "'foo' sets single_word"),
    "an added token without an id": (config(added_tokens_decoder={"x": entry("<x>")}), "'<x>' has the id 'x'"),
    "added tokens as a list": (config(added_tokens_decoder=[1]), "a list of 1, expected an object"),
    "an added token as text": (config(added_tokens_decoder={"380": "<x>"}), "has the invalid added token '<x>'"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_tokenizer_that_is_not_gpt2s_is_refused_by_name(name: str, folder: Path, tmp_path: Path) -> None:
    change, message = OTHERS[name]
    change(folder)
    match(message, refused(folder, tmp_path / "out.gguf"))


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [make.BYTE_LEVEL]}},
        {"normalizer": {"type": "Sequence", "normalizers": []}},
        {"post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}},
        {"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                            "pair": [], "special_tokens": {}}},
        {"truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
    ],
)  # fmt: skip
def test_parts_that_change_no_id_are_taken(parts: dict[str, object], folder: Path) -> None:
    fast(folder, [], **parts)
    assert converted(folder).texts_compared


ODD = {
    "a line end": "### Response:\n",
    "only line ends": "\n\n",
    "a joiner": "<\u200d>",
    "private use": "\ue000",
    "beyond the first plane": "\U000f0000<x>",
    "an escape": "\x1b[0m",
    "right to left": "\u202e<x>",
    "a no-break space": "<a\u00a0b>",
}


@pytest.mark.parametrize("place", ["added_tokens.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("name", ODD)
def test_odd_added_tokens_are_taken(name: str, place: str, folder: Path) -> None:
    text = ODD[name]
    if place == "added_tokens.json":
        write(folder, place, read(folder, place) | {text: FREE})
    elif place == "tokenizer.json":
        fast(folder, [entry(text, FREE)])
    else:
        write(folder, place, {"added_tokens_decoder": {str(FREE): entry(text, special=True)}})
    converted(folder)
    vocabulary = read_vocabulary(folder, N_VOCAB)
    in_text = text.isspace() or place == "tokenizer.json"
    assert vocabulary.texts[FREE] == text
    assert vocabulary.types[FREE] == (USER_DEFINED if in_text else CONTROL)
    with Model.load(folder.parent / "out.gguf", vocab_only=True) as model:
        assert (FREE in model.tokenize(f"a{text}b".encode())) == in_text
        assert model.piece(FREE) == (text.encode() if in_text else b"")


@pytest.mark.parametrize(
    ("text", "message"), [("<\0>", "a NUL, which llama.cpp"), ("\ud83d", "surrogate"), ("", "expected 1 to 1024")]
)
def test_added_tokens_that_cannot_be_are_refused_with_the_reason(
    text: str, message: str, folder: Path, tmp_path: Path
) -> None:
    write(folder, "added_tokens.json", {text: FREE})
    match(message, refused(folder, tmp_path / "out.gguf"))


def test_special_in_one_place_is_special(folder: Path) -> None:
    fast(folder, [entry("<x>", FREE)])
    write(folder, "tokenizer_config.json", {"added_tokens_decoder": {str(FREE): entry("<x>", special=True)}})
    assert read_vocabulary(folder, N_VOCAB).types[FREE] == CONTROL


@pytest.fixture
def golden_model(tmp_path: Path) -> Path:
    convert(
        make.GOLDEN, tmp_path / "golden.gguf", quant="f16", provenance=Provenance("x"), progress=Silent(), threads=1,
        verify_result=False,
    )  # fmt: skip
    return tmp_path / "golden.gguf"


@pytest.mark.parametrize(
    "parts", [{"pre_tokenizer": SPLIT}, {"normalizer": {"type": "Lowercase"}}, {"pre_tokenizer": None}]
)
def test_the_comparison_of_ids_finds_another_tokenizer(
    parts: dict[str, object], folder: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgcli.convert.vocabulary._check_scheme", lambda *_: None)
    fast(folder, [], **parts)
    with pytest.raises(ModelFileError, match=r"the tokenizer is not GPT-2's: for .* it gives \d+ ids"):
        verify.verify_token_ids(golden_model, read_tokenizer_files(folder))


def test_the_comparison_sees_a_token_that_is_lost(folder: Path, golden_model: Path) -> None:
    (folder / "added_tokens.json").unlink()
    with pytest.raises(ModelFileError, match="the tokenizer is not GPT-2's"):
        verify.verify_token_ids(golden_model, read_tokenizer_files(folder))


def test_added_tokens_that_llama_cpp_finds_in_another_order_are_refused(folder: Path, tmp_path: Path) -> None:
    """tokenizers takes the leftmost, llama.cpp the longest first."""
    fast(folder, [entry("\n  ", FREE), entry("  \n  ", FREE + 1)])
    match("the tokenizer is not GPT-2's", refused(folder, tmp_path / "out.gguf"))


def test_without_tokenizers_nothing_is_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert converted(folder).texts_compared is None


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0.5, 10**30, "", "x", "\0", [], [[]], {}, {"type": []}, ["a b"], {"content": "x"}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in list(inner)[:12] for place in places(part, (*path, key)))]


@given(st.data())
def test_junk_anywhere_in_the_files_is_one_error_or_a_vocabulary(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = make.copy_texts(Path(name))
        bos = {"type": "Sequence", "processors": [make.BYTE_LEVEL]}
        fast(folder, [entry("<x>", FREE)], post_processor=bos, normalizer={"type": "Sequence", "normalizers": []})
        table = {str(FREE): entry("<x>"), "381": entry("<y>")}
        write(folder, "tokenizer_config.json", {"tokenizer_class": "CodeGenTokenizer", "added_tokens_decoder": table})
        file = data.draw(
            st.sampled_from(["tokenizer.json", "tokenizer_config.json", "added_tokens.json", "vocab.json"])
        )
        content: Any = read(folder, file)
        *way, last = data.draw(st.sampled_from(places(content)[1:]))
        holder = content
        for key in way:
            holder = holder[key]
        holder[last] = data.draw(JUNK)
        write(folder, file, content)
        if data.draw(st.booleans()):
            (folder / "tokenizer.json").unlink()
        try:
            read_vocabulary(folder, N_VOCAB)
            verify._own_tokenizer(read_tokenizer_files(folder))
        except ModelFileError as error:
            assert error.message.isprintable()


def test_codegens_own_files(shared: Path) -> None:
    """The real vocabulary: all its files say the same."""
    vocabulary: GGUFVocabulary = read_vocabulary(shared / "tokenizer", 51_200)
    assert vocabulary.types.count(USER_DEFINED) == 38
    assert vocabulary.types.count(CONTROL) == 1
