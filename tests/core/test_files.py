"""Files that are written whole or not at all, locks, and one-line errors of the disk."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.core.files import check_writable, locked, replacing, take_lock, write_atomic
from cgcli.core.reading import read_if_possible

NOBODY = 65534
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "a" / "f"
    write_atomic(file, b"one")
    file.chmod(0o640)
    write_atomic(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "f", b"")
    finally:
        os.umask(mask)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


def test_the_mode_is_right_whatever_the_writer_made(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with replacing(tmp_path / "f") as beside:
            beside.unlink()
            beside.touch(0o600)
    finally:
        os.umask(mask)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


def test_an_error_in_between_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(file) as beside:
        beside.write_bytes(b"half")
        raise ZeroDivisionError
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_full_disk_is_one_line_and_leaves_what_was_there(small_disk: Path) -> None:
    file = small_disk / "f"
    write_atomic(file, b"old")
    with pytest.raises(CgcliError, match=f"no space left while writing {file}"):
        write_atomic(file, bytes(1 << 20))
    assert file.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [file]


def test_a_read_only_disk_is_one_line(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(CgcliError, match=r"cannot write .*: read-only file system"):
        write_atomic(small_disk / "f", b"")


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(CgcliError, match="cannot write"):
        write_atomic(tmp_path / "f" / "g", b"")


@pytest.fixture
def meeting_place() -> Iterator[Path]:
    """A folder that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="cgcli-test-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def as_nobody(function: Callable[[], object]) -> bool:
    """Call it as another user, in a process of its own; whether it raised no CgcliError."""
    child = os.fork()
    if child == 0:
        status = 2
        with suppress(BaseException):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            try:
                function()
                status = 0
            except CgcliError:
                status = 1
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1)
    return status == 0


def checked_and_written(file: Path) -> None:
    check_writable(file)
    write_atomic(file, b"new")


def owner(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


@root
def test_a_file_that_root_replaces_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"old")
    os.chown(file, NOBODY, 1234)
    file.chmod(0o640)
    (tmp_path / "link").symlink_to("f")
    write_atomic(tmp_path / "link", b"new")
    assert (file.read_bytes(), owner(file)) == (b"new", (NOBODY, 1234, 0o640))
    assert (tmp_path / "link").is_symlink()


@root
def test_where_the_owner_cannot_be_kept_the_file_itself_is_written(meeting_place: Path) -> None:
    file = meeting_place / "f"
    file.write_bytes(b"old and long")
    file.chmod(0o666)
    assert as_nobody(lambda: checked_and_written(file))
    assert (file.read_bytes(), owner(file)) == (b"new", (0, 0, 0o666))
    assert list(meeting_place.iterdir()) == [file]


@root
def test_an_unwritable_file_of_another_user_is_reported_early(meeting_place: Path) -> None:
    file = meeting_place / "f"
    file.write_bytes(b"old")
    file.chmod(0o644)
    assert not as_nobody(lambda: check_writable(file))
    assert (file.read_bytes(), owner(file)) == (b"old", (0, 0, 0o644))
    assert as_nobody(lambda: write_atomic(file, b"new"))  # in a store that is shared
    assert (file.read_bytes(), list(meeting_place.iterdir())) == (b"new", [file])


@root
def test_a_file_in_a_folder_that_takes_no_new_ones_is_written(meeting_place: Path) -> None:
    file = meeting_place / "f"
    file.write_bytes(b"old")
    os.chown(file, NOBODY, NOBODY)
    meeting_place.chmod(0o755)
    assert as_nobody(lambda: checked_and_written(file))
    assert (file.read_bytes(), owner(file)) == (b"new", (NOBODY, NOBODY, 0o644))
    assert not as_nobody(lambda: check_writable(meeting_place / "g"))


def test_all_names_of_a_file_stay_names_of_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    os.link(tmp_path / "f", tmp_path / "g")
    write_atomic(tmp_path / "f", b"new and longer")
    assert (tmp_path / "g").read_bytes() == b"new and longer"
    write_atomic(tmp_path / "g", b"")
    assert (tmp_path / "f").read_bytes() == b""


def test_a_full_disk_leaves_a_file_of_two_names_as_it_was(small_disk: Path) -> None:
    file = small_disk / "f"
    file.write_bytes(b"old" * 5000)
    os.link(file, small_disk / "g")
    with pytest.raises(CgcliError, match=f"no space left while writing {file}"):
        write_atomic(file, b"new" * 12000)  # there is room for it once, and not twice
    assert file.read_bytes() == b"old" * 5000
    assert sorted(small_disk.iterdir()) == [file, small_disk / "g"]


