"""Whole pulls of a ready GGUF: killed, at the same time, without room, and what is recorded."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, ExitStatus, ModelFileError, NetworkError, UsageError
from cgcli.hub.client import RetryPolicy
from cgcli.hub.pull import Upstream, pull
from cgcli.hub.store import Store
from cgcli.terminal.text import size
from tests.hub.fake_hub import FakeHub
from tests.hub.recording import Recorder
from tests.hub.tiny import sha256, write_gguf
from tests.support.patience import PATIENCE_S, eventually

REPO = "someone/Some-Model"
SPEC = f"hf:{REPO}/Tiny.F16.gguf"
IMPATIENT = Upstream(retries=RetryPolicy(tries=3, first_s=0.01, longest_s=3))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(hub: FakeHub) -> bytes:
    return write_gguf(hub.root / REPO / "Tiny.F16.gguf").read_bytes()


def start(environment: Environment, spec: str) -> subprocess.Popen[str]:
    variables = {**os.environ, **environment.variables, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.hub.pull_once", spec]
    return subprocess.Popen(
        command,
        env=variables,
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ready_gguf(hub: FakeHub, environment: Environment, progress: Recorder, data: bytes) -> None:
    stored = pull(SPEC, environment=environment, progress=progress, upstream=IMPATIENT)
    assert stored.spec == "tiny.f16:f16"
    assert stored.path.read_bytes() == data
    manifest = stored.manifest
    assert (manifest.source, manifest.revision, manifest.sha256) == (SPEC, hub.commit(REPO), sha256(data))
    assert (manifest.size, manifest.licence) == (len(data), "bsd-3-clause")
    assert sorted(path.name for path in stored.path.parent.iterdir()) == ["f16.gguf", "f16.json"]
    assert progress.notes[0].startswith(f"tiny.f16 from {SPEC} at {hub.commit(REPO)[:12]}: ")
    assert Store(environment.store).verify(stored, progress) is None


def test_ready_gguf_that_no_memory_holds(
    hub: FakeHub, environment: Environment, progress: Recorder, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgcli.hub.pull.memory_bytes", lambda: len(data) - 1)
    with pytest.raises(CgcliError, match=r"needs at least .* of memory to run") as caught:
        pull(SPEC, environment=environment, progress=progress)
    assert "--force" in str(caught.value.hint)
    assert hub.log.gets("gguf") == []
    assert progress.notes[0].endswith(f", and at least {size(len(data))} of memory to run")
    monkeypatch.setattr("cgcli.hub.pull.memory_bytes", lambda: len(data))
    assert pull(SPEC, environment=environment, progress=progress).path.read_bytes() == data


def test_second_pull_touches_nothing(hub: FakeHub, environment: Environment, progress: Recorder, data: bytes) -> None:
    first = pull(SPEC, environment=environment, progress=progress, upstream=IMPATIENT)
    asked = len(hub.log.requests)
    assert pull(SPEC, environment=environment, progress=progress) == first
    assert len(hub.log.requests) == asked
    assert progress.notes[-1] == "tiny.f16:f16 is already pulled"


def test_names(hub: FakeHub, environment: Environment, progress: Recorder, data: bytes) -> None:
    assert pull(SPEC, environment=environment, progress=progress, name="mine").name == "mine"
    hub.add("someone/else", {"Tiny.F16.gguf": data})
    with pytest.raises(UsageError, match="another model named mine") as caught:
        pull("hf:someone/else/Tiny.F16.gguf", environment=environment, progress=progress, name="mine")
    assert "--name" in str(caught.value.hint)
    with pytest.raises(UsageError):
        pull(SPEC, environment=environment, progress=progress, name="../mine")


def test_revision(hub: FakeHub, environment: Environment, progress: Recorder, data: bytes) -> None:
    commit = hub.commit(REPO)
    stored = pull(f"{SPEC}@{commit}", environment=environment, progress=progress)
    assert stored.manifest.revision == commit
    with pytest.raises(UsageError, match=commit[:12]):
        pull(f"{SPEC}@{'0' * 40}", environment=environment, progress=progress)


def test_what_cannot_be_pulled(hub: FakeHub, environment: Environment, progress: Recorder, data: bytes) -> None:
    def status(spec: str) -> int:
        with pytest.raises(CgcliError) as caught:
            pull(spec, environment=environment, progress=progress, upstream=IMPATIENT)
        assert "\n" not in caught.value.message
        return caught.value.status

    assert status("codegen-350-mono") == ExitStatus.NO_MODEL
    assert status("codegen-350m-mono:q3") == ExitStatus.USAGE
    assert status("codegen-350m-mono") == ExitStatus.NO_MODEL  # this Hub does not have it
    assert status("hf:nobody/nothing") == ExitStatus.NO_MODEL
    assert status(f"hf:{REPO}/none.gguf") == ExitStatus.NO_MODEL
    assert status(f"hf:{REPO}") == ExitStatus.MODEL_FILE  # no checkpoint
    assert Store(environment.store).all() == []


def test_file_that_is_no_gguf(hub: FakeHub, environment: Environment, progress: Recorder) -> None:
    hub.add(REPO, {"Tiny.F16.gguf": b"GGUF" + bytes(1000)})
    with pytest.raises(ModelFileError):
        pull(SPEC, environment=environment, progress=progress)
    assert Store(environment.store).all() == []


def test_wrong_bytes_never_become_visible(
    hub: FakeHub, environment: Environment, progress: Recorder, data: bytes
) -> None:
    hub.faults.wrong_bytes = 1
    with pytest.raises(NetworkError, match="hash"):
        pull(SPEC, environment=environment, progress=progress)
    assert Store(environment.store).all() == []
    assert not list(environment.store.rglob("*.gguf"))
    assert pull(SPEC, environment=environment, progress=progress).path.read_bytes() == data


def test_full_disk(
    hub: FakeHub, environment: Environment, progress: Recorder, data: bytes, mount: Callable[[str], Path]
) -> None:
    small = replace(environment, store=mount("size=64k") / "store")
    with pytest.raises(CgcliError, match="of disk space") as caught:
        pull(SPEC, environment=small, progress=progress)
    assert "--force" in str(caught.value.hint)
    assert hub.log.gets("gguf") == []
    with pytest.raises(CgcliError, match="no space left") as caught:
        pull(SPEC, environment=small, progress=progress, force=True)
    assert caught.value.status == ExitStatus.FAILED
    assert Store(small.store).all() == []


@pytest.mark.parametrize("prepared", [False, True])
def test_read_only_store(
    hub: FakeHub,
    environment: Environment,
    progress: Recorder,
    data: bytes,
    mount: Callable[[str], Path],
    prepared: bool,
) -> None:
    disk = mount("size=1m")
    store = disk / "store"
    if prepared:
        (store / ".locks").mkdir(parents=True)
        (store / "tiny.f16" / "work").mkdir(parents=True)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(CgcliError, match="read-only") as caught:
        pull(SPEC, environment=replace(environment, store=store), progress=progress)
    assert caught.value.status == ExitStatus.FAILED
    assert hub.log.requests == []


def test_offline(hub: FakeHub, environment: Environment, progress: Recorder, data: bytes) -> None:
    offline = replace(environment, variables={**environment.variables, "HF_HUB_OFFLINE": "1"})
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        pull(SPEC, environment=offline, progress=progress)
    stored = pull(SPEC, environment=environment, progress=progress)
    assert pull(SPEC, environment=offline, progress=progress) == stored


def test_offline_in_a_process(hub: FakeHub, environment: Environment, data: bytes) -> None:
    offline = replace(environment, variables={**environment.variables, "HF_HUB_OFFLINE": "1"})
    _, told = (process := start(offline, SPEC)).communicate(timeout=PATIENCE_S)
    assert process.returncode == ExitStatus.NETWORK
    assert told.splitlines() == ["ready", "4: HF_HUB_OFFLINE is set, so nothing is downloaded"]
    assert hub.log.requests == []


def test_two_at_once(hub: FakeHub, environment: Environment, tmp_path: Path) -> None:
    data = write_gguf(hub.root / REPO / "Tiny.F16.gguf", width=1024).read_bytes()
    hub.faults.bytes_per_s = 1e5
    first = start(environment, SPEC)
    eventually(lambda: hub.log.gets("/cdn/someone/Some-Model/Tiny.F16.gguf"))
    second = start(environment, SPEC)
    assert second.stderr is not None
    assert second.stderr.readline() == "ready\n"
    assert second.stderr.readline() == "another cgcli is working on tiny.f16: waiting for it\n"
    hub.faults.bytes_per_s = None
    outs = [process.communicate(timeout=PATIENCE_S) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outs
    assert outs[0][0] == outs[1][0]
    assert Path(outs[0][0].strip()).read_bytes() == data
    assert hub.log.sent["Tiny.F16.gguf"] == len(data)
    assert outs[1][1] == "tiny.f16:f16 is already pulled\n"


@pytest.mark.long
def test_killed_twenty_times(hub: FakeHub, environment: Environment, tmp_path: Path) -> None:
    data = write_gguf(hub.root / REPO / "Tiny.F16.gguf", width=2048).read_bytes()
    hub.faults.bytes_per_s = 12e6
    chance = random.Random(20)
    part = environment.store / "tiny.f16" / "checkpoint" / ".download" / "Tiny.F16.gguf.part"
    kept, sent, resumed = 0, 0, 0
    for _ in range(20):
        process = start(environment, SPEC)
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        more = sent + chance.uniform(0, 4e6)
        eventually(lambda: hub.log.sent["Tiny.F16.gguf"] >= more or process.poll() is not None)  # noqa: B023 (at once)
        process.kill()
        process.communicate()
        assert Store(environment.store).all() == []
        time.sleep(0.05)  # the server notices
        now_kept = part.stat().st_size if part.is_file() else 0
        now_sent = hub.log.sent["Tiny.F16.gguf"]
        # Nothing that came before is lost; of what was sent meanwhile, all but 16 MB is there.
        assert now_kept >= kept
        assert (now_sent - sent) - (now_kept - kept) <= 16e6
        resumed += now_kept > kept
        kept, sent = now_kept, now_sent
    assert resumed >= 5, "too few of the kills met a download"
    assert kept < len(data), "the kills came too late"
    hub.faults.bytes_per_s = None
    process = start(environment, SPEC)
    out, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    assert Path(out.strip()).read_bytes() == data
    # With whole pieces of 10 MiB nothing would ever have been kept.
    assert hub.log.sent["Tiny.F16.gguf"] - len(data) <= 16e6
    stored = Store(environment.store).find("tiny.f16")
    assert stored.manifest.sha256 == sha256(data)
    assert sorted(path.name for path in stored.path.parent.iterdir()) == ["f16.gguf", "f16.json"]
