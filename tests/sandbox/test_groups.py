"""Control groups: the kernel counts memory that no process shows; groups are made if possible, and none is left."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cgcli.sandbox import root
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.verdict import Verdict
from tests.sandbox.attacks import ATTACKS
from tests.support.cli import run as cgcli

UNMAPPED_IN_PART = """
import mmap
held = []
for _ in range(40):
    held.append(one := mmap.mmap(-1, 10 << 20))
    one.write(bytes(10 << 20))
    one.resize(4096)
print("ESCAPED")
"""
"""Its pages stay: no process shows them."""


def ran(source: str, memory_bytes: int = 200 * 10**6) -> Verdict:
    return run(source.encode(), policy=Policy(memory_bytes=memory_bytes, wall_s=30))


@pytest.fixture
def place(sandbox: None) -> Path:
    """Where groups for memory are made."""
    with root.control_group(2**30, 8) as group:
        if group is None:
            pytest.skip("no control groups can be made here")
        return next(folder for folder in group.folders if (folder / "memory.stat").exists()).parent


@pytest.fixture
def no_groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(root, "parent_folders", tuple)
    yield


def _left(place: Path) -> list[Path]:
    return list(place.glob(f"cgcli-{os.getpid()}-*"))


def test_memory_that_no_process_shows_is_counted_and_the_group_is_gone(place: Path) -> None:
    verdict = ran(UNMAPPED_IN_PART)
    assert (verdict.outcome, verdict.detail) == ("memory", "more than 200 MB")
    assert ran("print(1)").passed and not _left(place)


def test_it_is_gone_where_what_ran_it_raises(place: Path) -> None:
    with pytest.raises(RuntimeError), root.control_group(2**30, 8) as group:
        assert group and _left(place)
        raise RuntimeError
    assert not _left(place)


def test_groups_of_killed_processes_are_removed_and_groups_in_use_are_not(place: Path) -> None:
    left, used = place / "cgcli-left", place / "cgcli-used"
    with ExitStack() as stack:
        for folder in (left, used):
            folder.mkdir()
        stack.callback(used.rmdir)
        descriptor = os.open(used, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert place in [folder for folder, _ in root.parent_folders.__wrapped__()]
        assert used.exists() and not left.exists()


def test_a_group_that_another_process_removes_before_it_is_locked_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, raced = fcntl.flock, list[Path]()

    def late(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not raced:  # meanwhile another process starts
            raced.extend(_left(place))
            root._remove_if_left(raced[0])
        lock(descriptor, operation)

    monkeypatch.setattr("cgcli.sandbox.root.fcntl.flock", late)
    with root.control_group(2**30, 8) as group:
        assert raced and not raced[0].exists()
        assert group and all(folder.exists() for folder in group.folders)
    assert not _left(place)


@pytest.mark.usefixtures("sandbox", "no_groups")
@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.name.startswith("keep memory in ") and one.lax],
                         ids=lambda attack: attack.name.replace(" ", "-"))  # fmt: skip
def test_most_is_counted_without_a_group(attack: object) -> None:
    verdict = run(attack.program({}), policy=attack.allowed({}, weak=False))  # type: ignore[attr-defined]
    assert verdict.outcome == "memory", verdict


@pytest.mark.usefixtures("sandbox", "no_groups")
def test_shared_memory_counts_once() -> None:
    source = """
import mmap, os, time
shared = mmap.mmap(-1, 90 << 20)
for _ in range(90):
    shared.write(bytes(1 << 20))
for _ in range(5):
    if os.fork() == 0:
        sum(shared[::4096])
        time.sleep(0.3)
        os._exit(0)
for _ in range(5):
    os.wait()
print("held")
"""
    assert ran(source).stdout == b"held\n"


@pytest.mark.usefixtures("sandbox", "no_groups")
def test_doctor_says_what_is_not_counted() -> None:
    assert (
        "no control group, so the limits do not count the rest of partly unmapped shared mappings"
        in cgcli("doctor").out.decode()
    )


def test_doctor_says_where_all_is_counted(place: Path) -> None:
    assert "sandbox limits   enforced by a control group\n" in cgcli("doctor").out.decode()


def test_in_version_2_the_nearest_group_above_that_hands_on_controllers_is_taken(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    for folder, handed_on in ((own, ""), (own.parent, "cpu memory pids"), (tmp_path, "cpu io memory pids")):
        (folder / "cgroup.subtree_control").write_text(f"{handed_on}\n")
    mounts, groups_of = [("/", tmp_path, "")], {"": "/user.slice/session.scope"}
    assert root._place("memory", mounts, groups_of) == (own.parent, 2)
    assert root._place("io", mounts, groups_of) == (tmp_path, 2)
    assert root._place("rdma", mounts, groups_of) is None
    # In a container the tree begins at its own group, or this process's is not in it.
    assert root._place("memory", [("/user.slice", own.parent, "")], groups_of) == (own.parent, 2)
    assert root._place("memory", [("/", tmp_path, "")], {"": "/../other"}) == (tmp_path, 2)
    assert root._place("memory", [("/", own, "rw,cpu,memory"), *mounts], {"memory": "/x"}) == (own, 1)


def test_in_version_2_one_group_has_both_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "_GONE_S", 0.0)
    with ExitStack() as stack:
        folder = root._made(tmp_path, 2, {"memory": 1000, "pids": 7}, stack)
        limits = {file.name: file.read_text() for file in folder.iterdir()}
    assert limits == {"memory.max": "1000", "pids.max": "7", "memory.swap.max": "0", "memory.oom.group": "1"}
    (folder / "memory.events").write_text("oom 3\noom_kill 0\n")
    assert not root.ControlGroup((folder,)).out_of_memory
    (folder / "memory.events").write_text("oom 3\noom_kill 1\n")
    assert root.ControlGroup((folder,)).out_of_memory
