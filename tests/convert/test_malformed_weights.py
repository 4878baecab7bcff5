"""Weight files truncated anywhere, or with flipped bits in their metadata.

A flipped bit in a weight that stays a number is no malformation: the hash that a pull checks finds it, not this.
"""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path

import pytest

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import read_config
from cgcli.convert.mapping import target_tensors
from cgcli.core.errors import ModelFileError
from tests.convert import checkpoints as make


def read_everything(folder: Path) -> None:
    """Read every tensor as a conversion does."""
    config = read_config(folder)
    for target in target_tensors(open_checkpoint(folder), config):
        target.make()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_every_place_where_weights_may_be_cut_off(name: str, tmp_path: Path) -> None:
    folder = make.copy_texts(tmp_path / "source")
    make.write_safetensors(folder / "model.safetensors", make.golden_weights())
    shutil.copy(make.GOLDEN / "pytorch_model.bin", folder)
    if name != "model.safetensors":
        (folder / "model.safetensors").unlink()
    data = (folder / name).read_bytes()
    cuts = [*range(12), *range(12, len(data), len(data) // 40), len(data) - 1]
    for cut in cuts:
        (folder / name).write_bytes(data[:cut])
        with pytest.raises(ModelFileError) as caught:
            read_everything(folder)
        assert caught.value.message.isprintable()
    assert len(cuts) > 50


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_flipped_bits_are_refused_or_read(name: str, tmp_path: Path) -> None:
    """In the headers: the JSON, the pickle, the zip's directory. No other exception, no crash, whatever is flipped."""
    folder = make.copy_texts(tmp_path / "source")
    make.write_safetensors(folder / "model.safetensors", make.golden_weights())
    data = (folder / "model.safetensors").read_bytes()
    spans = [range(8 + struct.unpack("<Q", data[:8])[0])]
    if name != "model.safetensors":
        (folder / "model.safetensors").unlink()
        data = (make.GOLDEN / name).read_bytes()
        directory = data.index(b"PK\1\2")
        spans = [range(data.index(b"data/0")), range(directory, len(data))]
    draw = random.Random(3)
    found = 0
    for number in range(200):
        flipped = bytearray(data)
        span = spans[number % len(spans)]
        flipped[draw.choice(span)] ^= 1 << draw.randrange(8)
        (folder / name).write_bytes(flipped)
        try:
            read_everything(folder)
        except ModelFileError as error:
            assert error.message.isprintable()
            found += 1
    assert found > 100
