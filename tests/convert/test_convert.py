"""Whole conversions: the result, the state after a failure, the memory they take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cgcli import __version__
from cgcli.convert.checkpoint import sha256_of
from cgcli.convert.convert import Report, convert
from cgcli.convert.verify import SUSPICIOUS_LOSS
from cgcli.convert.writer import Provenance
from cgcli.core.errors import CgcliError, ModelFileError, UsageError
from cgcli.core.progress import Silent
from cgcli.engine.gguf_check import read_header
from cgcli.engine.quantize import QUANTS
from tests.convert import checkpoints as make


def run(source: Path, target: Path, quant: str = "f16", **options: object) -> Report:
    provenance = Provenance("hf:owner/repo", "0123abcd")
    return convert(source, target, quant=quant, provenance=provenance, progress=Silent(), threads=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("quant", QUANTS)
def test_every_quant_is_written_checked_and_reported(quant: str, tmp_path: Path) -> None:
    report = run(make.GOLDEN, tmp_path / "model.gguf", quant)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    header = read_header(tmp_path / "model.gguf")
    assert header.quant == report.quant == quant
    assert header.parameters == report.parameters
    assert report.size_bytes == (tmp_path / "model.gguf").stat().st_size
    assert (report.kl_divergence is None) == (quant == "f16")
    assert report.kl_divergence is None or 0 < report.kl_divergence < 0.5
    assert json.loads(json.dumps(report.as_json()))["verification"]["layers_checked"] == 2


def test_provenance_is_in_the_file(tmp_path: Path) -> None:
    from gguf import GGUFReader

    report = run(make.GOLDEN, tmp_path / "model.gguf", "q8_0")
    digest = sha256_of(make.GOLDEN / "pytorch_model.bin")
    assert report.source_sha256 == {"pytorch_model.bin": digest}
    fields = GGUFReader(tmp_path / "model.gguf").fields
    assert fields["cgcli.source"].contents() == "hf:owner/repo"
    assert fields["cgcli.source.revision"].contents() == "0123abcd"
    assert fields["cgcli.source.sha256"].contents() == [f"{digest} pytorch_model.bin"]
    assert fields["cgcli.version"].contents() == __version__


def test_a_hash_that_is_known_is_not_made_again(tmp_path: Path) -> None:
    provenance = Provenance("x", sha256={"pytorch_model.bin": "known", "vocab.json": "other"})
    report = convert(
        make.GOLDEN, tmp_path / "a.gguf", quant="f16", provenance=provenance, progress=Silent(), threads=2,
        verify_result=False,
    )  # fmt: skip
    assert report.source_sha256 == {"pytorch_model.bin": "known"}
    assert report.verification is None


def test_token_types_and_the_end_of_text(tmp_path: Path) -> None:
    run(make.GOLDEN, tmp_path / "model.gguf")
    header = read_header(tmp_path / "model.gguf")
    assert list(header.token_types) == [1] * 286 + [3] + [4] * 38 + [5] * 59
    assert header.metadata["tokenizer.ggml.eos_token_id"] == 286


@pytest.mark.parametrize("layout", ["model.safetensors", "pytorch_model.bin"])
def test_sharded_f32_weights_give_the_same_file_but_for_provenance(layout: str, tmp_path: Path) -> None:
    make.write_shards(make.copy_texts(tmp_path / "source"), make.golden_weights(), layout)
    run(tmp_path / "source", tmp_path / "a.gguf")
    run(make.GOLDEN, tmp_path / "b.gguf")
    a, b = read_header(tmp_path / "a.gguf"), read_header(tmp_path / "b.gguf")
    assert a.tensors == b.tensors
    assert (tmp_path / "a.gguf").read_bytes()[a.data_offset :] == (tmp_path / "b.gguf").read_bytes()[b.data_offset :]


@pytest.mark.parametrize("step", ["write_gguf", "verify", "kl_divergence"])
def test_an_interrupt_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        assert len(list(tmp_path.iterdir())) > 1, "temporary files were there"
        raise KeyboardInterrupt

    target = tmp_path / "model.gguf"
    target.write_bytes(b"what was there")
    monkeypatch.setattr(f"cgcli.convert.convert.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(make.GOLDEN, target, "q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    assert target.read_bytes() == b"what was there"


def test_an_unknown_quant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="q3_k"):
        run(make.GOLDEN, tmp_path / "model.gguf", "q3_k")


@pytest.mark.parametrize("quant", ["f16", "q8_0"])
@pytest.mark.parametrize("kilobytes", [200, 400])
def test_a_full_disk_is_reported_and_leaves_no_file(quant: str, kilobytes: int, tmp_path: Path) -> None:
    """200 kB do not hold the f16 file, 400 kB not the second one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to mount a small disk")
    try:
        if (quant, kilobytes) == ("f16", 400):
            run(make.GOLDEN, tmp_path / "model.gguf", quant)
        else:
            with pytest.raises(CgcliError, match="no space left"):
                run(make.GOLDEN, tmp_path / "model.gguf", quant)
            assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_layers(tmp_path: Path) -> None:
    """Peak memory of the conversion proper, in a process of its own, for 2 and for 16 layers of 1.6 MB each."""
    rng = np.random.default_rng(0)
    golden = make.golden_weights()
    peaks = []
    for n_layer in (2, 16):
        width = 256
        weights = {}
        for name, values in golden.items():
            shape = tuple(n * 4 if n in (64, 192, 256) else n for n in values.shape)
            weights[name] = (rng.standard_normal(shape) * 0.02).astype(np.float32)
        for layer in range(2, n_layer):
            for name in [name for name in golden if name.startswith("transformer.h.0.")]:
                weights[name.replace(".0.", f".{layer}.", 1)] = weights[name]
        source = make.copy_texts(tmp_path / f"layers{n_layer}")
        make.change_config(source, n_embd=width, n_layer=n_layer)
        make.write_safetensors(source / "model.safetensors", weights)
        peaks.append(peak_memory(source, tmp_path / "model.gguf"))
        shutil.rmtree(source)
    assert abs(peaks[1] - peaks[0]) < 4_000_000, f"peaks in bytes: {peaks}; 14 more layers are 22 MB"


