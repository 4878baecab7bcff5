"""Which model runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.core.errors import ModelFileError, ModelNotFound, UsageError
from cgcli.core.progress import Silent
from cgcli.hub.catalog import load_catalog
from cgcli.hub.choose import Choice, choose
from cgcli.hub.store import Store
from tests.hub.test_store import put

CATALOG = load_catalog()
PLENTY = 10**12


def run(store: Store, model: str | None = None, memory: int = PLENTY) -> Choice:
    return choose(model, store, CATALOG, memory)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_nothing_is_pulled(store: Store) -> None:
    with pytest.raises(ModelNotFound) as caught:
        run(store)
    assert caught.value.hint == "cgcli pull smollm2-135m"


def test_order_of_defaults(store: Store) -> None:
    put(store, "mine", "f16")
    put(store, "codegen-16b-multi", "q4_0")
    with pytest.raises(ModelNotFound, match=r"only codegen-16b-multi:q4_0, mine:f16"):
        run(store)
    put(store, "smollm2-135m", "q8_0")
    assert run(store).name == "smollm2-135m"
    put(store, "codegen-350m-mono", "q8_0")
    assert run(store).name == "codegen-350m-mono"
    put(store, "codegen-6b-mono", "q8_0")
    chosen = run(store)
    assert (chosen.name, chosen.quant) == ("codegen-6b-mono", "q8_0")
    assert chosen.card is CATALOG.require("codegen-6b-mono")
    assert chosen.sha256 is not None


def test_largest_that_fits(store: Store) -> None:
    for name in ("smollm2-135m", "codegen-350m-mono", "codegen-2b-mono", "codegen-6b-mono"):
        put(store, name, "q8_0")
    assert run(store, memory=5 * 10**9).name == "codegen-2b-mono"
    assert run(store, memory=10**9).name == "codegen-350m-mono"
    assert run(store, memory=10**8).name == "smollm2-135m"
    put(store, "codegen-6b-mono", "q4_0")  # a quant that fits where the preferred one does not
    assert run(store, memory=6 * 10**9).quant == "q4_0"


def test_asked_for(store: Store) -> None:
    put(store, "codegen-350m-mono", "q8_0")
    put(store, "codegen-350m-mono", "q4_k_m")
    put(store, "mine", "iq2_m")
    assert run(store, "codegen-350M-mono").quant == "q4_k_m"
    assert run(store, "codegen-350m-mono:q8_0").quant == "q8_0"
    assert run(store, "mine:iq2_m").card is None
    assert run(store, "hf:Salesforce/codegen-350M-mono").quant == "q4_k_m"


def test_the_card_is_found_under_another_name(store: Store) -> None:
    smollm = CATALOG.require("smollm2-135m")
    put(store, "s", "q8_0", source=smollm.source)
    assert run(store, "s").card is smollm
    # What a name says, a source knows better.
    put(store, "codegen-2b-mono", "q8_0", source=CATALOG.require("codegen-2b-multi").source)
    assert run(store, "codegen-2b-mono").card is CATALOG.require("codegen-2b-multi")


def test_asked_for_and_not_there(store: Store) -> None:
    put(store, "codegen-350m-mono", "q8_0")
    with pytest.raises(ModelNotFound, match="not pulled") as caught:
        run(store, "codegen-2b-mono:q8_0")
    assert caught.value.hint == "cgcli pull codegen-2b-mono:q8_0"
    with pytest.raises(ModelNotFound) as caught:
        run(store, "codegen-350m-mono:f16")
    assert caught.value.hint == "cgcli pull codegen-350m-mono:f16"
    with pytest.raises(ModelNotFound) as caught:
        run(store, "codegen-350-mno")
    assert "codegen-350m-mono" in str(caught.value.hint)
    for name in ("codegen-350m-mono:q3", "codegen-2b-mono:q3", "smollm2-135m:q4_k_m"):
        with pytest.raises(UsageError) as usage:
            run(store, name)
        assert "q8_0" in str(usage.value.hint)


def test_a_broken_manifest_hides_no_other_model(store: Store) -> None:
    for name in ("codegen-350m-mono", "codegen-2b-mono"):
        put(store, name, "q8_0")
    (store.root / "codegen-2b-mono" / "q8_0.json").write_text("{")
    assert run(store).name == "codegen-350m-mono"
    with pytest.raises(ModelFileError, match="damaged manifest"):
        run(store, "codegen-2b-mono")
    with pytest.raises(ModelNotFound):
        run(store, "codegen-6b-mono")
    store.remove("codegen-350m-mono", None, Silent())
    with pytest.raises(ModelFileError, match="damaged manifest"):
        run(store)


def test_file(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "Some Model.gguf"
    file.write_bytes(b"")
    assert run(store, str(file)) == Choice("Some Model", file)
    with pytest.raises(ModelNotFound, match=r"none\.gguf"):
        run(store, str(tmp_path / "none.gguf"))


def test_gone_file(store: Store) -> None:
    put(store, "codegen-350m-mono", "q8_0").path.unlink()
    with pytest.raises(ModelFileError, match="gone"):
        run(store)