def test_a_file_that_is_a_mount_of_its_own_is_written(tmp_path: Path, small_disk: Path) -> None:
    """As a container has it that was given one file of its host, perhaps in a folder that is read-only."""
    file, real = small_disk / "f", tmp_path / "real"
    file.touch()
    real.write_bytes(b"old")
    subprocess.run(["mount", "--bind", real, file], check=True)
    try:
        write_atomic(file, b"new")
        assert real.read_bytes() == b"new"
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        check_writable(file)
        write_atomic(file, b"newer")
        assert real.read_bytes() == b"newer"
    finally:
        subprocess.run(["umount", file], check=True)


def test_an_access_list_is_kept(tmp_path: Path) -> None:
    name, nobody = "system.posix_acl_access", 0xFFFFFFFF

    def for_user(user: int) -> bytes:
        entries = [(1, 6, nobody), (2, 4, user), (4, 4, nobody), (16, 6, nobody), (32, 0, nobody)]
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

    access = for_user(1234)
    file, plain = tmp_path / "f", tmp_path / "plain"
    file.write_bytes(b"old")
    plain.write_bytes(b"old")
    try:
        os.setxattr(file, name, access)
        os.setxattr(tmp_path, "system.posix_acl_default", for_user(4321))  # what a new file gets by itself
    except OSError:
        pytest.skip("this file system has no access lists")
    write_atomic(file, b"new")
    assert (file.read_bytes(), os.getxattr(file, name)) == (b"new", access)
    write_atomic(plain, b"new")
    assert (plain.read_bytes(), name in os.listxattr(plain)) == (b"new", False)


def test_links_in_a_circle_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(CgcliError, match="cannot write"):
        write_atomic(tmp_path / "a", b"")
    with pytest.raises(CgcliError, match="cannot write"):
        check_writable(tmp_path / "a")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("f" * 255), b"new")
    assert (tmp_path / ("f" * 255)).read_bytes() == b"new"


def test_writers_under_the_lock_lose_nothing(tmp_path: Path) -> None:
    """By two names of one file in two folders, one of them through a link; and nothing is left beside it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    file, other, link = tmp_path / "one" / "f", tmp_path / "two" / "g", tmp_path / "link"
    file.write_bytes(b"")
    link.symlink_to(file)
    threads = 6

    def add(path: Path, barrier: threading.Barrier) -> None:
        barrier.wait()
        with locked(path):
            write_atomic(path, read_if_possible(path) + b"x")

    for names in ([file, link], [file, link, other]):
        if other in names:
            os.link(file, other)
        before = len(file.read_bytes())
        barrier = threading.Barrier(threads)
        each = [threading.Thread(target=add, args=(names[at % len(names)], barrier)) for at in range(threads)]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()
        assert len(file.read_bytes()) == before + threads
    assert sorted(tmp_path.rglob("*")) == sorted([file.parent, other.parent, file, other, link])


def test_who_waits_for_a_lock_can_be_interrupted(tmp_path: Path) -> None:
    file, asked = tmp_path / "f", iter([False, False, True])
    with (
        locked(file),
        pytest.raises(CgcliError, match="another program has locked it"),
        locked(file, lambda: next(asked)),
    ):
        pass
    assert next(asked, None) is None


def test_a_pipe_is_not_opened_to_be_locked(tmp_path: Path) -> None:
    """Who opened it would be its reader: what is written then is lost."""
    os.mkfifo(tmp_path / "pipe")
    with locked(tmp_path / "pipe"), pytest.raises(OSError, match="No such device"):
        os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)


def test_a_pipe_that_nobody_reads_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CgcliError, match="pipe: no program reads this pipe"):
        write_atomic(tmp_path / "pipe", b"x")


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock")
    assert lock is not None and take_lock(tmp_path / "lock", wait_s=0.05) is None
    thread = threading.Thread(target=lock.release)  # by any thread
    thread.start()
    thread.join()
    again = take_lock(tmp_path / "lock")
    assert again is not None
    again.release()


@pytest.mark.parametrize("folder", ["/", "/..", "."])
def test_a_folder_is_not_locked(folder: str) -> None:
    with locked(Path(folder)):
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
