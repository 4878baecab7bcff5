"""User IDs of root's sandboxes: no two at the same time are equal, and a root that is an ordinary user takes none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import pytest

from cgcli.core.errors import SandboxError
from cgcli.sandbox import root
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from tests.conftest import REPOSITORY
from tests.support.patience import PATIENCE_S
from tests.support.process import CGCLI

CLAIM = "from cgcli.sandbox.root import claimed_user\nwith claimed_user() as one: print(one, flush=True); input()"


def test_claims_of_one_process_and_of_others_are_all_different() -> None:
    with ExitStack() as stack:
        own = [stack.enter_context(root.claimed_user()) for _ in range(200)]
        others = []
        for _ in range(3):
            other = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
                )
            )
            assert other.stdout
            others.append(int(other.stdout.readline()))
            stack.callback(other.kill)
        assert len({*own, *others}) == 203 and {*own, *others} <= set(root.USERS)


def test_the_last_one_is_found_a_claim_ends_and_none_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "USERS", range(61200, 61203))
    with root.claimed_user() as one, root.claimed_user() as two:
        with root.claimed_user() as three:
            assert {one, two, three} == set(root.USERS)
            with pytest.raises(SandboxError, match="all 3 user IDs for sandboxes are in use"), root.claimed_user():
                pass
        with root.claimed_user() as again:
            assert again == three


def test_a_claim_ends_with_its_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as other:
        assert other.stdout
        name = f"\0cgcli-user-{int(other.stdout.readline())}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim, pytest.raises(OSError, match="in use"):
            claim.bind(name)
        other.kill()
        other.wait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            claim.bind(name)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs become another user")
def test_programs_side_by_side_are_different_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "USERS", range(61184, 61192))  # drawn at random, two of eight would soon be the same

    all_there = Barrier(8, timeout=PATIENCE_S)

    def wait(stream: str, chunk: bytes) -> None:
        all_there.wait()

    def user(_: int) -> bytes:
        source = b"import os; print(os.getuid(), os.getgid())"
        return run(source, policy=Policy(wall_s=PATIENCE_S), listener=wait).stdout

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(user, range(8)))) == 8


@pytest.mark.usefixtures("sandbox")
def test_root_of_a_namespace_of_one_user_has_a_sandbox() -> None:
    if subprocess.run(["unshare", "-Ur", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces")
    source = "import os; print(os.getuid() != 0, os.path.exists('/etc/passwd'))\nos.setuid(0)"
    done = subprocess.run(
        ["unshare", "-Ur", *CGCLI, "run", "-"], input=source.encode(), capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (8, b"True False\n"), done.stderr
    # Privileges: none, not even those of a root without its files.
    seen = b"print([line for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd'))])"
    done = subprocess.run(["unshare", "-Ur", *CGCLI, "run", "-"], input=seen, capture_output=True, check=False)
    assert done.stdout.count(b"\\t0000000000000000\\n") == 2, done


@pytest.mark.parametrize(
    ("uid_map", "setgroups", "capabilities", "becomes"),
    [
        ("         0          0 4294967295", "allow", "000001ffffffffff", True),
        ("0 1000 1\n1 100000 65536", "allow", "000001ffffffffff", True),  # rootless podman
        ("0 1000 1", "allow", "000001ffffffffff", False),
        ("0 1000 1\n1 100000 60000", "allow", "000001ffffffffff", False),
        ("0 0 4294967295", "deny", "000001ffffffffff", False),
        ("0 0 4294967295", "allow", "00000000a80425fb", False),  # docker's, without SYS_ADMIN
    ],
)
def test_who_runs_as_another_user(
    uid_map: str, setgroups: str, capabilities: str, becomes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"uid_map": uid_map, "gid_map": uid_map, "setgroups": setgroups, "status": f"CapEff:\t{capabilities}\nX:\t1"}
    monkeypatch.setattr(root, "_own_proc_file", own.__getitem__)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert root.runs_as_another_user.__wrapped__() is becomes
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert root.runs_as_another_user.__wrapped__() is False
