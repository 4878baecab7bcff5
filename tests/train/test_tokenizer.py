"""Tokenizers: ids are those that llama.cpp makes of the same text, with CodeGen's own tokenizer and a trained one."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from cgcli.convert.convert import convert
from cgcli.convert.vocabulary import UNUSED, read_vocabulary
from cgcli.convert.writer import Provenance
from cgcli.core.errors import CgcliError, ModelFileError, UsageError
from cgcli.core.progress import Silent
from cgcli.engine.model import Model
from cgcli.train.tokenizer import RUNS, Tokenizer, copy_tokenizer, train_tokenizer
from tests.convert.checkpoints import GOLDEN, change_config, copy_texts, golden_weights, write_safetensors

NASTY = [
    "",
    " ",
    "<|endoftext|>x<|endoftext|>",
    *(f"{' ' * length}x" for length in range(1, 70)),
    *("\t" * length for length in range(1, 22)),
    "a  b\t\t\tc   \n\n\n    d \t \n",
    "don't I'LL\r\n\u00a0\u3000\u2028x",
    "naïve 漢字 🙂👍🏽 \u0301 ½ ٣",
    "x" * 3000,
    "0123456789 0x1F 1e-9 __init__ ====== -->",
]


def library_files(count: int) -> list[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    return [path.read_text("utf-8") for path in sorted(folder.glob("[a-l]*.py"))[:count]]


def as_gguf(tokenizer: Path, rows: int, folder: Path) -> Path:
    """A model of random weights that has the tokenizer."""
    source = copy_texts(folder / "checkpoint")
    copy_tokenizer(tokenizer, source)
    change_config(source, vocab_size=rows)
    weights = golden_weights()
    for name in ("transformer.wte.weight", "lm_head.weight", "lm_head.bias"):
        weights[name] = np.resize(weights[name], (rows, *weights[name].shape[1:]))
    write_safetensors(source / "model.safetensors", weights)
    target = folder / "model.gguf"
    convert(source, target, quant="f16", provenance=Provenance("x"), progress=Silent(), threads=2, verify_result=False)
    return target


def check_against_llama(tokenizer: Tokenizer, model: Path, texts: list[str]) -> None:
    with Model.load(model, vocab_only=True) as loaded:
        for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
            assert ids == loaded.tokenize(text.encode()), text[:200]
            assert b"".join(map(loaded.piece, ids)) == text.encode()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_tokenizer(library_files(20), 600, 1024, folder)
    return folder


def test_codegen_cuts_as_llama_does(shared: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer(shared / "tokenizer", 51_200)
    assert tokenizer.end_of_text == 50_256
    check_against_llama(tokenizer, as_gguf(shared / "tokenizer", 51_200, tmp_path), NASTY + library_files(6))


def test_golden_prompts(shared: Path) -> None:
    for folder in (GOLDEN, *(shared / "golden").iterdir()):
        rows = json.loads((folder / "config.json").read_text())["vocab_size"]
        (ids,) = Tokenizer(folder, rows).encode([(folder / "prompt.txt").read_text()])
        assert ids == np.load(folder / "expected.npz")["ids"].tolist()


def test_one_file_serves_as_three(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((shared / "tokenizer" / "tokenizer.json").read_bytes())
    text = [*NASTY, *library_files(2)]
    assert Tokenizer(tmp_path, 51_200).encode(text) == Tokenizer(shared / "tokenizer", 51_200).encode(text)


def test_a_trained_one_cuts_as_llama_does(trained: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer(trained, 600)
    check_against_llama(tokenizer, as_gguf(trained, 600, tmp_path), NASTY + library_files(25)[20:])


def test_what_a_trained_one_consists_of(trained: Path) -> None:
    vocabulary = read_vocabulary(trained, 600)
    base = 600 - len(RUNS)
    assert vocabulary.end_of_text == base - 1
    assert vocabulary.texts[base:] == RUNS
    codegen = json.loads((GOLDEN / "added_tokens.json").read_text())
    assert tuple(sorted(codegen, key=codegen.__getitem__)) == RUNS
    assert len(vocabulary.merges) == base - 1 - 256
    assert UNUSED not in vocabulary.types
    assert not any("ĠĠ" in text or "ĉĉ" in text for text in vocabulary.texts)  # runs have tokens of their own
    assert sum(map(len, Tokenizer(trained, 600).encode(library_files(1)))) < len(library_files(1)[0]) / 2


def test_the_same_texts_give_the_same_files(trained: Path, tmp_path: Path) -> None:
    train_tokenizer(library_files(20), 600, 1024, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in trained.iterdir()
    }


def test_few_texts_leave_padding(tmp_path: Path) -> None:
    train_tokenizer(["x = 1\n"], 400, 64, tmp_path)
    vocabulary = read_vocabulary(tmp_path, 400)
    assert vocabulary.types.count(UNUSED) == 400 - 256 - 1 - len(RUNS) - len(vocabulary.merges)
    assert Tokenizer(tmp_path, 400).encode(["    x\n"]) == [
        [vocabulary.texts.index(" " * 4), *(vocabulary.texts.index(text) for text in ("x", "Ċ"))]
    ]


def test_refusals(shared: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"vocabulary 294 is too small: .* need 295"):
        train_tokenizer([], 294, 64, tmp_path)
    with pytest.raises(UsageError, match="vocabulary 599 is smaller than the 600 tokens of"):
        Tokenizer(trained, 599)
    with pytest.raises(UsageError, match="vocabulary 4096 is smaller than the 50295 tokens of"):
        Tokenizer(shared / "tokenizer", 4096)
    with pytest.raises(CgcliError, match=r"has no tokenizer: it needs vocab.json and merges.txt, or tokenizer.json"):
        copy_tokenizer(tmp_path, tmp_path / "kept")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(ModelFileError):
        Tokenizer(tmp_path, 600)
