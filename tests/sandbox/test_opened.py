"""Paths opened to a program: which ones cannot be opened, who owns the files it leaves, where its links lead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cgcli.core.errors import UsageError
from cgcli.sandbox.opened import check_path, escaping_links, return_ownership
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.verdict import Verdict
from tests.support.cli import run as cgcli

pytestmark = pytest.mark.usefixtures("sandbox")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs run as another user")


def wrote(folder: Path, source: str) -> Verdict:
    return run(source.encode(), policy=Policy(write=(folder,)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    made.chmod(0o777)
    return made


@pytest.mark.parametrize("option", ["--read", "--write"])
@pytest.mark.parametrize(
    "path",
    ["/", "//", "/usr/..", "/proc", "/proc/self", "/proc/1/root", "/proc/self/root", "/proc/self/cwd/../../../../..",
     "/dev", "/dev/null", "/dev/shm", "/sys", "/sys/fs/cgroup", "/./sys/"],
)  # fmt: skip
def test_the_machine_itself_is_not_opened(option: str, path: str) -> None:
    ran = cgcli("run", option, path, "-", stdin=b"print(1)")
    assert (ran.status, ran.out) == (2, b"") and "to a program: " in ran.err


def test_nor_is_what_leads_there_or_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link"
    link.symlink_to("/proc")
    with pytest.raises(UsageError, match=r"cannot open .*link \(/proc\) to a program: it is in /proc"):
        check_path(link)
    with pytest.raises(UsageError, match="it is in /proc"):
        run(b"print(1)", policy=Policy(read=(link,)))
    monkeypatch.chdir("/")
    with pytest.raises(UsageError, match="it is the whole file system"):
        check_path(Path())
    for harmless in (tmp_path, Path("/usr"), Path("/tmp"), Path("/development"), Path("/dev/shm/a folder of mine")):
        check_path(harmless)


@root
def test_nor_is_a_folder_in_which_the_kernel_shows_itself(tmp_path: Path) -> None:
    place = tmp_path / "a b" / "proc"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "proc", "proc", place], check=True)
    try:
        for path in (place, place / "self", place.parent, tmp_path):
            with pytest.raises(UsageError, match="cannot open"):
                check_path(path)
    finally:
        subprocess.run(["umount", place], check=True)
    check_path(place)


@root
@pytest.mark.parametrize("owner", [0, 1234])
def test_what_it_wrote_belongs_to_the_folders_owner_and_the_next_run_can_go_on(folder: Path, owner: int) -> None:
    os.chown(folder, owner, owner)
    source = """
import os
for name in ("plot.png", "sub/deep/plot.png"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "a").write("x")
for name, target in (("link", "plot.png"), ("away", "/etc/passwd")):
    if os.path.lexists(name): os.unlink(name)
    os.symlink(target, name)
"""
    source = f"import os; os.chdir({str(folder)!r})\n{source}"
    passwd = Path("/etc/passwd").stat()
    for times in (1, 2):
        verdict = wrote(folder, source)
        assert verdict.passed, verdict
        found = [*folder.rglob("*")]
        assert len(found) == 6 and {(one.lstat().st_uid, one.lstat().st_gid) for one in found} == {(owner, owner)}
        assert (folder / "sub/deep/plot.png").read_text() == "x" * times
    assert Path("/etc/passwd").stat() == passwd


@root
def test_it_does_so_too_where_the_program_is_stopped(folder: Path) -> None:
    verdict = run(f"open('{folder}/a', 'w')\nwhile True: pass".encode(), policy=Policy(write=(folder,), cpu_s=0.3))
    assert verdict.outcome == "cpu time" and (folder / "a").stat().st_uid == 0


@root
def test_only_what_is_the_programs_changes_hands_and_never_through_a_link(folder: Path, tmp_path: Path) -> None:
    theirs, outside, linked = folder / "theirs", tmp_path / "outside", folder / "linked"
    for file, user in ((theirs, 1234), (outside, 61184)):
        file.write_text("")
        os.chown(file, user, user)
    linked.symlink_to(outside)
    (folder / "folder").symlink_to(tmp_path)
    os.chown(linked, 61184, 61184, follow_symlinks=False)
    return_ownership([folder], 61184)
    assert (theirs.stat().st_uid, outside.stat().st_uid, linked.lstat().st_uid) == (1234, 61184, 0)


@root
def test_modes_are_opened_no_further_than_the_folder(tmp_path: Path, folder: Path) -> None:
    shut = folder / "shut"
    shut.mkdir()
    sticky = folder / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    files = {folder / "a": 0o606, folder / "run": 0o755 | 0o2, shut / "a": 0o600, sticky / "a": 0o600}
    for file in files:
        file.write_text("")
        file.chmod(0o755 if file.name == "run" else 0o600)
        os.chown(file, 61184, 61184)
    return_ownership([folder], 61184)
    assert {file: file.stat().st_mode & 0o7777 for file in files} == files


def test_links_that_lead_out_are_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "old").symlink_to("/usr")
    program = tmp_path / "prog.py"
    program.write_text(
        "import os\nos.chdir('out')\nos.symlink('/etc/shadow', 'shadow')\nos.symlink('..', 'up')\n"
        "os.symlink('old/bin', 'through')\nos.symlink('/nothing', 'dang\\x1b')\nos.mkdir('sub')\n"
        "os.symlink('../sub', 'sub/own')\n1 / 0"
    )
    ran = cgcli("run", "--write", "out", "prog.py")
    notes = [line for line in ran.err.splitlines() if " links to " in line]
    assert ran.status == 8 and notes == [
        "out/dang\\x1b links to /nothing, outside the opened folders",
        "out/shadow links to /etc/shadow, outside the opened folders",
        f"out/through links to {Path('/usr/bin').resolve()}, outside the opened folders",
        f"out/up links to {tmp_path}, outside the opened folders",
    ]
    assert " links to " not in cgcli("run", "--write", "out", "-", stdin=b"print(1)").err


def test_a_link_into_what_is_opened_beside_it_is_none(folder: Path, tmp_path: Path) -> None:
    (folder / "data").symlink_to(tmp_path / "in")
    assert escaping_links([folder]) == {str(folder / "data"): str(tmp_path / "in")}
    assert escaping_links([folder], [tmp_path / "in"]) == {}


@pytest.mark.parametrize("option", ["--read", "--write"])
def test_no_file_of_ours_is_left_in_an_opened_working_folder(
    option: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    ran = cgcli("run", option, ".", "-", stdin=b"print('ran')\n1 / 0")
    assert (ran.status, ran.out) == (8, b"ran\n") and "    1 / 0" in ran.err
    assert not list(folder.iterdir())
