"""`cgcli models` and its commands on a store that the test fills."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cgcli.hub.catalog import load_catalog
from tests.support.cli import run
from tests.support.cli import run as cgcli


@pytest.fixture
def added(tiny_model: Path, tmp_path: Path) -> Path:
    """A GGUF of the test's own, in the store under the name `tiny`."""
    file = tmp_path / "mine.gguf"
    file.write_bytes(tiny_model.read_bytes())
    ran = cgcli("models", "add", str(file), "--name", "tiny")
    assert (ran.status, ran.out) == (0, b""), ran.err
    return file


def test_the_table_has_every_card_and_what_is_in_the_store(added: Path) -> None:
    ran = cgcli("models")
    lines = ran.out.decode().splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert [line.split()[0] for line in lines] == ["MODEL", *load_catalog().cards, "tiny"]
    assert lines[-1].split()[-1] == "f16"
    assert all(len(line) < 100 for line in lines)


def test_json_has_every_card_with_what_is_known(added: Path) -> None:
    rows = {row["name"]: row for row in json.loads(cgcli("models", "--json").out)}
    mono = rows["codegen-350m-mono"]
    assert mono["human_eval"]["pass_at_1"] == 12.76 and mono["human_eval"]["source"]
    assert mono["fits"] is True and mono["pulled"] == []
    assert rows["codegen2-3.7b"]["parameters"] is None  # nobody could read its shape
    assert rows["tiny"]["source"] is None
    assert rows["tiny"]["pulled"][0]["path"] == str(added)
    one = json.loads(cgcli("models", "show", "codegen-350m-mono", "--json").out)
    assert one == mono


def test_a_broken_manifest_is_reported_and_hides_no_model(added: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "home" / "store" / "tiny" / "f16.json"
    (bad := tmp_path / "home" / "store" / "bad").mkdir()
    (bad / "f16.json").write_text(json.dumps({**json.loads(manifest.read_bytes()), "name": "bad", "size": "big"}))
    table, asked = cgcli("models"), cgcli("models", "--json")
    assert table.out.decode().splitlines()[-1].split()[0] == "tiny"
    assert json.loads(asked.out)[-1]["name"] == "tiny"
    for ran in (table, asked, cgcli("models", "verify"), cgcli("models", "show", "bad")):
        assert ran.status == 5
        assert ran.err.splitlines()[-1] == (
            f"cgcli: damaged manifest {bad / 'f16.json'}: size is 'big'; type: cgcli models rm bad:f16"
        )
    assert cgcli("models", "rm", "bad:f16").status == 0
    assert cgcli("models").status == 0


def test_show() -> None:
    ran = cgcli("models", "show", "smollm2-135m")
    assert (ran.status, ran.err) == (0, "")
    assert "Apache-2.0" in ran.out.decode() and "cgcli pull smollm2-135m" in ran.out.decode()
    ran = cgcli("models", "show", "codegen-350m-mno")
    assert (ran.status, ran.out) == (3, b"")
    assert "did you mean codegen-350m-mono" in ran.err


def test_path(added: Path) -> None:
    assert cgcli("models", "path", "tiny").out == f"{added}\n".encode()
    assert json.loads(cgcli("models", "path", "tiny:f16", "--json").out) == {
        "model": "tiny",
        "quant": "f16",
        "path": str(added),
    }
    assert cgcli("models", "path", "tiny:q8_0").status == 3


def test_verify_finds_a_flipped_bit(added: Path) -> None:
    assert cgcli("models", "verify").status == 0
    data = bytearray(added.read_bytes())
    data[-1] ^= 1
    added.write_bytes(data)
    ran = cgcli("models", "verify", "tiny", "--json")
    (row,) = json.loads(ran.out)
    assert ran.status == 5
    assert row["model"] == "tiny" and "sha256" in row["problem"]
    assert ran.err.splitlines()[-1].startswith("cgcli: 1 of 1 files damaged: tiny:f16: sha256 of")


def test_rm_leaves_a_linked_file_alone(added: Path) -> None:
    ran = cgcli("models", "rm", "tiny", "--json")
    assert ran.status == 0 and json.loads(ran.out)["model"] == "tiny"
    assert json.loads(ran.out)["kept"] == [str(added)]
    assert ran.err.splitlines()[1].startswith(f"kept {added}, ")
    assert added.exists()
    assert cgcli("models", "path", "tiny").status == 3
    assert cgcli("models", "rm", "tiny").status == 3


def test_rm_of_a_trained_model_says_what_its_run_still_holds(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a run"
    (out / "checkpoints" / "20").mkdir(parents=True)
    (out / "checkpoints" / "20" / "state").write_bytes(bytes(5_000_000))
    (out / "recipe.toml").touch()
    (out / "mine.f16.gguf").write_bytes(tiny_model.read_bytes())
    assert run("models", "add", str(out / "mine.f16.gguf"), "--name", "mine").status == 0
    ran = run("models", "rm", "mine:f16")
    held = f"'{out}'"
    assert re.fullmatch(
        r"its training run still takes 5\.\d MB: rm -r (.*), or resume it: cgcli train -o (.*)", ran.err.splitlines()[1]
    ).groups() == (held, held)  # type: ignore[union-attr]


def test_rm_of_the_last_quant_says_that_the_original_stays(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "home" / "store" / "mine"
    assert run("models", "add", str(tiny_model), "--name", "mine").status == 0
    (model / "checkpoint").mkdir()
    ran = run("models", "rm", "mine:f16")
    assert (
        ran.err.splitlines()[-1]
        == f"kept the original checkpoint in {model / 'checkpoint'}; remove it: cgcli models rm mine"
    )
    assert run("models", "rm", "mine").status == 0
    assert not model.exists()


def test_add_refuses_what_is_no_gguf_and_a_name_that_is_taken(added: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"not a model")
    ran = cgcli("models", "add", str(junk), "--name", "junk")
    assert (ran.status, ran.out, ran.err.count("\n")) == (5, b"", 1)
    assert cgcli("models", "add", str(added), "--name", "tiny").status == 2
    assert cgcli("models", "add", str(added)).status == 2
