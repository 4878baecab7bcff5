"""What all tests share: their own home folder, small file systems that say no, and the real things that they need, with
a reason where one is absent. In CI only the reasons of `MAY_SKIP` are good enough."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from cgcli.engine.engine import LlamaEngine
    from cgcli.native.interrupt import Interrupt
    from tests.support.engines import MakeEngine

# No time limit an example: the machine may be busy. The suite as a whole is timed.
settings.register_profile("cgcli", deadline=None)
settings.load_profile("cgcli")

# What starts the tests may ignore them (nohup, a shell's &), and children inherit that.
for _signal in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal is signal.SIGINT else signal.SIG_DFL)

REPOSITORY = Path(__file__).parents[1]
TEST_HOME = REPOSITORY / "build" / "test-home"

MAY_SKIP = {
    # The folder beside the repository is not part of it.
    "the folder of golden checkpoints is not beside this repository": "../shared",
    "no golden checkpoints in ": "../shared",
    "the benchmark files are not beside this repository": "../shared",
    "HumanEval's file is not beside this repository": "../shared",
    "the source of llama.cpp is not in build/llama.cpp": "60 MB, and its layout is checked by whoever moves the pin",
    # Hardware.
    "our products have no tier for this processor": "they need AVX2",
    "no nvcc: neither on the PATH nor from the wheel nvidia-cuda-nvcc": "CUDA's compiler takes gigabytes",
    "compiled, but there is no GPU to run it on": "few machines have one",
    "there is a GPU": "a test of what is reported without one",
    "this processor has no calls of 32 bits": "an attack on Intel's alone",
    "this machine has no IPv6": "many containers have none",
    # The emulator of another processor, and the test that takes its place on that processor.
    "needs aarch64-linux-gnu-gcc and qemu-aarch64": "a cross compiler and an emulator",
    "needs qemu-x86_64": "an emulator",
    "needs debootstrap, and root to run it": "a system of its own",
    "on an ARM processor the test above runs NEON": "tested natively there",
    # CI runs as root or as a user; each skips what the other one can do.
    "only root can become another user": "root alone",
    "only root's programs become another user": "root alone",
    "only root's programs run as another user": "root alone",
    "only root may give files away": "root alone",
    "these tests are not run by root": "root alone",
    "needs root, to mount a small disk": "root alone",
    "for an ordinary user": "a Python outside root's home",
    "seen in root's sandbox": "the same attack bites there",
    "a second protection stands behind it": "to take one away is not enough",
    # What a container may not do, or its file system not hold.
    "no permission to mount a tmpfs": "containers",
    "this user may not mount a small file system": "containers",
    "no control groups can be made here": "containers",
    "no user namespaces": "containers",
    "this file system has no access lists": "overlay and network file systems",
    # Large, and no test of the text needs it.
    "there is no Chromium here": "a browser",
    "llm is not installed": "a client of others, with many dependencies; its request is recorded",
}
"""What a test's reason to skip may contain in CI, and why that is absent there. Any other skip fails: what CI should
have is missing, such as the sandbox, the embedded model or a package."""


def check_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of a skip for another reason, in CI."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(allowed in reason for allowed in MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nIn CI no test skips for this reason: add what is missing, or a line to MAY_SKIP."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    check_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    check_skip(report)
    return report


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own store and configuration, or is told what to do by the user's variables."""
    for name in list(os.environ):
        if name.startswith(("CGCLI_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CGCLI_HOME", str(tmp_path / "home"))
    # A user's Python buffers its output and keeps compiled modules.
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(autouse=True)
def no_interrupt_left() -> Iterator[None]:
    """The flag of Ctrl-C is the process's: one that a test sets ends with it."""
    yield
    if "cgcli.native.interrupt" in sys.modules:
        from cgcli.native.interrupt import Interrupt

        Interrupt().clear()


@pytest.fixture
def interrupt() -> Iterator[Interrupt]:
    """Ctrl-C as a flag that an engine looks at."""
    from cgcli.native.interrupt import interruptible

    with interruptible() as flag:
        yield flag


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden checkpoints, tokenizer and benchmark files beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("the folder of golden checkpoints is not beside this repository")
    return folder


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """The folder of a golden checkpoint: this repository's own, or by name one beside it."""

    def folder(name: str) -> Path:
        own: Path = REPOSITORY / "tests" / "golden" / "checkpoint"
        return own if name == "own" else request.getfixturevalue("shared") / "golden" / name

    return folder


@pytest.fixture(scope="session")
def embedded_home() -> Path:
    """A CGCLI_HOME in which the embedded model is pulled (`make test` does it)."""
    if not (TEST_HOME / "store" / "smollm2-135m" / "q8_0.json").is_file():
        pytest.skip("the embedded model is not in build/test-home: make test pulls it")
    return TEST_HOME


@pytest.fixture(scope="session")
def embedded_model(embedded_home: Path) -> Path:
    return embedded_home / "store" / "smollm2-135m" / "q8_0.gguf"


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """codegen-nano: it writes Python and has tokens of several letters, at a twentieth of the embedded model's cost."""
    from cgcli.hub.catalog import bundled_models

    return bundled_models() / "codegen-nano" / "q8_0.gguf"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random CodeGen that writes letters."""
    from tests.support.tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def make_engine(tiny_model: Path, interrupt: Interrupt) -> Iterator[MakeEngine]:
    from tests.support.engines import making_engines

    with making_engines(tiny_model, interrupt) as make:
        yield make


@pytest.fixture
def engine(make_engine: MakeEngine) -> LlamaEngine:
    """One on the tiny model, whose tokens are bytes."""
    return make_engine()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a tmpfs with the given options, e.g. `mount("size=1m")`; skips where that is not allowed."""
    mounted: list[Path] = []

    def tmpfs(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no permission to mount a tmpfs")
        mounted.append(place)
        return place

    yield tmpfs
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)  # a test that failed may hold a file open


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Programs can be run in a sandbox here."""
    from cgcli.core.errors import SandboxError
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.run import run

    try:
        run(b"", policy=Policy())
    except SandboxError as error:
        pytest.skip(error.message)
