"""Files in the place of others: what git-lfs leaves, what a server sends instead, formats of years ago.

Each is named as what it is, with what to do next, wherever it stands.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.convert import checkpoints as make
from tests.hub.fake_hub import FakeHub
from tests.hub.tiny import write_gguf
from tests.support.cli import run
from tests.support.process import Ran

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{0:064d}\nsize 13667472\n".encode()
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>"
OTHERS: dict[str, tuple[bytes, str]] = {
    "pointer": (POINTER, "is a git-lfs pointer, not the file itself; run `git lfs pull` in its folder"),
    "annex": (b"/annex/objects/MD5E-s9--0\n", "is a git-annex pointer, not the file itself; run `git annex get`"),
    "page": (PAGE, "is an HTML page, not the file itself; download it again"),
    "page with a mark": (b"\xef\xbb\xbf<html lang=en>" + bytes(40), "is an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is an XML page"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(40), "is compressed with gzip; unpack it first"),
}
# Of binary files alone: as text, or as JSON, these have errors of their own.
BINARY: dict[str, tuple[bytes, str]] = {
    "words": (b"Entry not found", "is a text file beginning with 'Entry not found'; download it again"),
    "json": (b'{"error":"Repository not found"}', 'is a text file beginning with \'{"error"'),
}
OLD = {"ggml": b"lmgg", "ggmf": b"fmgg", "ggjt": b"tjgg", "ggla": b"algg"}


def told(ran: Ran, message: str, status: int = 5) -> None:
    assert ran.status == status, ran.err
    assert ran.out == b""
    assert message in ran.err and ran.err.count("\n") == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that has every file there can be."""
    folder = make.copy_texts(tmp_path / "source")
    make.write_shards(folder, make.golden_weights(), "model.safetensors")
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


FILES = (
    "config.json", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json", "tokenizer_config.json",
    "model.safetensors.index.json", "model-00002-of-00003.safetensors", "model.safetensors", "pytorch_model.bin",
)  # fmt: skip


# Each file as one kind, and a file of text and one of weights as every kind.
CASES = [
    *(("pointer", name) for name in FILES),
    *((kind, "vocab.json") for kind in OTHERS if kind != "pointer"),
    *((kind, "model.safetensors") for kind in OTHERS | BINARY if kind != "pointer"),
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_convert_names_it(kind: str, name: str, folder: Path, tmp_path: Path) -> None:
    if name == "pytorch_model.bin":
        (folder / "model.safetensors.index.json").unlink()
    data, message = (OTHERS | BINARY)[kind]
    (folder / name).write_bytes(data)
    told(run("convert", str(folder), "-o", str(tmp_path / "x.gguf")), f"{folder / name}: {message}")


def test_an_empty_file_of_weights_is_empty(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    ran = run("convert", str(folder), "-o", str(tmp_path / "x.gguf"))
    told(ran, f"{folder / 'model.safetensors'}: not a safetensors file: 0 bytes")


@pytest.mark.parametrize("kind", [*OTHERS, *BINARY])
def test_as_a_model_it_is_named(kind: str, tmp_path: Path) -> None:
    data, message = (OTHERS | BINARY)[kind]
    file = tmp_path / "model.gguf"
    file.write_bytes(data)
    told(run("gen", "-m", str(file), "print 1"), f"{file}: {message}")
    told(run("models", "add", str(file), "--name", "mine"), f"{file}: {message}")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "ggml-model-q4_0.bin") for kind in OLD),
        *(("ggjt", name) for name in ("./ggml-model-q4_0.bin", "a model+.bin", "sub/ggml.bin", "x.gguf")),
    ],
)
def test_a_file_of_an_old_format_is_a_file(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_bytes(OLD[kind] + b"\3\0\0\0" + b"0" * 200)
    message = f"is in the old {kind} format, from before GGUF; pull or convert the model again"
    told(run("gen", "-m", name, "print 1"), message)
    told(run("models", "add", name, "--name", "mine"), message)
    told(run("convert", name, "-o", "y.gguf"), message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "is a safetensors file; type: cgcli convert FOLDER -o FILE.gguf"),
        ("pytorch_model.bin", "is a zip file, like PyTorch weights; type: cgcli convert FOLDER -o FILE.gguf"),
    ],
)
def test_weights_that_are_not_converted_yet(name: str, message: str, folder: Path) -> None:
    make.write_safetensors(folder / "model.safetensors", make.golden_weights())
    shutil.copy(make.GOLDEN / "pytorch_model.bin", folder)
    told(run("gen", "-m", str(folder / name), "print 1"), message)


def test_a_folder_is_no_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("source", "./source", str(folder)):
        told(
            run("gen", "-m", name, "print 1"), f"{name} is a folder, not a GGUF file; type: cgcli convert {name} -o", 2
        )
    (tmp_path / "empty").mkdir()
    told(run("gen", "-m", "./empty", "print 1"), "./empty is a folder, not a GGUF file", 2)
    told(run("gen", "-m", "empty", "print 1"), "no model named 'empty'", 3)
    told(run("gen", "-m", "./none.bin", "print 1"), "no file ./none.bin", 3)


def test_a_name_of_the_store_comes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("models", "add", str(write_gguf(tmp_path / "tiny.gguf")), "--name", "mine").status == 0
    (tmp_path / "mine").write_bytes(OLD["ggjt"] + bytes(200))
    ran = run("score", "-m", "mine", "-", stdin=b"x = 1\n")
    assert "old ggjt" not in ran.err


def test_a_path_that_cannot_be_pulled_is_not_taken_for_a_repository() -> None:
    told(run("pull", "./ggml-model-q4_0.bin"), "type: cgcli models add FILE.gguf --name NAME", 2)


REPO = "own/ggufs"


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    return FakeHub(tmp_path / "hub")


@pytest.mark.parametrize("file", ["a+b.gguf", "Größe (1).gguf", "-x.gguf", f"{'n' * 97}.gguf", "...gguf"])
def test_name_counts_where_the_files_own_is_no_name(file: str, hub: FakeHub, tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "tiny.gguf").read_bytes()
    hub.add(REPO, {file: data})
    with hub:
        spec = f"hf:{REPO}/{file}"
        ran = run("pull", spec, HF_ENDPOINT=hub.url)
        told(ran, "is not a valid model name; type: cgcli pull ", 2)
        assert ran.err.endswith(" --name NAME\n")
        ran = run("pull", spec, "--name", "Mine", HF_ENDPOINT=hub.url)
        assert ran.status == 0, ran.err
        assert run("models", "path", "mine").status == 0
        told(run("pull", spec, "--name", "no/name", HF_ENDPOINT=hub.url), "'no/name' is not a valid model name", 2)
        told(run("pull", spec, "--name", "", HF_ENDPOINT=hub.url), "'' is not a valid model name", 2)


def test_what_a_pull_brings_is_named(hub: FakeHub) -> None:
    with hub:
        for file, (data, message) in {"p.gguf": OTHERS["pointer"], "h.gguf": OTHERS["page"]}.items():
            hub.add(REPO, {file: data})
            ran = run("pull", f"hf:{REPO}/{file}", HF_ENDPOINT=hub.url)
            assert ran.status == 5 and message in ran.err
