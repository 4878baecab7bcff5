"""Quantization in a child process: it works, is refused, ends with Ctrl-C or its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cgcli.core.errors import ModelFileError
from cgcli.engine.gguf_check import read_header
from cgcli.engine.model import Model
from cgcli.engine.quantize import quantize, quantize_here
from tests.support.patience import PATIENCE_S, eventually


def test_the_target_is_the_quantized_model(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.gguf"
    quantize(tiny_model, target, "q8_0", threads=1)
    assert read_header(target).quant == "q8_0"


def test_a_quantized_copy_runs_and_says_what_it_is(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.gguf"
    quantize_here(tiny_model, target, "q8_0", threads=1)
    with Model.load(target) as model:
        assert model.header.quant == "q8_0" and model.n_vocab == 264


def test_a_refusal_is_one_line_and_model_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match=r"broken\.gguf"):
        quantize(broken, tmp_path / "q.gguf", "q8_0", threads=1)


QUANTIZE = (
    "import sys; from pathlib import Path; from cgcli.engine.quantize import quantize\n"
    "print('begun', flush=True)\n"
    "quantize(Path(sys.argv[1]), Path(sys.argv[2]), 'q4_k_m', threads=1, allow_requantize=True)"
)


def test_it_does_not_outlive_a_process_that_is_killed(embedded_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.gguf"
    command = [sys.executable, "-c", QUANTIZE, str(embedded_model), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        eventually(target.exists)
        process.kill()
        process.stdout.read()  # both hold it open
    with pytest.raises(ModelFileError):  # it was not written to its end
        read_header(target)


def test_ctrl_c_ends_it_at_once(embedded_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.gguf"
    command = [sys.executable, "-c", QUANTIZE, str(embedded_model), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout and process.stdout.readline() == b"begun\n"
        eventually(target.exists)  # in the midst of llama.cpp's work
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(timeout=PATIENCE_S) != 0
    with pytest.raises(ModelFileError):  # it was not written to its end
        read_header(target)
