"""What of a model goes onto a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.engine.gguf_check import read_header
from cgcli.engine.model import _layers_that_fit


@pytest.mark.parametrize(
    ("sevenths", "layers"),
    [(0, 0), (7, 0), (8, 1), (15, 1), (16, 2), (23, 2), (24, 3), (80, 3)],
)
def test_seven_eighths_of_the_gpus_hold_layers(sevenths: int, layers: int, tiny_model: Path) -> None:
    """sevenths: free memory, in sevenths of a layer; an eighth of it stays free for the cache."""
    header = read_header(tiny_model)
    assert header.n_layer + 1 == 3
    free = -(-sevenths * tiny_model.stat().st_size // 21)
    for devices in ([("one", free, 10 * free)], [("one", free // 2, free), ("two", free - free // 2, free)]):
        assert _layers_that_fit(header, tiny_model, devices) == layers
