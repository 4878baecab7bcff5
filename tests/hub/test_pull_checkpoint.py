"""A CodeGen checkpoint on the Hub becomes a model of the store: download, conversion, quantization, manifest."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, ModelFileError
from cgcli.engine.gguf_check import read_header
from cgcli.hub.pull import pull
from cgcli.hub.store import Store
from tests.hub.fake_hub import FakeHub
from tests.hub.recording import Recorder
from tests.hub.test_pull import start
from tests.hub.tiny import sha256
from tests.support.patience import PATIENCE_S

REPO = "Salesforce/codegen-350M-mono"
# Small checkpoints in the Hub's layout, wherever there are some.
PLACES = (Path(__file__).parents[3] / "shared" / "golden", Path(__file__).parents[1] / "golden")
GOLDEN = sorted(config.parent for place in PLACES for config in place.glob("*/config.json"))
SINGLE = next(
    (folder for folder in GOLDEN if (folder / "model.safetensors").is_file()), GOLDEN[0] if GOLDEN else Path()
)

WEIGHTS = "model.safetensors" if (SINGLE / "model.safetensors").is_file() else "pytorch_model.bin"

pytestmark = pytest.mark.skipif(not GOLDEN, reason=f"no golden checkpoints in {' or '.join(map(str, PLACES))}")


def serve(hub: FakeHub, golden: Path = SINGLE) -> None:
    shutil.copytree(golden, hub.root / REPO, ignore=shutil.ignore_patterns("expected.npz", "prompt.txt"))


@pytest.mark.parametrize(
    "golden",
    [SINGLE, *(pytest.param(folder, marks=pytest.mark.long) for folder in GOLDEN if folder != SINGLE)],
    ids=lambda folder: folder.name,
)
def test_checkpoint_by_the_catalogs_name(
    hub: FakeHub, environment: Environment, progress: Recorder, golden: Path
) -> None:
    serve(hub, golden)
    # A golden checkpoint is none of the catalog's sizes: so the plan is computed from its own config.json.
    stored = pull("codegen-350m-mono:q8_0", environment=environment, progress=progress)
    manifest = stored.manifest
    assert stored.spec == "codegen-350m-mono:q8_0"
    assert (manifest.source, manifest.revision) == (f"hf:{REPO}", hub.commit(REPO))
    assert manifest.licence == "BSD-3-Clause"
    assert manifest.sha256 == sha256(stored.path.read_bytes())
    assert manifest.report
    header = read_header(stored.path)
    assert (header.architecture, header.quant) == ("phi2", "q8_0")
    assert hub.commit(REPO) in header.metadata.values()
    assert sorted(path.name for path in stored.path.parent.iterdir()) == ["q8_0.gguf", "q8_0.json"]
    assert Store(environment.store).verify(stored, progress) is None


def test_another_quant_from_a_kept_original(hub: FakeHub, environment: Environment, progress: Recorder) -> None:
    serve(hub)
    asked = []
    for quant in ("q8_0", "q4_k_m"):
        stored = pull(f"hf:{REPO}:{quant}", environment=environment, progress=progress, keep=True)
        assert read_header(stored.path).quant == quant
        asked.append(hub.log.sent[WEIGHTS])
    assert set(asked) == {(hub.root / REPO / WEIGHTS).stat().st_size}
    assert Store(environment.store).find("codegen-350m-mono").quant == "q4_k_m"


def test_keep_where_the_model_is_there_already(hub: FakeHub, environment: Environment, progress: Recorder) -> None:
    serve(hub)
    name = f"hf:{REPO}:q8_0"
    first = pull(name, environment=environment, progress=progress)
    original = Store(environment.store).checkpoint(first.name) / WEIGHTS
    assert not original.exists()
    again = pull(name, environment=environment, progress=progress, keep=True)
    assert again.manifest.sha256 == first.manifest.sha256
    assert original.stat().st_size == (hub.root / REPO / WEIGHTS).stat().st_size
    asked = hub.log.sent[WEIGHTS]
    pull(name, environment=environment, progress=progress, keep=True)
    assert hub.log.sent[WEIGHTS] == asked and "is already pulled" in progress.notes[-1]


def test_another_architecture_is_refused_before_its_weights(
    hub: FakeHub, environment: Environment, progress: Recorder
) -> None:
    serve(hub)
    config = (hub.root / REPO / "config.json").read_text()
    hub.add(REPO, {"config.json": config.replace('"codegen"', '"llama"').encode()})
    with pytest.raises(ModelFileError, match="llama"):
        pull("codegen-350m-mono", environment=environment, progress=progress)
    assert hub.log.gets(WEIGHTS) == []


def test_checkpoint_that_does_not_fit(
    hub: FakeHub, environment: Environment, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(hub)
    monkeypatch.setattr("cgcli.hub.pull.free_disk_bytes", lambda folder: 1_000_000)
    with pytest.raises(CgcliError, match="of disk space"):
        pull("codegen-350m-mono", environment=environment, progress=progress)
    monkeypatch.undo()
    monkeypatch.setattr("cgcli.hub.pull.memory_bytes", lambda: 1_000_000)
    with pytest.raises(CgcliError, match="of memory to run") as caught:
        pull("codegen-350m-mono", environment=environment, progress=progress)
    assert "--force" in str(caught.value.hint)
    assert hub.log.gets(WEIGHTS) == []
    assert pull("codegen-350m-mono", environment=environment, progress=progress, force=True).path.is_file()


@pytest.mark.long
def test_killed_while_converting(hub: FakeHub, environment: Environment) -> None:
    serve(hub)
    chance = random.Random(1)
    store = Store(environment.store)
    for _ in range(5):
        process = start(environment, f"hf:{REPO}:q8_0")
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        time.sleep(chance.uniform(0.2, 1.2))
        process.kill()
        process.communicate()
        # All or nothing: what is visible is right.
        for stored in store.all():
            assert sha256(stored.path.read_bytes()) == stored.manifest.sha256
    process = start(environment, f"hf:{REPO}:q8_0")
    out, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    stored = store.find("codegen-350m-mono")
    assert stored.path == Path(out.strip())
    assert sha256(stored.path.read_bytes()) == stored.manifest.sha256
    left = subprocess.run(["find", store.root, "-type", "f"], capture_output=True, text=True, check=True).stdout
    assert sorted(Path(line).name for line in left.split()) == ["codegen-350m-mono.lock", "q8_0.gguf", "q8_0.json"]
