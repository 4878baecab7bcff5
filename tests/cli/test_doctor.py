"""`cgcli doctor`: every part has a line, what is wrong has a hint, and what is broken a status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cgcli.app.doctor import findings
from cgcli.core.config import Environment
from cgcli.core.progress import Silent
from tests.support.cli import run as cgcli


def doctor(*words: str, **variables: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = cgcli("doctor", "--json", *words, **variables)
    assert ran.err == ""
    return ran.status, {one["name"]: one for one in json.loads(ran.out)}


def test_a_sound_installation_has_nothing_broken_and_says_what_to_pull() -> None:
    status, found = doctor()
    assert status == 0 and not any(one["broken"] for one in found.values())
    assert {
        "cgcli",
        "llama-cpp-python",
        "llama.cpp",
        "CPU variant",
        "GPU",
        "kernels",
        "threads",
        "memory",
        "store",
        "Hub",
    } <= set(found)
    assert found["pulled"]["hint"] == "cgcli pull smollm2-135m"


def test_the_lines_for_a_person() -> None:
    ran = cgcli("doctor")
    lines = ran.out.decode().splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert lines[0].startswith("✓ cgcli")
    assert lines[lines.index(next(line for line in lines if "pulled" in line)) + 1].endswith(
        "→ cgcli pull smollm2-135m"
    )


def test_a_broken_configuration_does_not_hide_other_findings(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text("top_p = 3\n")
    status, found = doctor(CGCLI_TEMPRATURE="1")
    assert status == 1
    assert found["configuration"]["broken"] and "top_p is 3" in found["configuration"]["value"]
    assert "did you mean CGCLI_TEMPERATURE?" in found["environment"]["value"]
    assert not found["store"]["broken"]


def test_a_broken_manifest_has_the_command_that_removes_it(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "store" / "x"
    folder.mkdir(parents=True)
    (folder / "q8_0.json").write_text("{")
    status, found = doctor()
    assert status == 1 and found["pulled"]["hint"] == "cgcli models rm x:q8_0"


def test_a_broken_manifest_hides_no_other_model(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "home" / "store" / "x"
    folder.mkdir(parents=True)
    (folder / "q8_0.json").write_text("{")
    assert cgcli("models", "add", str(tiny_model), "--name", "mine").status == 0
    lines = cgcli("doctor").out.decode()
    assert "✗ pulled           damaged manifest" in lines and "✓ pulled           mine:f16" in lines


def test_a_check_that_fails_in_an_unknown_way_is_a_finding() -> None:
    class Strange(dict[str, str]):
        def get(self, name: object, default: object = None) -> str:
            raise RuntimeError("strange")

    environment = Environment(Path("/nowhere"), Path("/nowhere"), Path("/nowhere"), Strange())
    found = {one.name: one for one in findings(environment, Silent(), online=False)}
    assert found["Hub"].broken and "RuntimeError: strange" in found["Hub"].value
    assert not found["store"].broken


def test_the_hub_is_contacted_only_with_online() -> None:
    # Port 9 (discard) of this machine: nobody listens.
    away = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    status, found = doctor(**away)
    assert status == 0 and "not checked" in found["Hub"]["value"]
    status, found = doctor("--online", **away)
    assert status == 1 and found["Hub"]["broken"]
    status, found = doctor("--online", HF_HUB_OFFLINE="1")
    assert status == 0
