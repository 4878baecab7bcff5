"""Unusable data give a clear error of one line, the same in a run and in a dry run, whatever a file holds."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.convert.config import Shape
from cgcli.core.errors import CgcliError
from cgcli.core.progress import Silent
from cgcli.train.prepare import check_data, prepare
from cgcli.train.recipe import DataPart, Recipe
from cgcli.train.sources import MAX_BYTES
from tests.convert.checkpoints import GOLDEN

GIVEN = Recipe(
    model=Shape(layers=1, width=16, heads=4, rotary=2, vocabulary=4096, context=128),
    data=DataPart(tokenizer=str(GOLDEN)),
)
ROW = json.dumps({"text": "x = 1\n"})
PROGRAM = "".join(f"def function_{number}(value):\n    return value + {number}\n\n\n" for number in range(40))


def with_paths(*paths: Path, recipe: Recipe = GIVEN, **data: object) -> Recipe:
    return replace(recipe, data=replace(recipe.data, paths=tuple(map(str, paths)), **data))  # type: ignore[arg-type]


def refused(recipe: Recipe, tmp_path: Path) -> str:
    """The line of both, with the next step."""
    with pytest.raises(CgcliError) as of_run:
        prepare(recipe, tmp_path, tmp_path / "out", None, Silent())
    assert not (tmp_path / "out" / "data").exists()
    with pytest.raises(CgcliError) as of_check:
        check_data(recipe, tmp_path, None)
    assert of_run.value.line == of_check.value.line
    assert "\n" not in of_run.value.line
    return of_run.value.line


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.py", b"", "in 1 file: 1 empty"),
        ("a.py", b"\x00\x01\x02" * 99, "in 1 file: 1 binary"),
        ("a.py", b"x = '\xe9'\n", "1 not UTF-8; iconv"),
        ("a.py", "x = 1\n".encode("utf-16"), "1 binary"),
        ("a.py", b"#" * (MAX_BYTES + 1), "1 too large; a text has 1,000,000 bytes at most"),
        ("a.py", b"00ff" * 20, "1 over 90% digits"),
        ("a.py.gz", gzip.compress(PROGRAM.encode(), mtime=0), "1 compressed; unpack them first"),
        ("a.jsonl.gz", gzip.compress(ROW.encode(), mtime=0), "1 compressed; unpack them first"),
        ("a.jsonl", gzip.compress(ROW.encode(), mtime=0), "1 compressed; unpack them first"),
        (
            "a.jsonl",
            b'{"text": "x = 1\n{"te\n',
            "2 JSON line without a text; write an object with the text on each line",
        ),
        ("a.jsonl", b'{"prompt": "x", "completion": "y"}\n', "1 JSON line without a text"),
        ("a.jsonl", b'{"text": null}\n{"text": 3}\n7\n"text"\nnull\n', "5 JSON line without a text"),
        ("a.jsonl", b"\xff\xfe{\n", "1 JSON line without a text"),
        ("a.jsonl", b"\n\n", "in 1 file: 1 empty"),
        (
            "a.jsonl",
            f"[{ROW}]".encode(),
            "; training reads JSON lines, one object per line; jq -c '.[]' ",
        ),
        ("a.json", f"[{ROW},\n {ROW}]".encode(), "is a JSON array"),
        ("a.json", f"\n\n [\n  {ROW}\n]\n".encode(), "is a JSON array"),
        ("a.json", b"\xef\xbb\xbf[]", "is a JSON array"),
        ("a.ndjson", b"[" * 100_000, "is a JSON array"),
        ("a.json", b'{\n  "text": "x = 1"\n}\n', "3 JSON line without a text"),
        ("a.zip", b"PK no zip", "1 broken archive"),
        ("a.tar.gz", b"no tar", "1 broken archive"),
        ("a.py", b"x = 1\n", "the data come to 7 tokens, less than one record of 128 tokens; add data"),
        ("a.json", ROW.encode(), "the data come to 7 tokens, less than one record of 128 tokens; add data"),
    ],
)
def test_a_file(name: str, data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert told in refused(with_paths(tmp_path / name), tmp_path)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (pipe, "neither a file nor a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "neither a file nor a folder"),
        (link_to_itself, "no such file or folder"),
        (lambda path: path.symlink_to("nowhere"), "no such file or folder"),
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "no file to train on in {path}: none ends in .py; name the files themselves"),
    ],
)
def test_what_is_no_file(make: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    make(path)
    assert told.format(path=path) in refused(with_paths(path), tmp_path)


def test_a_folder_of_what_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    pipe(folder / "pipe.py")
    link_to_itself(folder / "self.py")
    (folder / "round").symlink_to(folder)
    (folder / "notes.txt").write_text("x")
    told = refused(with_paths(folder), tmp_path)
    assert "in 3 files: " in told and "1 not a regular file" in told and "1 unreadable" in told


def test_all_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PROGRAM)
    assert "in 1 file: 1 held out" in refused(with_paths(tmp_path / "a.py", held_out=0.999999), tmp_path)


def test_bytes_that_cannot_be_a_record_of_a_tokenizer_to_be_trained(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(CgcliError, match="the data come to 7 tokens at most, less than one record of 128 tokens"):
        check_data(with_paths(tmp_path / "a.py", tokenizer="train"), tmp_path, None)


def test_what_is_enough_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PROGRAM)
    (tmp_path / "b.json").write_text("[]")  # refused where it is read
    check_data(with_paths(tmp_path / "a.py"), tmp_path, None)
    paths = tmp_path / "a.py", tmp_path / "b.json"
    check_data(with_paths(*paths, tokenizer="train"), tmp_path, None)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.py", "b.json"]


@pytest.mark.parametrize("key", ["path", "source", "licence"])
def test_names_that_are_no_text(key: str, tmp_path: Path) -> None:
    row = {"text": PROGRAM, "path": "a", key: "\ud800 \udcff"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    recipe = with_paths(tmp_path / "a.jsonl", turns=1.0, held_out=0.000001)
    assert prepare(recipe, tmp_path, tmp_path / "out", None, Silent()).counts["trained_on"]["files"] == 1


@pytest.mark.parametrize(
    "text", ["(" * 5000, "-" * 5000 + "1", "x = " + "9" * 900, "\f\x0b\x1c\n" * 9, "'''\\", "\ufeff# \u202e"]
)
def test_texts_that_python_cannot_read_become_turns_or_not(text: str, tmp_path: Path) -> None:
    lines = "\n".join(text[at : at + 90] for at in range(0, len(text), 90))
    (tmp_path / "a.py").write_text(lines + "\n" + PROGRAM)
    recipe = with_paths(tmp_path / "a.py", turns=1.0)
    assert prepare(recipe, tmp_path, tmp_path / "out", None, Silent()).counts["trained_on"]["files"] == 1


def test_archives_with_any_byte_wrong(tmp_path: Path) -> None:
    packed, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", PROGRAM)
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        entry = tarfile.TarInfo("a.py")
        entry.size = len(PROGRAM)
        tar.addfile(entry, io.BytesIO(PROGRAM.encode()))
    chance = random.Random(1)
    for name, whole in (("a.zip", packed.getvalue()), ("a.tgz", tarred.getvalue())):
        for _ in range(150):
            data = bytearray(whole)
            for at in chance.choices(range(len(data)), k=chance.randint(1, 4)):
                data[at] = chance.randrange(256)
            (tmp_path / name).write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
            try:
                check_data(with_paths(tmp_path / name), tmp_path, None)
            except CgcliError as error:
                assert "\n" not in error.line
