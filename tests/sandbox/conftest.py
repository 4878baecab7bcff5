"""Fixtures for tests of the sandbox: places outside it, and the two kinds of callers whose sandboxes are attacked."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sandbox.attacks import Attack
from tests.sandbox.attempt import attempt
from tests.sandbox.outside import outside as outside_places

NOBODY = 65534
PYTHON = Path("/usr/bin/python3")
"""For the ordinary user, who may not be able to reach the interpreter of these tests."""
Attempt = Callable[..., tuple[bool, str]]


@pytest.fixture(scope="session")
def outside() -> Iterator[dict[str, str]]:
    with outside_places() as places:
        yield places


@pytest.fixture(scope="session", params=["root", "user"])
def caller(request: pytest.FixtureRequest, sandbox: None) -> str:
    """Who starts the sandbox."""
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("these tests are not run by root")
    return str(request.param)


@pytest.fixture(scope="session")
def trying(caller: str, outside: dict[str, str]) -> Iterator[Attempt]:
    """Runs an attack in the caller's sandbox; returns whether the sandbox held, and what was seen."""
    if caller == "root" or os.geteuid() != 0:

        def here(attack: Attack, *, weak: bool = False) -> tuple[bool, str]:
            return attempt(attack, outside, weak=weak)

        yield here
        return
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON} for an ordinary user")
    import pyseccomp  # type: ignore[import-untyped]

    worker = subprocess.Popen(
        [PYTHON, "-B", Path(__file__).with_name("attempt.py"), Path(pyseccomp.__file__).parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    stdin, stdout = worker.stdin, worker.stdout
    assert stdin and stdout

    def there(attack: Attack, *, weak: bool = False) -> tuple[bool, str]:
        stdin.write(json.dumps({"attack": attack.name, "weak": weak, "outside": outside}) + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            pytest.fail("the ordinary user's process has ended")
        held, seen = json.loads(answer)
        return held, seen

    with worker:
        yield there
        stdin.close()
