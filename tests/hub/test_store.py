"""The local store: names, manifests, linked files, and the hash that catches a flipped bit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cgcli.core.errors import ModelFileError, ModelNotFound, UsageError
from cgcli.core.progress import Silent
from cgcli.engine.gguf_check import read_header
from cgcli.hub.catalog import parse_spec
from cgcli.hub.store import Manifest, Store, Stored
from tests.hub.recording import Recorder
from tests.hub.tiny import sha256, write_gguf


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, name: str, quant: str, data: bytes = b"weights", source: str = "hf:a/b") -> Stored:
    work = store.work(name) / "model.gguf"
    work.parent.mkdir(parents=True, exist_ok=True)
    work.write_bytes(data)
    return store.admit(work, Manifest(name, quant, f"{quant}.gguf", len(data), sha256(data), source, "c0ffee"))


def test_store_that_does_not_exist_is_empty(store: Store) -> None:
    assert store.all() == []
    assert not store.root.exists()


def test_admitted_model_is_found(store: Store) -> None:
    put(store, "some-model", "q8_0")
    put(store, "some-model", "f16")
    put(store, "other.model", "q4_k_m")
    assert [one.spec for one in store.all()] == ["other.model:q4_k_m", "some-model:f16", "some-model:q8_0"]
    found = store.find("some-model", "q8_0")
    assert found.path.read_bytes() == b"weights"
    assert found.manifest.revision == "c0ffee"
    assert not found.linked


def test_store_can_be_moved(store: Store, tmp_path: Path) -> None:
    put(store, "some-model", "f16")
    store.root.rename(tmp_path / "elsewhere")
    assert Store(tmp_path / "elsewhere").find("some-model").path.read_bytes() == b"weights"


def test_preferred_quant(store: Store) -> None:
    for quant in ("q4_0", "q8_0", "iq2_m"):
        put(store, "m", quant)
    assert [one.quant for one in store.quants("m")] == ["q8_0", "q4_0", "iq2_m"]
    put(store, "m", "q4_k_m")
    assert store.find("m").quant == "q4_k_m"


def test_gguf_without_manifest_is_not_visible(store: Store) -> None:
    put(store, "m", "f16")
    (store.root / "m" / "f16.json").rename(store.root / "m" / "f16.json.new")
    assert store.all() == []
    with pytest.raises(ModelNotFound):
        store.find("m")


def test_missing_models_are_named(store: Store) -> None:
    put(store, "codegen-350m-mono", "q8_0")
    with pytest.raises(ModelNotFound, match="codegen-350-mono") as caught:
        store.find("codegen-350-mono")
    assert "codegen-350m-mono" in str(caught.value.hint)
    with pytest.raises(ModelNotFound, match="only q8_0") as caught:
        store.find("codegen-350m-mono", "f16")
    assert caught.value.hint == "cgcli pull codegen-350m-mono:f16"


def test_gone_file_is_an_error_with_the_way_out(store: Store) -> None:
    put(store, "m", "f16").path.unlink()
    with pytest.raises(ModelFileError, match="gone") as caught:
        store.find("m")
    assert caught.value.hint == "cgcli models rm m:f16 && cgcli pull m:f16"


def test_file_that_is_not_whole_is_an_error_with_the_way_out(store: Store) -> None:
    stored = put(store, "m", "f16")
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="instead of") as caught:
        store.find("m")
    assert caught.value.hint == "cgcli models rm m:f16 && cgcli pull m:f16"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"name": "m"}', b'{"nane": 1}', b"\xff", b"[" * 100_000], ids=lambda one: one[:9]
)
def test_broken_manifest_is_named_and_can_be_removed(store: Store, content: bytes) -> None:
    put(store, "m", "f16")
    put(store, "n", "f16")
    (store.root / "m" / "f16.json").write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged manifest") as caught:
        store.find("m")
    assert caught.value.hint == "cgcli models rm m:f16"
    assert [one.name for one in store.all()] == ["n"]
    (told,) = store.broken()
    assert (told.message, told.hint) == (caught.value.message, caught.value.hint)
    store.remove("m", "f16", Silent())
    assert store.broken() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", "big"), ("size", True), ("file", None), ("sha256", 1), ("source", []), ("licence", 1), ("report", "x")],
)
def test_manifest_with_a_field_of_another_type_is_broken(store: Store, field: str, value: object) -> None:
    put(store, "m", "f16")
    file = store.root / "m" / "f16.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), field: value}))
    with pytest.raises(ModelFileError, match=f"damaged manifest .*: {field} is "):
        store.find("m")


def test_manifest_of_another_model_is_refused(store: Store) -> None:
    put(store, "m", "f16")
    (store.root / "n").mkdir()
    (store.root / "m" / "f16.json").rename(store.root / "n" / "f16.json")
    with pytest.raises(ModelFileError):
        store.find("n")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "A", "a b", "a\n", "a.", "ä", "x" * 97]
)
def test_names_that_could_leave_the_store(store: Store, name: str) -> None:
    for use in (store.folder, store.find, store.quants):
        with pytest.raises(UsageError):
            use(name)
    with pytest.raises(UsageError):
        store.get("m", name)


@pytest.mark.parametrize(
    "text", ["", ":", "a:b:c", "a/b", "../a", "hf:", "hf:a", "hf:a/b/c.txt", "hf:a/b/../c.gguf", "a@"]
)
def test_specs_that_name_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


def test_specs() -> None:
    spec = parse_spec("CodeGen-350M-mono:Q8_0")
    assert (spec.name, spec.quant) == ("codegen-350m-mono", "q8_0")
    spec = parse_spec("hf:Salesforce/codegen-2B-mono@refs/pr/4:f16")
    assert (spec.name, spec.repo, spec.revision, spec.quant) == (
        "codegen-2b-mono",
        "Salesforce/codegen-2B-mono",
        "refs/pr/4",
        "f16",
    )
    assert spec.source == "hf:Salesforce/codegen-2B-mono"
    spec = parse_spec("hf:a/b/sub/Model.Q4.gguf@main")
    assert (spec.name, spec.file, spec.revision) == ("model.q4", "sub/Model.Q4.gguf", "main")


def test_linked_file_stays_where_it_is(store: Store, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "mine.gguf")
    before = file.stat()
    linked = store.link("mine", file, Silent())
    assert (linked.name, linked.quant, linked.linked) == ("mine", "f16", True)
    assert store.find("mine").path == file
    assert sorted(path.name for path in (store.root / "mine").iterdir()) == ["f16.json"]
    assert linked.manifest.sha256 == sha256(file.read_bytes())
    with pytest.raises(UsageError, match="already"):
        store.link("mine", file, Silent())
    store.remove("mine", None, Silent())
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert store.all() == []


def test_only_a_gguf_can_be_linked(store: Store, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    for file in (tmp_path / "bad.gguf", tmp_path / "none.gguf"):
        with pytest.raises(ModelFileError):
            store.link("bad", file, Silent())
    assert store.all() == []


@pytest.mark.parametrize("linked", [False, True])
def test_flipped_bit_in_the_weights_is_caught(store: Store, tmp_path: Path, linked: bool) -> None:
    # The header check cannot see it: the hash does.
    file = write_gguf(tmp_path / "mine.gguf")
    stored = store.link("m", file, Silent()) if linked else put(store, "m", "f16", file.read_bytes())
    progress = Recorder()
    assert store.verify(stored, progress) is None
    assert progress.bars[-1].done == file.stat().st_size
    data = bytearray(stored.path.read_bytes())
    data[-100] ^= 1
    stored.path.write_bytes(data)
    read_header(stored.path)
    problem = store.verify(stored, Silent())
    assert problem is not None
    assert "sha256" in problem
    stored.path.write_bytes(data[:-1])
    assert "bytes" in str(store.verify(stored, Silent()))
    stored.path.unlink()
    assert "cannot read" in str(store.verify(stored, Silent()))


def test_removal(store: Store) -> None:
    put(store, "m", "f16", b"x" * 1000)
    put(store, "m", "q8_0", b"x" * 1000)
    (store.checkpoint("m")).mkdir()
    assert store.remove("m", "f16", Silent()) > 1000
    assert [one.quant for one in store.all()] == ["q8_0"]
    with pytest.raises(ModelNotFound):
        store.remove("m", "f16", Silent())
    store.remove("m", None, Silent())
    assert not (store.root / "m").exists()
    with pytest.raises(ModelNotFound):
        store.remove("m", None, Silent())


def test_manifest_fields_are_what_is_promised(store: Store) -> None:
    put(store, "m", "f16")
    fields = json.loads((store.root / "m" / "f16.json").read_bytes())
    promised = "name quant file size sha256 source revision licence tool_version created report"
    assert list(fields) == promised.split()


def test_removal_through_a_link_leaves_what_is_not_the_stores(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    put(Store(tmp_path / "other"), "m", "f16")
    (tmp_path / "other" / "m").rename(elsewhere)
    (elsewhere / "notes.txt").write_text("mine")
    store.root.mkdir(exist_ok=True)
    (store.root / "m").symlink_to(elsewhere)
    there = sorted(file.name for file in elsewhere.iterdir())
    with pytest.raises(UsageError, match="is a link to"):
        store.remove("m", "f16", Silent())
    assert store.remove("m", None, Silent()) == 0
    assert not (store.root / "m").is_symlink()
    assert sorted(file.name for file in elsewhere.iterdir()) == there


def test_removal_unlinks_links_inside_and_keeps_other_files(store: Store, tmp_path: Path) -> None:
    put(store, "m", "f16")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "weights").write_text("mine")
    store.checkpoint("m").symlink_to(outside)
    (store.root / "m" / "notes.txt").write_text("mine")
    progress = Recorder()
    store.remove("m", None, progress)
    assert (outside / "weights").read_text() == "mine"
    assert [file.name for file in (store.root / "m").iterdir()] == ["notes.txt"]
    assert any("notes.txt" in note for note in progress.notes)
    assert store.all() == []


def test_a_manifest_that_is_a_pipe_is_refused_at_once(store: Store) -> None:
    put(store, "m", "f16")
    (store.root / "m" / "f16.json").unlink()
    os.mkfifo(store.root / "m" / "f16.json")
    (told,) = store.broken()
    assert "it is a pipe, not a regular file" in told.message
