"""The binding of llama.cpp: its log, its import, its callbacks, its build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from cgcli.engine.binding import system_info
from cgcli.engine.context import Capture, Context
from cgcli.engine.model import Model
from tests.support.patience import PATIENCE_S

# A window larger than the one it was trained on makes llama.cpp warn.
WARNED = """
import sys
from pathlib import Path
from cgcli.engine.context import Context
from cgcli.engine.model import Model
with Model.load(Path(sys.argv[1])) as model, Context(model, n_ctx=4096):
    pass
"""


def test_llama_cpps_log_reaches_no_stream_by_itself(tiny_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WARNED, tiny_model], capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_its_warnings_go_to_our_logger(tiny_model: Path) -> None:
    listening = f"import logging; logging.basicConfig(format='heard %(message)s')\n{WARNED}"
    done = subprocess.run(
        [sys.executable, "-c", listening, tiny_model], capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert done.stderr.startswith(b"heard ") and b"n_ctx" in done.stderr


def test_importing_the_boundary_leaves_the_package_importable() -> None:
    code = "from cgcli.engine.binding import llama; llama(); import llama_cpp; print(llama_cpp.Llama.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == b"Llama\n"


def test_capture_sees_every_row_of_the_named_tensors_only(tiny_model: Path) -> None:
    seen: dict[str, tuple[int, ...]] = {}

    def keep(name: str, values: np.ndarray) -> None:
        seen[name] = values.shape

    with (
        Model.load(tiny_model) as model,
        Context(model, n_ctx=64, capture=Capture(frozenset({"l_out-1"}), keep)) as context,
    ):
        context.decode(model.tokenize(b"abcde"), outputs=range(5))
    assert seen == {"l_out-1": (5, 64)}


def test_system_info_names_a_back_end() -> None:
    assert "CPU" in system_info()


def test_it_is_built_without_amx() -> None:
    """GCC before 14 miscompiles ggml's AMX products: the process dies at the first of an odd shape."""
    assert "AMX_INT8 = 1" not in system_info()
