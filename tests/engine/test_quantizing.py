"""Quantization in a child: done, refused, ended by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgcli.core.errors import ModelFileError
from cgcli.engine.gguf import read_header
from cgcli.engine.quantizing import quantize


def test_the_target_is_the_quantized_model(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.gguf"
    quantize(tiny_model, target, "q8_0", threads=1)
    assert read_header(target).quant == "q8_0"


def test_a_refusal_is_one_line_and_model_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match=r"broken\.gguf"):
        quantize(broken, tmp_path / "q.gguf", "q8_0", threads=1)


def test_ctrl_c_ends_it_at_once(embedded_model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cgcli.engine.quantizing import quantize\n"
        "print('begun', flush=True)\n"
        "quantize(Path(sys.argv[1]), Path(sys.argv[2]), 'q4_k_m', threads=1, allow_requantize=True)"
    )
    command = [sys.executable, "-c", code, str(embedded_model), str(tmp_path / "q.gguf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout and process.stdout.readline() == b"begun\n"
        time.sleep(0.6)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        started = time.monotonic()
        assert process.wait(timeout=30) != 0
        assert time.monotonic() - started < 1.5
