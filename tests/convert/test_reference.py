"""NumPy's forward pass against what transformers computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import read_config
from cgcli.convert.reference import Reference, log_softmax
from tests.convert.checkpoints import GOLDEN

OWN_TOLERANCE = 1e-4  # float32 against float32, expected.npz as computed
SHARED_TOLERANCE = 2e-3  # the shared expectations are rounded to about 1e-3


def compare(folder: Path, tolerance: float) -> None:
    reference = Reference(open_checkpoint(folder), read_config(folder))
    expected = np.load(folder / "expected.npz")
    ids = expected["ids"]
    logits = reference.forward(ids.tolist())
    np.testing.assert_allclose(logits, expected["logits"], atol=tolerance, rtol=0)
    nll = -log_softmax(logits)[np.arange(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(nll, expected["nll"], atol=tolerance, rtol=0)


def test_own_golden_checkpoint() -> None:
    compare(GOLDEN, OWN_TOLERANCE)


@pytest.mark.parametrize("name", ["head64", "head80", "head256"])
def test_shared_golden_checkpoints(name: str, shared: Path) -> None:
    compare(shared / "golden" / name, SHARED_TOLERANCE)


def test_a_single_layer_continues_given_hidden_states() -> None:
    reference = Reference(open_checkpoint(GOLDEN), read_config(GOLDEN))
    tokens = [5, 77, 131, 5, 9]
    hidden = reference.layer(0, reference.embed(tokens))
    np.testing.assert_array_equal(reference.logits(reference.layer(1, hidden)), reference.forward(tokens))
