"""The same weights in every layout of the Hub are read as the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.core.errors import ModelFileError
from tests.convert import checkpoints as make

LAYOUTS: dict[str, Callable[[Path, make.Weights], None]] = {
    "safetensors f16": lambda folder, weights: make.write_safetensors(folder / "model.safetensors", weights),
    "safetensors f32": lambda folder, weights: make.write_safetensors(folder / "model.safetensors", weights, "f32"),
    "safetensors bf16": lambda folder, weights: make.write_safetensors(folder / "model.safetensors", weights, "bf16"),
    "safetensors in pieces": lambda folder, weights: make.write_shards(folder, weights, "model.safetensors"),
    "torch f16": lambda folder, weights: make.write_torch_file(folder / "pytorch_model.bin", weights),
    "torch f32": lambda folder, weights: make.write_torch_file(folder / "pytorch_model.bin", weights, "f32"),
    "torch bf16": lambda folder, weights: make.write_torch_file(folder / "pytorch_model.bin", weights, "bf16"),
    "torch in pieces": lambda folder, weights: make.write_shards(folder, weights, "pytorch_model.bin"),
    "torch transposed": lambda folder, weights: make.write_torch_file(
        folder / "pytorch_model.bin", weights, transposed=True
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights(layout: str, tmp_path: Path) -> None:
    weights = make.golden_weights()
    LAYOUTS[layout](tmp_path, weights)
    tensors = open_checkpoint(tmp_path).tensors
    assert tensors.keys() == weights.keys()
    for name, values in weights.items():
        read = tensors[name].read(np.float32)
        if layout.endswith("bf16"):
            np.testing.assert_allclose(read, values, rtol=2**-7)
        else:
            np.testing.assert_array_equal(read, values)


def test_what_torch_itself_wrote_is_read_masks_and_all() -> None:
    tensors = open_checkpoint(make.GOLDEN).tensors
    assert tensors["transformer.h.0.attn.causal_mask"].dtype == "bool"
    assert tensors["transformer.wte.weight"].read(np.float16).shape == (384, 64)


def test_a_mask_is_no_weight() -> None:
    checkpoint = open_checkpoint(make.GOLDEN)
    with pytest.raises(ModelFileError, match="bool"):
        checkpoint.tensor("transformer.h.0.attn.causal_mask", (1, 1, 8, 8))


def test_rows_are_a_part_of_the_whole() -> None:
    table = open_checkpoint(make.GOLDEN).tensors["transformer.wte.weight"]
    np.testing.assert_array_equal(table.rows(7, 11).read(np.float32), table.read(np.float32)[7:11])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_a_value_that_f16_cannot_hold_is_an_error(value: float, tmp_path: Path) -> None:
    weights = make.golden_weights()
    weights["transformer.wte.weight"][3, 5] = value
    make.write_safetensors(tmp_path / "model.safetensors", weights, "f32")
    with pytest.raises(ModelFileError, match=r"transformer\.wte\.weight"):
        open_checkpoint(tmp_path).tensors["transformer.wte.weight"].read(np.float16)


def test_safetensors_are_preferred_to_a_pickle(tmp_path: Path) -> None:
    weights = make.golden_weights()
    make.write_safetensors(tmp_path / "model.safetensors", weights)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never looked at")
    assert open_checkpoint(tmp_path).files == (tmp_path / "model.safetensors",)
