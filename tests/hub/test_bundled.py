"""Bundled models: available without a pull, read-only, and hidden by a user's model of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import ModelNotFound, UsageError
from cgcli.core.progress import Silent
from cgcli.hub.catalog import Card, bundled_models, load_catalog, parse_catalog
from cgcli.hub.choose import choose
from cgcli.hub.pull import pull
from cgcli.hub.store import Store, open_store
from tests.hub.test_store import put
from tests.hub.tiny import write_gguf

PLENTY = 10**12
BUNDLED = [card for card in load_catalog().cards.values() if card.bundled]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    put(Store(tmp_path / "bundled"), "nano", "q8_0", b"bundled", "cgcli:nano")
    return Store(tmp_path / "store", bundled=tmp_path / "bundled")


def test_it_is_there_and_the_store_need_not_be(store: Store) -> None:
    (found,) = store.all()
    assert found == store.find("nano") == store.get("nano", "q8_0") and found.bundled and store.is_bundled("nano")
    assert found.path.read_bytes() == b"bundled" and store.verify(found, Silent()) is None
    assert store.get("nano", "f16") is None and not store.root.exists()
    assert store.original("nano") == found.path.parent / "checkpoint"


def test_the_users_own_hides_it_until_it_goes(store: Store) -> None:
    put(store, "nano", "q8_0", b"mine")
    assert [one.bundled for one in store.all()] == [False] and store.find("nano").path.read_bytes() == b"mine"
    assert store.original("nano") == store.checkpoint("nano")
    store.remove("nano", None, Silent())
    assert store.find("nano").path.read_bytes() == b"bundled"


def test_a_file_may_be_added_under_its_name(store: Store, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    assert store.link("nano", tmp_path / "m.gguf", Silent()).path == store.find("nano").path == tmp_path / "m.gguf"


def test_all_are_in_the_order_of_their_names(store: Store) -> None:
    put(store, "a", "f16")
    put(store, "z", "f16")
    assert [one.name for one in store.all()] == ["a", "nano", "z"]


@pytest.mark.parametrize("quant", [None, "q8_0"])
def test_it_is_not_removed(store: Store, quant: str | None) -> None:
    with pytest.raises(UsageError, match="nano is bundled with cgcli"):
        store.remove("nano", quant, Silent())
    assert store.find("nano").path.exists()


def test_what_its_passes_cost_is_kept_in_the_users_store(store: Store) -> None:
    assert store.passes(store.find("nano")) == store.root / "nano" / "q8_0.passes"


def test_it_is_damaged(store: Store) -> None:
    found = store.find("nano")
    found.path.write_bytes(b"damaged")
    assert "sha256" in (store.verify(found, Silent()) or "") and found.remedy == "reinstall cgcli"


def test_it_runs_only_where_it_is_asked_for(store: Store) -> None:
    catalog = load_catalog()
    with pytest.raises(ModelNotFound) as caught:
        choose(None, store, catalog, PLENTY)
    assert caught.value.hint == "cgcli pull smollm2-135m; or try the tiny bundled model: -m nano"
    assert choose("nano", store, catalog, PLENTY).path == store.find("nano").path
    put(store, "mine", "f16")
    with pytest.raises(ModelNotFound, match="the default model is not pulled, only mine:f16"):
        choose(None, store, catalog, PLENTY)


@pytest.mark.parametrize("fields", ["", "bundled = true\nrepo = 'a/b'"])
def test_a_card_says_one_origin(fields: str) -> None:
    text = f"default = 'm'\n[sources]\n[shapes]\n[[models]]\nname = 'm'\nsummary = 's'\nlicence = 'l'\n{fields}"
    with pytest.raises(ValueError, match="one of repo, wheel and bundled"):
        parse_catalog(f"{text}\ntokenizer = 't'")


@pytest.mark.parametrize("card", BUNDLED, ids=lambda card: card.name)
def test_a_bundled_model_is_what_its_card_says(card: Card, tmp_path: Path) -> None:
    store = open_store(Environment.from_process({"CGCLI_HOME": str(tmp_path)}))
    found = store.quants(card.name)
    assert [one.quant for one in found] == list(card.quants) and found[0].manifest.source == card.source
    assert all(one.bundled and store.verify(one, Silent()) is None for one in found)
    assert sum(one.manifest.size for one in found) <= 25_000_000


@pytest.mark.parametrize("card", BUNDLED, ids=lambda card: card.name)
def test_to_pull_it_does_nothing(card: Card, tmp_path: Path) -> None:
    environment = Environment.from_process({"CGCLI_HOME": str(tmp_path)})
    for keep in (False, True):
        assert pull(card.name, environment=environment, progress=Silent(), keep=keep).bundled
    with pytest.raises(UsageError, match="is bundled with cgcli"):
        pull(card.name, environment=environment, progress=Silent(), name="other")
    assert not list(tmp_path.rglob("*.json"))


def test_nothing_else_is_bundled() -> None:
    bundled = {file.parent.name for file in bundled_models().glob("*/*.json")}
    assert bundled == {card.name for card in load_catalog().cards.values() if card.bundled}
