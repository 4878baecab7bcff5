"""Completion as a shell asks for it: through the environment, one line a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import run as cgcli
from tests.support.process import Ran


def complete(words: str) -> Ran:
    arguments = f"cgcli {words}"
    return cgcli(_CGCLI_COMPLETE="complete_bash", COMP_WORDS=arguments, COMP_CWORD=str(len(arguments.split(" ")) - 1))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pu", ["pull"]),
        ("models ve", ["verify"]),
        ("pull codegen-2b-m", ["codegen-2b-multi", "codegen-2b-mono"]),
        # As zsh and fish ask; bash itself takes the colon for the end of a word.
        ("pull codegen-2b-mono:q4", ["codegen-2b-mono:q4_k_m", "codegen-2b-mono:q4_0"]),
        ("models show smol", ["smollm2-135m"]),
        ("gen --temp", ["--temperature"]),
        ("gen -m any", []),
    ],
)
def test_offers(words: str, offered: list[str]) -> None:
    ran = complete(words)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.decode().split() == offered


def test_a_broken_manifest_is_not_offered_and_hides_nothing(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "home" / "store" / "x"
    folder.mkdir(parents=True)
    (folder / "q8_0.json").write_text("{")
    assert cgcli("models", "add", str(tiny_model), "--name", "x2").status == 0
    ran = complete("gen -m x")
    assert (ran.status, ran.out.strip(), ran.err) == (0, b"x2", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell: str) -> None:
    ran = cgcli(_CGCLI_COMPLETE=f"source_{shell}")
    assert ran.status == 0 and b"_CGCLI_COMPLETE" in ran.out
