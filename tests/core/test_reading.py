"""Reading JSON and TOML from anywhere gives a value, an OSError or a ValueError."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import ModelFileError, UsageError
from cgcli.core.reading import (
    MAX_BYTES,
    open_regular,
    parse_json,
    parse_toml,
    read_bytes,
    read_if_possible,
    read_json,
    read_text,
    read_toml,
    sha256_file,
)  # fmt: skip

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON: Expecting property name"),
        (b"\xff", "not JSON: not UTF-8 at byte 0"),
        (b"1" * 5000, "not JSON: a number has too many digits"),
        (b"[" * 50_000, "not JSON: nested too deeply"),
        (b"[" * 50_000 + b"]" * 50_000, "not JSON: nested too deeply"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "not JSON: nested too deeply"),
        (b'{"a": 1, "a": 2}', "not JSON: a key is there twice"),
    ],
)
def test_unusable_json_is_reported_in_one_line(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_json(data)
    assert "\n" not in str(caught.value) and "sys." not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a", "not TOML: Expected '='"),
        (b"a = 1\na = 2\n", "not TOML: Cannot overwrite a value"),
        (b"\xff", "not TOML: not UTF-8 at byte 0"),
        (b"a = " + b"1" * 5000, "not TOML: a number has too many digits"),
        (b"a = 0x" + b"f" * 5000, "not TOML: a number has too many digits"),  # Python parses it, and cannot show it
        (b"a = " + b"[" * 50_000, "not TOML: nested too deeply"),
        (b"a = " + b"{b = " * 50_000, "not TOML: nested too deeply"),
        (b".".join([b"a"] * 50_000) + b" = 1", "not TOML: nested too deeply"),  # tomllib takes a minute for it
        (b"[" + b".".join([b'"a"'] * 5000) + b"]", "not TOML: nested too deeply"),
    ],
)
def test_unusable_toml_is_reported_in_one_line(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_toml(data)
    assert "\n" not in str(caught.value) and "sys." not in str(caught.value)


def test_a_byte_order_mark_is_dropped() -> None:
    assert parse_json(MARK + b'{"a": 1}') == {"a": 1}
    assert parse_toml(MARK + b"a = 1") == {"a": 1}


def test_text_keeps_its_line_ends_and_loses_its_mark(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(MARK + "a\r\nü".encode())
    assert read_text(tmp_path / "t") == "a\r\nü"


def test_pipes_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path / "pipe", "a pipe"),
            (tmp_path / "link", "a pipe"),
            (tmp_path / "folder", "a folder"),
            (tmp_path / "socket", "a socket"),
            (Path("/dev/zero"), "a device"),
        ):
            for read in (open_regular, read_bytes, read_text):
                with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
                    read(path)


def test_a_file_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(OSError, match="it has more than 67108864 bytes"):
        read_bytes(tmp_path / "long")
    assert len(read_bytes(Path("/proc/self/status"))) > 0  # which says of itself that it has 0


def test_errors_name_the_file_and_are_what_the_caller_says(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{")
    with pytest.raises(ModelFileError, match=r"/a: not JSON: "):
        read_json(tmp_path / "a", ModelFileError)
    with pytest.raises(UsageError, match=r"/a: not TOML: "):
        read_toml(tmp_path / "a", UsageError)
    with pytest.raises(ModelFileError, match=r"cannot read .*/none: No such file"):
        read_json(tmp_path / "none", ModelFileError)


@given(st.binary() | st.text(alphabet="{}[]\":,.=0123456789eE+-_ \n#abxo'").map(str.encode))
def test_whatever_it_is_it_is_a_value_or_a_value_error(data: bytes) -> None:
    for parse in (parse_json, parse_toml):
        with contextlib.suppress(ValueError):
            repr(parse(data))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_comes_back_as_it_was(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def test_what_can_be_read_is_read_whatever_its_size(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert len(read_if_possible(large)) == MAX_BYTES + 1
    assert read_if_possible(tmp_path) == read_if_possible(tmp_path / "none") == b""


def test_sha256_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()
    with pytest.raises(IsADirectoryError):
        sha256_file(tmp_path)
