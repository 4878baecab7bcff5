"""Damaged or hostile safetensors files and indexes.

Each is refused in one line with status 5, and nothing is left behind.
"""

from __future__ import annotations

import json
import operator
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.convert import checkpoints as make
from tests.convert.refusal import match, refused

DEEP = 100_000


def safetensors_parts() -> tuple[dict[str, Any], bytes]:
    header: dict[str, Any] = {}
    data = b""
    for name, values in make.golden_weights().items():
        encoded = make.encode(values, "f16")
        offsets = [len(data), len(data) + len(encoded)]
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": offsets}
        data += encoded
    return header, data


LENGTH = sum(2 * values.size for values in make.golden_weights().values())
NAME = "transformer.wte.weight"
SAFETENSORS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an unknown dtype": (lambda header: header[NAME].update(dtype="F8"), "wte.weight is F8; weights must be"),
    "a dtype as a number": (lambda header: header[NAME].update(dtype=1), "no dtype"),
    "no dtype": (lambda header: header[NAME].pop("dtype"), "no dtype"),
    "no shape": (lambda header: header[NAME].pop("shape"), "the invalid shape None"),
    "a negative shape": (lambda header: header[NAME].update(shape=[-384, -64]), "the invalid shape"),
    "a shape of floats": (lambda header: header[NAME].update(shape=[384.0, 64]), "the invalid shape"),
    "a shape of truths": (lambda header: header[NAME].update(shape=[True, 64]), "the invalid shape"),
    "a shape beyond 64 bits": (lambda header: header[NAME].update(shape=[1 << 63, 1 << 63]), "the invalid shape"),
    "a shape of 9 dimensions": (lambda header: header[NAME].update(shape=[1] * 9), "the invalid shape"),
    "a shape of a million dimensions": (lambda header: header[NAME].update(shape=[1] * 10**6), "the invalid shape"),
    "a shape of others": (lambda header: header[NAME].update(shape=[384, 65]), "match its shape"),
    "another shape of that size": (lambda header: header[NAME].update(shape=[64, 384]), "shape"),
    "another dtype of that size": (lambda header: header[NAME].update(dtype="I16"), "is i16"),
    "no offsets": (lambda header: header[NAME].pop("data_offsets"), "data_offsets None"),
    "one offset": (lambda header: header[NAME].update(data_offsets=[0]), "data_offsets"),
    "three offsets": (lambda header: header[NAME].update(data_offsets=[0, 1, 2]), "data_offsets"),
    "offsets the wrong way round": (lambda header: header[NAME].update(data_offsets=[9, 1]), "data_offsets"),
    "negative offsets": (lambda header: header[NAME].update(data_offsets=[-49152, 0]), "data_offsets"),
    "offsets beyond the file": (lambda header: header[NAME].update(data_offsets=[1 << 40, 1 << 41]), "not match its"),
    "the last one beyond the file": (
        lambda header: header.update(x={"dtype": "U8", "shape": [9], "data_offsets": [LENGTH, LENGTH + 9]}),
        "but its tensors have",
    ),
    "an entry that is a list": (lambda header: operator.setitem(header, NAME, []), "no dtype"),
    "a tensor missing, its data there": (lambda header: header.pop(NAME), "gap or an overlap"),
    "a tensor over another": (lambda header: header.update(x=dict(header[NAME])), "gap or an overlap"),
    "a name with control characters": (
        lambda header: header.update({"\x1b[2J\n": {"dtype": "F 8"}}), r"'\\x1b\[2J\\n' has the unknown"),
    "another name": (lambda header: header.update(y=header.pop(NAME)), "no tensor transformer.wte.weight"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors_header(name: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    change, message = SAFETENSORS[name]
    header, data = safetensors_parts()
    change(header)
    make.write_raw_safetensors(folder / "model.safetensors", json.dumps(header).encode(), data)
    match(message, refused(folder, tmp_path / "out.gguf"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a safetensors"),
        (b"\x00" * 7, "not a safetensors"),
        (struct.pack("<Q", 0), "not a safetensors"),
        (struct.pack("<Q", 1 << 62) + b"{}", "not a safetensors"),
        (struct.pack("<Q", 3) + b"{}", "not a safetensors"),
        (struct.pack("<Q", 2) + b"[]", "not an object"),
        (struct.pack("<Q", 2) + b"{}more", "has 4 bytes of data, but its tensors have 0"),
        (struct.pack("<Q", 2) + b"{}", "no tensor"),
        (struct.pack("<Q", 2 * DEEP) + b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
        (struct.pack("<Q", 6 * DEEP) + b'{"a":1' * DEEP, "nested too deeply|not JSON"),
        (struct.pack("<Q", 7) + b'{"a":1,', "not JSON"),
        (struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc", "not JSON"),
    ],
)
def test_safetensors_that_are_none(data: bytes, message: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    (folder / "model.safetensors").write_bytes(data)
    match(message, refused(folder, tmp_path / "out.gguf"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda places: places.update(x="../../../etc/passwd"), "not a file in the same folder"),
        (lambda places: places.update(x="/etc/passwd"), "not a file in the same folder"),
        (lambda places: places.update(x=".."), "not a file in the same folder"),
        (lambda places: places.update(x=""), "not a file in the same folder"),
        (lambda places: places.update(x="a\0b"), "not a file in the same folder"),
        (lambda places: places.update(x=7), "not a file in the same folder"),
        (lambda places: places.update(x=["model-00001-of-00003.safetensors"]), "not a file in the same folder"),
        (lambda places: places.update(x="model-00004-of-00003.safetensors"), "not a file in the same folder"),
        (lambda places: places.update(x="model-00001-of-00003.safetensors"), "tensor 'x' is missing, although"),
        (lambda places: places.pop(NAME), "no tensor transformer.wte.weight"),
        (lambda places: places.clear(), "no weight_map"),
        (lambda places: places.update({NAME: "config.json"}), "not a safetensors|not JSON"),
    ],
)
def test_index(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    make.write_shards(folder, make.golden_weights(), "model.safetensors")
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))
    match(message, refused(folder, tmp_path / "out.gguf"))
