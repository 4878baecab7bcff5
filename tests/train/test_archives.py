"""Archives: each format, and those made to do harm."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from cgcli.train import archives
from cgcli.train.sources import MAX_BYTES, Tally, read

FILES = {"p/a.py": b"a = 1\n", "p/b.txt": b"no", "p/c.py": b"c = 1\n"}


def write_tar(path: Path, mode: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, f"w:{mode}") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def members(path: Path) -> tuple[list[str], dict[str, int]]:
    dropped = Tally()
    found = [name for name, _ in archives.members(path, (".py",), dropped)]
    return found, dict(dropped.files)


@pytest.mark.parametrize(
    "name", ["x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip", "x-1-py3-none-any.whl"]
)
def test_each_format(tmp_path: Path, name: str) -> None:
    if name.endswith((".zip", ".whl")):
        write_zip(tmp_path / name, FILES)
    else:
        write_tar(tmp_path / name, {"x.tar": "", "x.tgz": "gz"}.get(name, name.rpartition(".")[2]), FILES)
    dropped = Tally()
    found = {source.path: source.text for source in read(tmp_path, [name], (".py",), dropped)}
    assert found == {f"{name}/p/a.py": "a = 1\n", f"{name}/p/c.py": "c = 1\n"}
    assert not dropped.files


def test_members_that_unpack_to_much(tmp_path: Path) -> None:
    """Both what says how large it is and what lies about it."""
    bomb = b"\n" * (30 * MAX_BYTES)
    write_zip(tmp_path / "bomb.zip", {"bomb.py": bomb, "a.py": b"a = 1\n"})
    tracemalloc.start()
    assert members(tmp_path / "bomb.zip") == (["a.py"], {"too large": 1})
    assert tracemalloc.get_traced_memory()[1] < 10 * MAX_BYTES
    tracemalloc.stop()
    honest = (tmp_path / "bomb.zip").read_bytes()
    lying = honest.replace(len(bomb).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    assert lying != honest
    (tmp_path / "lie.zip").write_bytes(lying)
    assert members(tmp_path / "lie.zip") == (["a.py"], {"unreadable": 1})
    write_tar(tmp_path / "bomb.tar.gz", "gz", {"bomb.py": bomb, "a.py": b"a = 1\n"})
    assert members(tmp_path / "bomb.tar.gz") == (["a.py"], {"too large": 1})


def test_a_tar_whose_header_would_fill_the_memory(tmp_path: Path) -> None:
    """An extended header may say any size, and tarfile reads it whole: here a terabyte, in a file with holes."""
    header = tarfile.TarInfo("pax")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 40
    path = tmp_path / "pax.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, (1 << 40) + 4096)
    assert members(path) == ([], {"broken archive": 1})


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in ("link.py", tarfile.SYMTYPE), ("hard.py", tarfile.LNKTYPE), ("pipe.py", tarfile.FIFOTYPE):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    assert members(tmp_path / "x.tar") == ([], {})


def test_members_that_cannot_be_read(tmp_path: Path) -> None:
    write_zip(
        tmp_path / "x.zip", {"a.py": b"a = 1\n", "bad.py": b"\xff", "broken.py": b"spam = 1\n"}, zipfile.ZIP_STORED
    )
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"spam = 1", b"spam = 2"))  # no longer what its sum says
    assert members(tmp_path / "x.zip") == (["a.py"], {"not UTF-8": 1, "unreadable": 1})


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.xz", "x.tar.bz2", "x.tar"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.85])
def test_archives_that_end_too_early(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    files = {f"{number}.py": os.urandom(2000).hex().encode() for number in range(50)}
    if name == "x.zip":
        write_zip(path, files)
    else:
        write_tar(path, name.removeprefix("x.tar").removeprefix("."), files)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    found, dropped = members(path)
    assert len(found) < 50
    assert dropped == {"broken archive": 1}


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.xz", "x.tar.bz2"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_archives_that_are_damaged(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    files = {f"{number}.py": os.urandom(2000).hex().encode() for number in range(50)}
    write_tar(path, name.removeprefix("x.tar."), files)
    data = bytearray(path.read_bytes())
    at = 32 + int(share * len(data))
    data[at : at + 64] = b"\xff" * 64
    path.write_bytes(data)
    assert members(path)[1].get("broken archive") == 1


@pytest.mark.parametrize(
    ("local", "central", "value"),
    [(6, 8, 1), (8, 10, 99)],  # the flag that says encrypted; a way of packing that is not known
)
def test_zips_that_python_cannot_unpack(tmp_path: Path, local: int, central: int, value: int) -> None:
    write_zip(tmp_path / "x.zip", {"a.py": b"a = 1\n", "b.py": b"b = 1\n"}, zipfile.ZIP_STORED)
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[local] = value
    data[data.index(b"PK\x01\x02") + central] = value
    (tmp_path / "x.zip").write_bytes(data)
    assert members(tmp_path / "x.zip") == (["b.py"], {"unreadable": 1})


def test_a_zip_whose_member_is_damaged(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"a.py": b"a = 1\n" * 99, "b.py": b"b = 1\n"})
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[30 + len("a.py")] = 0xFF  # its first byte, now of a kind of block that there is not
    (tmp_path / "x.zip").write_bytes(data)
    assert members(tmp_path / "x.zip") == (["b.py"], {"unreadable": 1})


def test_a_zip_whose_names_are_no_text(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"é.py": b"a = 1\n"})
    path = tmp_path / "x.zip"
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    assert members(path) == ([], {"broken archive": 1})
