"""No process and no descriptor of a program is left after its run, or after its caller has died."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cgcli.core.errors import SandboxError
from cgcli.sandbox import bubblewrap
from cgcli.sandbox import watch as watching
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import never, run
from cgcli.sandbox.verdict import Verdict
from cgcli.sandbox.watch import Launch, watch
from tests.conftest import REPOSITORY
from tests.sandbox.conftest import NOBODY, PYTHON
from tests.support.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.usefixtures("sandbox")


def ran(source: str, *arguments: str, **policy: object) -> Verdict:
    return run(source.encode(), arguments=arguments, policy=Policy(**policy))  # type: ignore[arg-type]


def _marked(mark: str) -> list[int]:
    """Processes with a word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_nothing_is_left_running() -> None:
    mark = f"mark-{secrets.token_hex()}"
    daemon = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
print(1)
"""
    assert ran(daemon, mark).stdout == b"1\n"
    assert ran(daemon + "\ntime.sleep(600)", mark, wall_s=0.5).outcome == "wall time"
    assert not _marked(mark)
    # Thirty that hold memory take a moment to die.
    many = "import os, time\nfor _ in range(30):\n    if os.fork() == 0:\n        held = b'x' * 2**24\n        break\n"
    many += "time.sleep(600)"
    assert ran(many, mark, wall_s=1.0).outcome == "wall time"
    assert not _marked(mark)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", mark]) as seen:
        eventually(lambda: _marked(mark) == [seen.pid])
        seen.kill()


def test_nothing_is_left_that_never_heard_of_its_parents_end(monkeypatch: pytest.MonkeyPatch) -> None:
    # As bubblewrap's process 1 is before it asks for it.
    mark = f"mark-{secrets.token_hex()}"
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(watching, "_START_S", 0.3)
    with ours, theirs:
        launch = Launch(["sh", "-c", "sh -c 'sleep 600; :' \"$0\" & wait", mark], ours, (), isolated=True)
        assert watch(launch, Policy(), interrupted=never).stopped == "wall time"
    assert not _marked(mark)


def test_a_programs_time_begins_when_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_START_S", PATIENCE_S)
    monkeypatch.setattr(bubblewrap, "_INIT", ("sh", "-c", 'sleep 4; "$@"; exit $?', "init"))
    assert ran("pass", wall_s=3.5).outcome == "passed"
    monkeypatch.setattr(bubblewrap, "_INIT", ("sh", "-c", "sleep 600; :", "init"))
    monkeypatch.setattr(watching, "_START_S", 0.1)
    with pytest.raises(SandboxError, match=r"did not start the program within 0\.1 s"):
        ran("pass")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_where_its_caller_dies(kill: signal.Signals, caller: str) -> None:
    import pyseccomp  # type: ignore[import-untyped]

    mark = f"mark-{secrets.token_hex()}"
    folders = [str(REPOSITORY), str(Path(pyseccomp.__file__).parent)]
    code = (
        f"import sys; sys.path[:0] = {folders}\n"
        "from cgcli.sandbox.run import run; from cgcli.sandbox.policy import Policy\n"
        "run(b'import time; time.sleep(600)', arguments=[sys.argv[1]], policy=Policy())"
    )
    other = caller == "user" and os.geteuid() == 0
    with subprocess.Popen(
        [PYTHON if other else sys.executable, "-B", "-c", code, mark],
        stderr=subprocess.DEVNULL,
        cwd="/",
        user=NOBODY if other else None,
    ) as process:
        eventually(lambda: len(_marked(mark)) >= 3)
        process.send_signal(kill)
    eventually(lambda: not _marked(mark))


def test_nothing_is_left_where_its_listener_has_had_enough() -> None:
    mark = f"mark-{secrets.token_hex()}"

    def closed(stream: str, chunk: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(b"import time\nprint(1, flush=True)\ntime.sleep(600)", arguments=[mark], policy=Policy(), listener=closed)
    assert not _marked(mark)


def test_no_descriptor_is_left_open() -> None:
    run(b"pass", policy=Policy())
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        ran("pass")
        ran("import time; time.sleep(600)", wall_s=0.1)
        ran("pass", unsafe=True)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before  # others of this process may have closed some
