"""Verification: a correct conversion passes; a wrong one fails with the name of the layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgcli.convert import mapping, verify
from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import CodeGenConfig, read_config
from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.errors import ModelFileError
from cgcli.core.progress import Silent
from tests.convert.checkpoints import GOLDEN

RIGHT = mapping.fused_qkv
WORST_OF_A_RIGHT_ONE = 0.002  # a tenth of the tolerance


def wrong_order(order: tuple[int, int, int]) -> object:
    """q, k and v in another order."""

    def fused(weights: mapping.Weights, config: CodeGenConfig) -> mapping.Weights:
        q, k, v = np.split(RIGHT(weights, config), 3)
        return np.concatenate([(q, k, v)[part] for part in order])

    return fused


def no_rotary_order(weights: mapping.Weights, config: CodeGenConfig) -> mapping.Weights:
    return weights[mapping.qkv_rows(config)[[0, 1, 2]].reshape(-1)]


def wrong_groups(weights: mapping.Weights, config: CodeGenConfig) -> mapping.Weights:
    return RIGHT(weights, replace(config, mp_num=2))


FAULTS = {
    "q and k exchanged": wrong_order((1, 0, 2)),
    "k and v exchanged": wrong_order((0, 2, 1)),
    "rotary dimensions left interleaved": no_rotary_order,
    "rows in 2 groups, not 4": wrong_groups,
}


def convert_golden(target: Path, quant: str = "f16") -> object:
    return convert(GOLDEN, target, quant=quant, provenance=Provenance("golden"), progress=Silent(), threads=2)


def test_a_right_conversion_is_far_within_the_tolerance(tmp_path: Path) -> None:
    report = convert(GOLDEN, tmp_path / "a.gguf", quant="f16", provenance=Provenance("x"), progress=Silent(), threads=2)
    found = report.verification
    assert found is not None
    assert found.layers_checked == found.layers == 2
    assert 0 < found.worst_layer_error < WORST_OF_A_RIGHT_ONE
    assert 0 < found.logits_error < WORST_OF_A_RIGHT_ONE
    assert found.argmax_agreement > 0.97
    assert found.prompt_tokens == verify.MAX_PROMPT_TOKENS


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("layer", [0, 1])
def test_a_wrong_layer_is_named_and_nothing_is_stored(
    fault: str, layer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(2))

    def faulty(weights: mapping.Weights, config: CodeGenConfig) -> mapping.Weights:
        make = FAULTS[fault] if next(calls) == layer else RIGHT
        return make(weights, config)  # type: ignore[operator,no-any-return]

    monkeypatch.setattr(mapping, "fused_qkv", faulty)
    with pytest.raises(ModelFileError, match=f"layer {layer} of 2 of the converted model differs"):
        convert_golden(tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_output_layer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = mapping.target_tensors

    def faulty(*arguments: object) -> object:
        for target in right(*arguments):  # type: ignore[arg-type]
            if target.name == "output.weight":
                upside_down = target.make()[::-1]
                yield replace(target, make=lambda: upside_down)  # noqa: B023  # only one has that name
            else:
                yield target

    monkeypatch.setattr("cgcli.convert.writer.target_tensors", faulty)
    with pytest.raises(ModelFileError, match="the output layer of the converted model differs"):
        convert_golden(tmp_path / "model.gguf")


def test_relative_error_sees_one_bad_row_and_a_nan() -> None:
    rows = np.ones((3, 4), np.float32)
    bad = rows.copy()
    bad[1] *= 1.5
    assert verify.relative_error(rows, rows, rows) == 0
    assert verify.relative_error(bad, rows, rows) == pytest.approx(0.5)
    bad[2, 0] = np.nan
    assert np.isnan(verify.relative_error(bad, rows, rows))


@pytest.mark.parametrize(
    ("shape", "checked"),
    [((20, 1024), 20), ((32, 2560), 32), ((33, 4096), 14), ((34, 6144), 6)],
    ids=["350M", "2B", "6B", "16B"],
)
def test_layers_checked_of_each_published_size(shape: tuple[int, int], checked: int) -> None:
    n_layer, width = shape
    layers = verify.layers_to_check(replace(read_config(GOLDEN).shape, layers=n_layer, width=width))
    assert len(layers) == checked
    assert layers[0] == 0
    assert layers[-1] == n_layer - 1
    assert set(np.diff(layers)) <= {n_layer // checked, n_layer // checked + 1, n_layer // checked + 2}


def test_a_subset_of_layers_is_checked_from_llama_cpps_own_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layer 1 alone: a fault in layer 0 goes unseen, one in layer 1 does not."""
    target = tmp_path / "model.gguf"
    monkeypatch.setattr(verify, "layers_to_check", lambda config: [1])
    calls = iter(range(4))
    faults = {0, 3}  # layer 0 of the first conversion, layer 1 of the second

    def faulty(weights: mapping.Weights, config: CodeGenConfig) -> mapping.Weights:
        return (no_rotary_order if next(calls) in faults else RIGHT)(weights, config)

    monkeypatch.setattr(mapping, "fused_qkv", faulty)
    convert_golden(target)
    with pytest.raises(ModelFileError, match="layer 1 of 2"):
        convert_golden(target)


def test_the_divergence_of_a_quantized_model(tmp_path: Path) -> None:
    config = read_config(GOLDEN)
    convert_golden(tmp_path / "f16.gguf")
    convert_golden(tmp_path / "q4_0.gguf", "q4_0")
    path = tmp_path / "f16.gguf"
    _, logits = verify.verify(path, open_checkpoint(GOLDEN), config, Silent(), threads=2)
    assert verify.kl_divergence(path, logits, threads=2) < 1e-9
    assert verify.kl_divergence(tmp_path / "q4_0.gguf", logits, threads=2) > 0.001
    shifted = np.roll(logits, 1, axis=-1)
    assert verify.kl_divergence(path, shifted, threads=2) > 1
