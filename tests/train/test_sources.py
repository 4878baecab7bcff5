"""What is read of folders, files and JSON lines; and what is passed over, counted, never a crash."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.train.sources import MAX_BYTES, Source, Tally, read


def texts(base: Path, *paths: str) -> tuple[dict[str, str], dict[str, int]]:
    """Texts by path, and files passed over by reason."""
    dropped = Tally()
    found = {source.path: source.text for source in read(base, paths, (".py",), dropped)}
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
    dropped = Tally()
    found = [source.path for source in read(tmp_path, ["."], (".py",), dropped)]
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
    dropped = Tally()
    assert list(read(tmp_path, ["data.jsonl"], (".py",), dropped)) == [
        Source("p/a.py", "p 1.0", "a = 1\n", "MIT"),
        Source("data.jsonl:2", "data.jsonl:2", "b = 1\n", "BSD-3-Clause"),
        Source("data.jsonl:11", "data.jsonl:11", "c = 1\n"),
    ]
    assert dropped.files == {"no JSON line of a text": 5, "too large": 2}
    assert dropped.bytes["too large"] > 21 * MAX_BYTES


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CgcliError, match=r"no such file or folder to train on: .*/gone"):
        texts(tmp_path, "gone")
