"""Checkpoints as training tools write them: other names, other types, unneeded tensors, tied heads."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.progress import Silent
from cgcli.engine.gguf_check import read_header
from tests.convert import checkpoints as make
from tests.convert.refusal import match, refused

EMBEDDING, HEAD = "transformer.wte.weight", "lm_head.weight"
Arrays = dict[str, Any]


def data_of(folder: Path) -> bytes:
    """The tensors of what the checkpoint becomes."""
    out = folder.parent / "out.gguf"
    convert(folder, out, quant="f16", provenance=Provenance("x"), progress=Silent(), threads=1, verify_result=False)
    return out.read_bytes()[read_header(out).data_offset :]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = make.copy_texts(tmp_path_factory.mktemp("golden") / "source")
    (folder / "pytorch_model.bin").symlink_to(make.GOLDEN / "pytorch_model.bin")
    return data_of(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make.copy_texts(tmp_path / "source")


def save(folder: Path, weights: Arrays, dtype: str = "f16") -> None:
    make.write_safetensors(folder / "model.safetensors", weights, dtype)


def prefixed(prefix: str) -> Arrays:
    return {prefix + name: values for name, values in make.golden_weights().items()}


def without_transformer() -> Arrays:
    return {name.removeprefix("transformer."): values for name, values in make.golden_weights().items()}


@pytest.mark.parametrize(
    "weights",
    [prefixed(prefix) for prefix in ("module.", "base_model.model.", "_orig_mod.", "model.", "module._orig_mod.")]
    + [without_transformer(), {f"module.{name}": values for name, values in without_transformer().items()}],
    ids=["DDP", "peft", "compile", "model", "both", "no transformer", "DDP, no transformer"],
)  # fmt: skip
def test_names_behind_a_wrapper_are_taken(weights: Arrays, folder: Path, expected: bytes) -> None:
    save(folder, weights)
    assert data_of(folder) == expected


def test_a_wrapper_in_pieces_and_in_pytorchs_format(folder: Path, expected: bytes) -> None:
    make.write_shards(folder, prefixed("module."), "pytorch_model.bin")
    assert data_of(folder) == expected


def adapter(names: Arrays) -> Arrays:
    return names | {"transformer.h.0.attn.qkv_proj.lora_A.default.weight": np.ones((4, 64), np.float32)}


def headless() -> Arrays:
    return {name: values for name, values in without_transformer().items() if not name.startswith("lm_head")}


NAMES: dict[str, tuple[Arrays, str]] = {
    "an adapter that is not merged": (adapter(make.golden_weights()), "adapter weights .*lora_A.*"),
    "an adapter behind peft's wrapper": (
        {f"base_model.model.{name}": values for name, values in adapter(make.golden_weights()).items()}, "adapter"),
    "two models": (prefixed("actor.") | prefixed("critic."), "2 embeddings.*'actor.transformer.wte.weight'"),
    "the body alone": (headless(), "tensor lm_head.weight is missing"),
    "another model's names": ({"model.embed_tokens.weight": np.ones((4, 4), np.float32)},
                              "no tensor transformer.wte.weight.*'model.embed_tokens.weight'"),
    "one name twice": (prefixed("module.") | {"lm_head.weight": np.ones((4, 4), np.float32)}, "two tensors for .lm_"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_refused_say_what_was_found(name: str, folder: Path, tmp_path: Path) -> None:
    weights, message = NAMES[name]
    save(folder, weights)
    match(message, refused(folder, tmp_path / "out.gguf"))


@pytest.mark.parametrize("write", [make.write_safetensors, make.write_torch_file])
def test_float64_weights_are_taken(write: Callable[..., None], folder: Path, expected: bytes) -> None:
    name = "model.safetensors" if write is make.write_safetensors else "pytorch_model.bin"
    write(folder / name, make.golden_weights(), "f64")
    assert data_of(folder) == expected


def test_a_float64_that_no_float16_holds_is_refused(folder: Path, tmp_path: Path) -> None:
    weights = make.golden_weights()
    weights[EMBEDDING][0, 0] = 1e6
    save(folder, weights, "f64")
    match("not finite in float16", refused(folder, tmp_path / "out.gguf"))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "U32", "U64", "C64", "F4", "SOMETHING_NEW"])
def test_a_tensor_that_nothing_needs_may_be_of_any_type(dtype: str, folder: Path, expected: bytes) -> None:
    save(folder, make.golden_weights())
    raw = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header["transformer.h.0.extra"] = {"dtype": dtype, "shape": [4], "data_offsets": [len(data), len(data) + 16]}
    make.write_raw_safetensors(folder / "model.safetensors", json.dumps(header).encode(), data + bytes(16))
    assert data_of(folder) == expected


def torch_table(**extra: object) -> tuple[bytes, dict[str, bytes]]:
    """The golden weights and these entries; storage "x" has 32 bytes."""
    table: dict[str, object] = {}
    storages = {"x": bytes(32)}
    for index, (name, values) in enumerate(make.golden_weights().items()):
        storage = make._StorageRef("HalfStorage", str(index), values.size)
        strides = tuple(step // values.itemsize for step in values.strides)
        table[name] = make.tensor_call(storage, 0, values.shape, strides)
        storages[str(index)] = make.encode(values, "f16")
    return make.state_pickle(table | extra), storages


def float8() -> object:
    """As torch.save writes types without a storage of their own."""
    storage = make._StorageRef("UntypedStorage", "x", 32)
    storage.identity = ("storage", make._Global("torch.storage", "UntypedStorage"), "x", "cpu", 32)
    hooks = make._Call(make._Global("collections", "OrderedDict"))
    rebuild = make._Global("torch._utils", "_rebuild_tensor_v3")
    return make._Call(rebuild, storage, 0, (32,), (1,), False, hooks, make._Global("torch", "float8_e4m3fn"))


EXTRAS: dict[str, Callable[[], object]] = {
    "complex64": lambda: make.tensor_call(make._StorageRef("ComplexFloatStorage", "x", 4), 0, (4,), (1,)),
    "quint8": lambda: make.tensor_call(make._StorageRef("QUInt8Storage", "x", 32), 0, (32,), (1,)),
    "float8": float8,
}


@pytest.mark.parametrize("name", EXTRAS)
def test_the_same_in_pytorchs_format(name: str, folder: Path, expected: bytes) -> None:
    make.write_torch_zip(folder / "pytorch_model.bin", *torch_table(extra=EXTRAS[name]()))
    assert data_of(folder) == expected


def test_a_weight_in_such_a_type_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    make.write_torch_zip(folder / "pytorch_model.bin", *torch_table(**{"transformer.ln_f.bias": float8()}))
    match(r"ln_f\.bias has shape \[32\]", refused(folder, tmp_path / "out.gguf"))
    (folder / "pytorch_model.bin").unlink()
    save(folder, make.golden_weights())
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw.replace(b'"dtype": "F16"', b'"dtype": "C64"'))
    match("wte.weight is C64; weights must be one of f16", refused(folder, tmp_path / "out.gguf"))


def test_a_tied_head_that_is_stored_and_equal_is_taken(folder: Path) -> None:
    weights = make.golden_weights()
    weights[HEAD] = weights[EMBEDDING]
    save(folder, weights)
    untied = data_of(folder)
    make.change_config(folder, tie_word_embeddings=True)
    assert data_of(folder) == untied
    del weights[HEAD]
    save(folder, weights)
    assert data_of(folder) == untied  # transformers leaves it out


def test_a_tied_head_that_is_another_is_refused(folder: Path, tmp_path: Path) -> None:
    weights = make.golden_weights()
    weights[HEAD] = weights[EMBEDDING].copy()
    weights[HEAD][-1, -1] += 1
    save(folder, weights)
    make.change_config(folder, tie_word_embeddings=True)
    match("config.json sets tie_word_embeddings, but lm_head.weight differs", refused(folder, tmp_path / "out.gguf"))
    make.change_config(folder, tie_word_embeddings="yes")
    match("tie_word_embeddings is 'yes', expected true or false", refused(folder, tmp_path / "out.gguf"))


def config_without(folder: Path, *keys: str, **more: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in keys} | more))


def test_what_config_json_leaves_out_is_what_transformers_takes(folder: Path, expected: bytes) -> None:
    save(folder, make.golden_weights())
    config_without(folder, "layer_norm_epsilon", "activation_function", "n_positions", "n_inner", "tie_word_embeddings")
    assert data_of(folder) == expected
    metadata = read_header(folder.parent / "out.gguf").metadata
    assert metadata["phi2.attention.layer_norm_epsilon"] == pytest.approx(1e-5)
    assert metadata["phi2.context_length"] == 2048


def test_config_json_without_model_type(folder: Path, expected: bytes) -> None:
    save(folder, make.golden_weights())
    config_without(folder, "model_type", architectures=["CodeGenForCausalLM"])
    assert data_of(folder) == expected


def test_config_json_in_the_words_of_other_models(folder: Path, tmp_path: Path, expected: bytes) -> None:
    """transformers' CodeGenConfig.attribute_map."""
    save(folder, make.golden_weights())
    others = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
    config_without(folder, "n_embd", "n_layer", "n_head", "n_positions", **others)
    assert data_of(folder) == expected
    (tmp_path / "out.gguf").unlink()
    make.change_config(folder, n_layer=3)
    match("n_layer is 3, but num_hidden_layers is 2", refused(folder, tmp_path / "out.gguf"))
