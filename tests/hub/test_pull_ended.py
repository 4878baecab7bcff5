"""Pulls that a signal ends, as processes: what they leave, and what the next pull makes of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from tests.hub.fake_hub import FakeHub
from tests.hub.tiny import write_gguf
from tests.support.cli import run
from tests.support.ended import ended_at

REPO = "someone/Some-Model"
SPEC = f"hf:{REPO}/Tiny.F16.gguf"


@pytest.fixture
def data(hub: FakeHub, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> bytes:
    for name, value in environment.variables.items():
        monkeypatch.setenv(name, value)
    return write_gguf(hub.root / REPO / "Tiny.F16.gguf").read_bytes()


def names(environment: Environment) -> list[str]:
    return sorted(path.name for path in (environment.store / "tiny.f16").iterdir())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_was_fetched_stays_and_nothing_else(
    number: signal.Signals, status: int, hub: FakeHub, environment: Environment, data: bytes, tmp_path: Path
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    ran = ended_at("cgcli.hub.pull.sha256_file", number, "pull", SPEC, TMPDIR=str(scratch))
    assert (ran.status, ran.err.splitlines()[-1]) == (status, f"cgcli: terminated by {number.name}")
    assert names(environment) == ["checkpoint"]
    assert list(scratch.iterdir()) == []
    assert run("pull", SPEC).status == 0
    assert names(environment) == ["f16.gguf", "f16.json"]
    assert hub.log.sent["Tiny.F16.gguf"] == len(data)


@pytest.mark.parametrize("step", ["cgcli.hub.pull.sha256_file", "cgcli.hub.store.write_atomic", "shutil.rmtree"])
def test_the_next_pull_removes_what_a_killed_one_left(
    step: str, hub: FakeHub, environment: Environment, data: bytes
) -> None:
    """Killed before the model is in the store, on its way there, and behind that."""
    ran = ended_at(step, signal.SIGKILL, "pull", SPEC)
    assert ran.status == -signal.SIGKILL
    assert {"checkpoint", "work"} <= set(names(environment))
    again = run("pull", SPEC)
    assert again.status == 0, again.err
    assert names(environment) == ["f16.gguf", "f16.json"]
    assert hub.log.sent["Tiny.F16.gguf"] == len(data)


def test_an_original_that_is_kept_or_still_comes_is_no_leftover(
    hub: FakeHub, environment: Environment, data: bytes
) -> None:
    assert run("pull", SPEC, "--keep").status == 0
    assert "is already pulled" in run("pull", SPEC).err
    assert names(environment) == ["checkpoint", "f16.gguf", "f16.json"]
    (environment.store / "tiny.f16" / "checkpoint" / ".kept").unlink()
    (environment.store / "tiny.f16" / "checkpoint" / ".used").unlink()  # as while another quant of it is fetched
    assert "is already pulled" in run("pull", SPEC).err
    assert names(environment) == ["checkpoint", "f16.gguf", "f16.json"]
