"""How a model is loaded, and what of it goes onto a GPU."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cgcli.core.errors import Interrupted
from cgcli.engine.gguf_check import read_header
from cgcli.engine.model import Loading, _layers_that_fit


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


def test_a_load_that_nobody_waits_for_ends(tiny_model: Path) -> None:
    loading = Loading(tiny_model)
    loading.close()
    assert "load" not in {thread.name for thread in threading.enumerate()}
    loading.close()


def test_a_load_that_is_cancelled_leaves_nothing(tiny_model: Path) -> None:
    loading = Loading(tiny_model)
    with pytest.raises(Interrupted):
        loading.wait(lambda: True)
    assert loading._pointer is None and "load" not in {thread.name for thread in threading.enumerate()}


def test_a_model_that_somebody_has_stays_when_its_load_is_closed(tiny_model: Path) -> None:
    loading = Loading(tiny_model)
    with loading.wait() as model:
        loading.close()
        assert model.tokenize(b"a")
