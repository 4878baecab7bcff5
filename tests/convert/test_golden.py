"""Golden checkpoints through the converter and the real llama.cpp: the same ids, the same logits, the same text.

The project's own checkpoint is always there; the larger ones beside the repository add three head sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import read_config
from cgcli.convert.convert import convert
from cgcli.convert.reference import Reference, log_softmax
from cgcli.convert.writer import Provenance
from cgcli.core.progress import Silent
from cgcli.engine.context import Context
from cgcli.engine.model import Model

LOGIT_TOLERANCE = 0.02
NLL_TOLERANCE = 0.01


@dataclass
class Case:
    source: Path
    model: Path


@pytest.fixture(scope="module", params=["own", "head64", "head80", "head256"])
def case(
    request: pytest.FixtureRequest, golden: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Case:
    name: str = request.param
    source = golden(name)
    model = tmp_path_factory.mktemp(name) / "f16.gguf"
    convert(source, model, quant="f16", provenance=Provenance(name), progress=Silent(), threads=2)
    return Case(source, model)


def test_ids_logits_and_losses(case: Case) -> None:
    expected = np.load(case.source / "expected.npz")
    ids = expected["ids"].tolist()
    with Model.load(case.model) as model:
        assert model.tokenize((case.source / "prompt.txt").read_bytes()) == ids
        with Context(model, n_ctx=512, threads=2) as context:
            context.decode(ids, outputs=range(len(ids)))
            logits = np.stack([context.logits(index) for index in range(len(ids))])
    np.testing.assert_array_equal(logits.argmax(-1), expected["logits"].argmax(-1))
    assert np.abs(logits - expected["logits"]).max() <= LOGIT_TOLERANCE
    nll = -log_softmax(logits)[np.arange(len(ids) - 1), ids[1:]]
    assert np.abs(nll - expected["nll"]).max() <= NLL_TOLERANCE


def test_greedy_text(case: Case) -> None:
    """Equal for as long as the reference's best token is better than its second by more than the tolerance."""
    expected = np.load(case.source / "expected.npz")
    ids, greedy = expected["ids"].tolist(), expected["greedy"].tolist()
    reference = Reference(open_checkpoint(case.source), read_config(case.source))
    best = np.sort(reference.forward(ids + greedy)[len(ids) - 1 : -1], axis=-1)
    gaps = best[:, -1] - best[:, -2]
    clear = next((at for at, gap in enumerate(gaps) if gap <= LOGIT_TOLERANCE), len(greedy))
    assert clear >= 8, "the reference is too undecided for this to test anything"
    found = []
    with Model.load(case.model) as model, Context(model, n_ctx=512, threads=2) as context:
        context.decode(ids)
        token = int(context.logits(len(ids) - 1).argmax())
        for at in range(len(ids), len(ids) + len(greedy)):
            found.append(token)
            context.decode([token], at=at)
            token = int(context.logits(0).argmax())
    assert found[:clear] == greedy[:clear]


def test_special_text_stays_text(case: Case) -> None:
    with Model.load(case.model, vocab_only=True) as model:
        ids = model.tokenize(b"<|endoftext|>")
        assert len(ids) > 1
        assert b"".join(model.piece(token) for token in ids) == b"<|endoftext|>"
        assert model.end_of_text not in ids
