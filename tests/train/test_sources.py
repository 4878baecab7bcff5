"""What is read from folders, files, JSON lines and archives; what is skipped and counted, also if made to do harm."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.train.sources import MAX_BYTES, FileCounts, Source, archive_members, read_sources


def texts(base: Path, *paths: str) -> tuple[dict[str, str], dict[str, int]]:
    """Texts by path, and files passed over by reason."""
    dropped = FileCounts()
    found = {source.path: source.text for source in read_sources(base, paths, (".py",), dropped)}
    return found, dict(dropped.files)


def test_a_folder_in_order_of_name(tmp_path: Path) -> None:
    for name in ("src/b.py", "src/a/z.py", "src/a/c.py", "src/notes.txt", "src/.git/x.py", "src/env/lib/y.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "src/env/pyvenv.cfg").touch()
    found, dropped = texts(tmp_path, "src")
    assert list(found) == ["src/b.py", "src/a/c.py", "src/a/z.py"]
    assert found["src/a/c.py"] == "src/a/c.py"
    assert dropped == {"virtual environment": 1}
    # Named the same from wherever it is given, so that what is kept out stays so.
    assert list(texts(tmp_path, str(tmp_path / "src"))[0]) == list(found)


def test_a_file_of_any_suffix_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("print(1)\n")
    assert texts(tmp_path, "script") == ({"script": "print(1)\n"}, {})


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\rc = 'h\xc3\xa9'\n")
    assert texts(tmp_path, "a.py")[0] == {"a.py": "a = 1\nb = 2\nc = 'hé'\n"}


def test_what_is_no_text_is_counted(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "zero.py").write_bytes(b"x\0y")
    (tmp_path / "large.py").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "most.py").write_bytes(b"#" * MAX_BYTES)
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "gone")
    (tmp_path / "self.py").symlink_to(tmp_path / "self.py")
    os.mkfifo(tmp_path / "pipe.py")  # reading it would wait for ever
    dropped = FileCounts()
    found = [source.path for source in read_sources(tmp_path, ["."], (".py",), dropped)]
    assert found == [f"{tmp_path.name}/most.py"]
    assert dropped.files == {"not UTF-8": 1, "binary": 1, "too large": 1, "unreadable": 2, "not a regular file": 1}
    assert dropped.bytes["too large"] == MAX_BYTES + 1


def test_links_that_go_round(tmp_path: Path) -> None:
    (tmp_path / "src/below").mkdir(parents=True)
    (tmp_path / "src/a.py").write_text("a = 1\n")
    (tmp_path / "src/below/back").symlink_to(tmp_path / "src")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/b.py").write_text("b = 1\n")
    (tmp_path / "src/linked").symlink_to(tmp_path / "other")
    found, dropped = texts(tmp_path, "src")
    assert list(found) == ["src/a.py", "src/linked/b.py"]
    assert dropped == {"linked folder seen before": 1}


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": "a = 1\n", "path": "p/a.py", "source": "p 1.0", "licence": "MIT"}),
        json.dumps({"content": "b = 1\n", "license": "BSD-3-Clause"}),
        "",
        "{",
        json.dumps({"text": 3}),
        json.dumps(["text"]),
        '{"text": "\\ud800"}',
        "[" * 100_000,
        json.dumps({"text": "#" * (MAX_BYTES + 1)}),
        '{"text": "' + "#" * (20 * MAX_BYTES) + '"}',  # more than is ever read of a line
        json.dumps({"text": "c = 1\n", "path": 7}),
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    dropped = FileCounts()
    assert list(read_sources(tmp_path, ["data.jsonl"], (".py",), dropped)) == [
        Source("p/a.py", "p 1.0", "a = 1\n", "MIT"),
        Source("data.jsonl:2", "data.jsonl:2", "b = 1\n", "BSD-3-Clause"),
        Source("data.jsonl:11", "data.jsonl:11", "c = 1\n"),
    ]
    assert dropped.files == {"JSON line without a text": 5, "too large": 2}
    assert dropped.bytes["too large"] > 21 * MAX_BYTES


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CgcliError, match=r"cannot train on .*/gone: no such file or folder"):
        texts(tmp_path, "gone")


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
    dropped = FileCounts()
    found = [name for name, _ in archive_members(path, (".py",), dropped)]
    return found, dict(dropped.files)


@pytest.mark.parametrize(
    "name", ["x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip", "x-1-py3-none-any.whl"]
)
def test_each_format(tmp_path: Path, name: str) -> None:
    if name.endswith((".zip", ".whl")):
        write_zip(tmp_path / name, FILES)
    else:
        write_tar(tmp_path / name, {"x.tar": "", "x.tgz": "gz"}.get(name, name.rpartition(".")[2]), FILES)
    dropped = FileCounts()
    found = {source.path: source.text for source in read_sources(tmp_path, [name], (".py",), dropped)}
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
