"""Damaged or hostile config.json and tokenizer files, and folders that are not a CodeGen checkpoint.

Each is refused in one line with status 5, and nothing is left behind.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.progress import Silent
from tests.convert import checkpoints as make
from tests.convert.refusal import match, refused

DEEP = 100_000


def fields(**changes: object) -> Callable[[Path], object]:
    return lambda folder: make.change_config(folder, **changes)


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def without(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def folder_instead(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


CONFIGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (without("config.json"), "no config.json"),
    "empty": (text("config.json", ""), "not JSON"),
    "cut off": (text("config.json", '{"model_type": "codegen", "n_la'), "not JSON"),
    "binary": (text("config.json", b"\x80\x81\xff"), "not JSON"),
    "a list": (text("config.json", "[]"), "a JSON list, not an object"),
    "a number": (text("config.json", "7"), "a JSON int"),
    "nested deeply": (text("config.json", '{"a":' * DEEP), "nested too deeply"),
    "a list nested deeply": (text("config.json", "[" * DEEP), "nested too deeply"),
    "a number of 10,000 digits": (text("config.json", '{"n_layer": 1' + "0" * 10_000 + "}"), "not JSON"),
    "a key twice": (text("config.json", '{"model_type": "codegen", "model_type": "codegen"}'), "twice"),
    "a folder": (folder_instead("config.json"), "no config.json"),
    "gpt2": (fields(model_type="gpt2", architectures=["GPT2LMHeadModel"]), "model_type is 'gpt2'.*GPT2LMHeadModel"),
    "CodeGen in GPT-J's clothes": (fields(model_type="gptj", architectures=["GPTJForCausalLM"]), "'gptj'"),
    "CodeGen2.5": (fields(model_type="llama", architectures=["LlamaForCausalLM"]), "'llama'"),
    "MOSS": (fields(model_type="moss"), "'moss'"),
    "no model_type": (fields(model_type=None, architectures=None), "model_type is None"),
    "no model_type, a body alone": (fields(model_type=None, architectures=["CodeGenModel"]), "CodeGenModel"),
    "a model_type with a line end": (fields(model_type="a\nb\x1b[2J"), r"'a\\nb\\x1b"),
    "a model_type as an object": (fields(model_type={"a": 1}), "an object"),
    "0 layers": (fields(n_layer=0), "n_layer is 0"),
    "-1 layers": (fields(n_layer=-1), "n_layer is -1"),
    "a million layers": (fields(n_layer=10**6), "n_layer"),
    "layers as a string": (fields(n_layer="2"), "n_layer is '2'"),
    "layers as a float": (fields(n_layer=2.0), "n_layer is 2.0"),
    "layers as a truth": (fields(n_layer=True), "n_layer is True"),
    "no layers": (fields(n_layer=None), "n_layer is None"),
    "layers as a list": (fields(n_layer=[[[2]]]), "n_layer is a list of 1"),
    "a layer more": (fields(n_layer=3), r"tensor transformer\.h\.2.* is missing"),
    "no heads": (fields(n_head=0), "n_head"),
    "3 heads": (fields(n_head=3), "not divisible by n_head 3"),
    "2 heads in 4 groups": (fields(n_head=2), "mp_num 4"),
    "width of others": (fields(n_embd=128), "shape"),
    "huge width": (fields(n_embd=1 << 40), "n_embd"),
    "odd rotary_dim": (fields(rotary_dim=7), "odd"),
    "rotary_dim 0": (fields(rotary_dim=0), "rotary_dim"),
    "rotary_dim beyond the head": (fields(rotary_dim=18), "rotary_dim"),
    "no rotary_dim": (fields(rotary_dim=None), "rotary_dim"),
    "another n_inner": (fields(n_inner=100), "shape"),
    "n_inner 0": (fields(n_inner=0), "n_inner"),
    "another activation": (fields(activation_function="relu"), "only 'gelu_new'"),
    "tied embeddings": (fields(tie_word_embeddings=True), "tie_word_embeddings"),
    "epsilon 0": (fields(layer_norm_epsilon=0), "layer_norm_epsilon"),
    "epsilon NaN": (text("config.json", json.dumps(json.loads((make.GOLDEN / "config.json").read_text())
                    | {"layer_norm_epsilon": float("nan")})), "layer_norm_epsilon"),
    "a vocabulary of 0": (fields(vocab_size=0), "vocab_size"),
    "a vocabulary of too few": (fields(vocab_size=300), "out of range: vocab_size in config.json is 300"),
    "a vocabulary of others": (fields(vocab_size=400), "shape"),
    "no positions": (fields(n_positions=0), "n_positions"),
    "positions without end": (fields(n_positions=1 << 40), "n_positions"),
}  # fmt: skip


def vocabulary(change: Callable[[dict[str, Any]], object], name: str = "vocab.json") -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        table = json.loads((folder / name).read_text())
        change(table)
        (folder / name).write_text(json.dumps(table))

    return edit


def put(**entries: object) -> Callable[[dict[str, Any]], object]:
    return lambda table: table.update(entries)


def fast_tokenizer(**changes: object) -> Callable[[Path], object]:
    """Only tokenizer.json, the golden one but for `changes` (of its model: a dict under `model`)."""

    def edit(folder: Path) -> None:
        table = json.loads((folder / "vocab.json").read_text())
        merges = (folder / "merges.txt").read_text().splitlines()[1:]
        model = {"type": "BPE", "vocab": table, "merges": merges} | dict(changes.get("model", {}))  # type: ignore[call-overload]
        content: dict[str, object] = {"added_tokens": [], "pre_tokenizer": make.BYTE_LEVEL} | changes
        content["model"] = model if isinstance(changes.get("model", {}), dict) else changes["model"]
        without("vocab.json", "merges.txt", "added_tokens.json")(folder)
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return edit


TOKENIZERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (without("vocab.json"), "neither vocab.json nor tokenizer.json"),
    "vocab.json is binary": (text("vocab.json", bytes(range(256))), "not JSON"),
    "vocab.json is cut off": (text("vocab.json", '{"a": 1, "b'), "not JSON"),
    "vocab.json is empty": (text("vocab.json", "{}"), "256 bytes"),
    "vocab.json is a list": (text("vocab.json", "[1]"), "not an object"),
    "an id that is negative": (vocabulary(put(a=-1)), "'a' has the id -1"),
    "an id that is a string": (vocabulary(put(a="1")), "'a' has the id '1'"),
    "an id that is a float": (vocabulary(put(a=1.0)), "'a' has the id 1.0"),
    "an id that is taken": (vocabulary(put(aa=5)), "'aa' has the id 5"),
    "an id beyond the vocabulary": (vocabulary(put(aa=10**9)), "out of range: vocab_size"),
    "a token of nothing": (vocabulary(put(**{"": 380})), "has the text ''"),
    "a token of 100,000 letters": (vocabulary(put(**{"a" * 100_000: 380})), "has the text 'aaa"),
    "a token of no byte": (vocabulary(put(漢=380)), "not byte-level BPE"),
    "a token of half a character": (vocabulary(put(**{"\ud800": 380})), "has the text"),
    "a token of control characters": (vocabulary(put(**{"\x1b[2J": 380})), "has the text"),
    "a token called like padding": (vocabulary(put(**{"[PAD381]": 380})), "name of a padding token"),
    "a byte without a token": (vocabulary(lambda table: table.pop("a")), "256 bytes"),
    "no end of text": (vocabulary(lambda table: table.pop("<|endoftext|>")), "has no <|endoftext|>"),
    "no merges.txt": (without("merges.txt"), "cannot read"),
    "merges.txt is binary": (text("merges.txt", b"#version\n\xff\xfe"), "not UTF-8"),
    "a merge of one": (text("merges.txt", "#version: 0.2\nab\n"), "merge 0 is 'ab'"),
    "a merge of three": (text("merges.txt", "#version: 0.2\na b c\n"), "merge 0"),
    "a merge of unknown tokens": (text("merges.txt", "#version: 0.2\nq z\n"), "merge 0 is 'q z'"),
    "a merge twice": (lambda folder: (folder / "merges.txt").write_text(
        (folder / "merges.txt").read_text() + (folder / "merges.txt").read_text().splitlines()[1]), "twice"),
    "an added token with a taken id": (vocabulary(put(**{"<x>": 7}), "added_tokens.json"), "share the id 7"),
    "an added token with two ids": (vocabulary(put(a=380), "added_tokens.json"), "'a' has two ids"),
    "an added token beyond the vocabulary": (vocabulary(put(**{"<x>": 384}), "added_tokens.json"), "384"),
    "added_tokens.json is a string": (text("added_tokens.json", '"x"'), "not an object"),
    "a fast tokenizer of another kind": (fast_tokenizer(model={"type": "Unigram"}), "not a BPE"),
    "a fast tokenizer without a model": (fast_tokenizer(model=[]), "not a BPE"),
    "a fast tokenizer without a vocabulary": (fast_tokenizer(model={"vocab": []}), "not a BPE"),
    "a fast tokenizer with a merge of three": (fast_tokenizer(model={"merges": [["a", "b", "c"]]}), "invalid merge"),
    "a fast tokenizer with a merge of numbers": (fast_tokenizer(model={"merges": [[1, 2]]}), "invalid merge"),
    "a fast tokenizer with merges as a number": (fast_tokenizer(model={"merges": 7}), "expected a list"),
    "a fast tokenizer with a bad added token": (fast_tokenizer(added_tokens=[{"content": 1}]), "added token"),
    "a fast tokenizer with added tokens as text": (fast_tokenizer(added_tokens="x"), "expected a list"),
    "a fast tokenizer with an added token without id": (fast_tokenizer(added_tokens=[{"content": "x"}]), "id None"),
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The golden checkpoint, to be changed."""
    folder = make.copy_texts(tmp_path / "source")
    shutil.copy(make.GOLDEN / "pytorch_model.bin", folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_config(name: str, source: Path, tmp_path: Path) -> None:
    change, message = CONFIGS[name]
    change(source)
    match(message, refused(source, tmp_path / "out.gguf"))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer(name: str, source: Path, tmp_path: Path) -> None:
    change, message = TOKENIZERS[name]
    change(source)
    match(message, refused(source, tmp_path / "out.gguf"))


def test_the_fast_tokenizer_alone_is_enough_where_it_is_right(source: Path, tmp_path: Path) -> None:
    fast_tokenizer()(source)
    convert(source, tmp_path / "out.gguf", quant="f16", provenance=Provenance("x"), progress=Silent(), threads=1)


def test_a_lora_adapter(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "Salesforce/codegen-350M-mono"}')
    match("LoRA adapter of 'Salesforce/codegen-350M-mono'", refused(folder, tmp_path / "out.gguf"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF\3\0\0\0", "is already a GGUF file"),
        (b"lmgg", "old ggml format"),
        (b"PK\3\4", "is a file; a checkpoint"),
    ],
)
def test_a_file_instead_of_a_folder(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(data)
    match(message, refused(file, tmp_path / "out.gguf"))


def test_a_folder_with_a_gguf(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.gguf").touch()
    match("already has a GGUF", refused(folder, tmp_path / "out.gguf"))


def test_no_folder_at_all(tmp_path: Path) -> None:
    match("no such folder", refused(tmp_path / "source", tmp_path / "out.gguf"))


def test_no_weights(source: Path, tmp_path: Path) -> None:
    (source / "pytorch_model.bin").unlink()
    match("no weights found", refused(source, tmp_path / "out.gguf"))