def peak_memory(source: Path, target: Path) -> int:
    code = (
        "import sys; from pathlib import Path; from cgcli.core.progress import Silent\n"
        "from cgcli.convert.convert import Provenance, convert\n"
        "source, target = map(Path, sys.argv[1:])\n"
        "convert(source, target, quant='f16', provenance=Provenance('x'), progress=Silent(), threads=1,"
        " verify_result=False)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )  # not getrusage: its peak begins with what the parent had when it forked
    found = subprocess.run([sys.executable, "-c", code, source, target], capture_output=True, text=True, check=True)
    return int(found.stdout) * 1024


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_wrong_mp_num_is_no_mismatch_but_shows_in_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides deal the rows out alike; a loss that is like an untrained model's is said. This one is untrained."""
    progress = Notes()
    for groups in (4, 2):
        report = convert(
            make.GOLDEN, tmp_path / "a.gguf", quant="f16", provenance=Provenance("x"), progress=progress, threads=2,
            mp_num=groups,
        )  # fmt: skip
        assert report.mp_num == groups
        assert report.verification is not None and report.verification.loss > SUSPICIOUS_LOSS
        assert progress.notes.pop().endswith(f"its mp_num is not {groups}")
    monkeypatch.setattr("cgcli.convert.convert.SUSPICIOUS_LOSS", 100.0)
    convert(make.GOLDEN, tmp_path / "a.gguf", quant="f16", provenance=Provenance("x"), progress=progress, threads=2,
            mp_num=2)  # fmt: skip
    assert progress.notes == []
    with pytest.raises(ModelFileError, match="mp_num 3"):
        run(make.GOLDEN, tmp_path / "c.gguf", mp_num=3)
