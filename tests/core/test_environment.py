"""The folders for given variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.core.config import Environment


def test_home_moves_all_together(tmp_path: Path) -> None:
    environment = Environment.from_process({"CGCLI_HOME": str(tmp_path)})
    assert environment.store == tmp_path / "store"
    assert environment.data == tmp_path / "data"
    assert environment.config_file == tmp_path / "config.toml"


def test_home_is_absolute_and_a_tilde_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert Environment.from_process({"CGCLI_HOME": "here"}).store == tmp_path / "here" / "store"
    assert Environment.from_process({"CGCLI_HOME": "~/there"}).store == tmp_path / "user" / "there" / "store"


def test_without_home_the_platforms_own_folders() -> None:
    environment = Environment.from_process({"CGCLI_HOME": ""})
    assert environment.store.name == "store" and "cgcli" in str(environment.store)
    assert "cgcli" in str(environment.config)


@pytest.mark.parametrize(("value", "yes"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("", False)])
def test_flag(value: str, yes: bool) -> None:
    assert Environment.from_process({"CGCLI_HOME": "x", "HF_HUB_OFFLINE": value}).flag("HF_HUB_OFFLINE") is yes
