"""Sandboxes side by side: every job has its verdict, in bounded memory, and nothing is left when it ends early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgcli.core.errors import SandboxError
from cgcli.evals.judging import Job, judge_all, timed, worker_count
from cgcli.sandbox import bubblewrap
from cgcli.sandbox.policy import Policy
from tests.support.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.usefixtures("sandbox")


POLICY = timed(3.0)


def test_the_clock_is_five_times_the_processor_and_the_rest_is_the_safe_default() -> None:
    assert Policy(cpu_s=3.0, wall_s=15.0, lingers=False) == POLICY and worker_count() >= 1
    assert timed(1.0, unsafe=True).unsafe


def test_each_has_its_own_verdict() -> None:
    jobs = [Job(n, b"pass" if n % 3 else b"1 / 0", POLICY) for n in range(12)]
    found = dict(judge_all(jobs, 3))
    assert {n: verdict.passed for n, verdict in found.items()} == {n: bool(n % 3) for n in range(12)}
    assert list(judge_all([], 2)) == []


def test_they_run_at_once(tmp_path: Path) -> None:
    """Each waits for all the others."""
    tmp_path.chmod(0o777)  # root is somebody else in there
    together = "import os, time\nopen('@/{}', 'w')\nwhile len(os.listdir('@')) < 4: time.sleep(0.05)"
    together = together.replace("@", str(tmp_path))
    policy = Policy(cpu_s=PATIENCE_S, wall_s=PATIENCE_S, write=(tmp_path,))
    verdicts = judge_all([Job(n, together.format(n).encode(), policy) for n in range(4)], 4)
    assert [verdict.passed for _, verdict in verdicts] == [True] * 4


def test_no_more_are_taken_than_are_soon_run_and_verdicts_come_meanwhile() -> None:
    taken = 0

    def jobs() -> Iterator[Job[int]]:
        nonlocal taken
        for taken in range(1, 41):
            yield Job(taken, b"", POLICY)

    verdicts = judge_all(jobs(), 2)
    next(verdicts)
    assert taken <= 2 * 4 + 1
    assert len(list(verdicts)) == 39 and taken == 40


def test_leaving_early_ends_all_and_says_nothing_more() -> None:
    endless = b"import time; time.sleep(10**6)"
    verdicts = judge_all([Job(0, b"", POLICY), *(Job(n, endless, timed(10**6)) for n in range(1, 4))], 2)
    assert next(verdicts)[0] == 0
    verdicts.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("judging")]
    assert not _sandboxes(os.getpid())


def test_a_sandbox_that_does_not_start_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "_WHERE", "/nowhere")
    with pytest.raises(SandboxError, match="bubblewrap is not installed"):
        list(judge_all([Job(n, b"", POLICY) for n in range(20)], 2))


INTERRUPTED = """
from cgcli.evals.judging import Job, judge_all, timed
try:
    for key, verdict in judge_all([Job(n, b"import time; time.sleep(10**6)", timed(10**6)) for n in range(9)], 2):
        print("verdict", verdict)
except KeyboardInterrupt:
    print("ended")
"""


def test_ctrl_c_ends_all_of_them_and_none_has_a_verdict() -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: len(_sandboxes(process.pid)) == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (out, err, process.returncode) == (b"ended\n", b"", 0)


def _sandboxes(parent: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "args=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "bwrap" in line]
