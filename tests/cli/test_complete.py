"""Completion as a shell asks for it: through the environment, one line a word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cgcli.program.history import Add
from cgcli.program.program import Program, Turn
from cgcli.program.program_store import ProgramStore
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
        ("gen --tempe", ["--temperature"]),
        ("gen -m any", []),
        ("gen --pick r", ["run", "reviewer"]),
        ("gen --draft ", ["ngram", "off", "codegen-nano"]),
        ("repl x", []),
        ("completion z", ["zsh"]),
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


def test_resume_offers_ids(tmp_path: Path) -> None:
    with ProgramStore(tmp_path / "home" / "data" / "programs").new(Program(), "python") as journal:
        journal.append(journal.history.commit(Add(Turn("x", "y"))))
    assert complete("repl --resume ").out.decode().split() == [journal.id]
    assert not complete("repl ").out.strip()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell: str) -> None:
    ran = cgcli(_CGCLI_COMPLETE=f"source_{shell}")
    assert ran.status == 0 and b"_CGCLI_COMPLETE" in ran.out
    ran = cgcli("completion", shell)
    assert (ran.status, ran.err) == (0, "") and b"_CGCLI_COMPLETE" in ran.out


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("cgcli pull codegen-2b-mono:q4", ["q4_k_m", "q4_0"]),  # what bash puts behind the colon
        ("cgcli models ve", ["verify"]),
        ("cgcli models show smol", ["smollm2-135m"]),
        ("cgcli completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes_with_the_script(line: str, replies: list[str], tmp_path: Path) -> None:
    command = tmp_path / "cgcli"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cgcli "$@"\n')
    command.chmod(0o755)
    script = cgcli("completion", "bash").out.decode()
    ask = f"{script}\nCOMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}\n_cgcli_completion {command}\n"
    ran = subprocess.run(["bash", "-c", ask + 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, check=True)
    assert ran.stdout.decode().split() == replies, ran.stderr
