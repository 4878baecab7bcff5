"""The header check: what runs passes, whatever is wrong is one line with status 5, and what passes does not bring
llama.cpp down.

A flipped bit in a weight, or in the text of a token that stays unique, is no fault of a header and is not found here or
at load: the store's hash finds it (tests/hub, `models verify`).
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cgcli.core.errors import ExitStatus, ModelFileError
from cgcli.engine.gguf import MAX_ENTRIES
from cgcli.engine.gguf_check import read_header
from cgcli.engine.model import Model
from tests.engine import gguf_builder as g
from tests.engine.gguf_builder import ARRAY, BOOL, F32, F64, I32, STRING, U16, U32, Array, File, Tensor, tiny
from tests.support.patience import PATIENCE_S

Change = Callable[[File], object]
ARCHITECTURES = ("phi2", "llama")


def refused(path: Path, data: bytes) -> str:
    """The message with which the header of `data` is refused."""
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    message = caught.value.message
    assert caught.value.status == ExitStatus.MODEL_FILE
    assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < len(str(path)) + 300
    return message.removeprefix(f"{path}: ")


def load_all(paths: list[Path]) -> dict[Path, str]:
    """What llama.cpp makes of each file, in a process of its own. Fails, naming the file, where that process dies."""
    outcome: dict[Path, str] = {}
    environment = os.environ | {"GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("load_each_gguf.py")],
        input="".join(f"{path}\n" for path in paths), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env=environment,
    )  # fmt: skip
    for line in run.stdout.splitlines():
        name, _, said = line.partition(": ")
        outcome[Path(name)] = said
    unfinished = [path for path, said in outcome.items() if said == "begun"]
    assert run.returncode == 0, f"llama.cpp died of {unfinished}: {run.stderr.strip().splitlines()[-2:]}"
    return outcome


def key(name: str, kind: int, value: object) -> Change:
    """Set a hyper-parameter; `.name` stands for the architecture's own."""
    return lambda file: file.set(own(file, name), kind, value)


def drop(name: str) -> Change:
    return lambda file: file.drop(own(file, name))


def own(file: File, name: str) -> str:
    return f"{file.keys[0][2]}{name}" if name.startswith(".") else name


def tensor(name: str, **fields: object) -> Change:
    def change(file: File) -> None:
        for field, value in ({"data": None} | fields).items():
            setattr(file.tensor(name), field, value)

    return change


def rename(name: str, new: str | bytes) -> Change:
    def change(file: File) -> None:
        file.tensors = [(new if old == name else old, entry) for old, entry in file.tensors]

    return change


def attribute(**fields: object) -> Change:
    return lambda file: file.__dict__.update(fields)


def both(*changes: Change) -> Change:
    return lambda file: [change(file) for change in changes]


def tokens(change: Callable[[list[str | bytes]], object]) -> Change:
    return lambda file: change(next(value for name, _, value in file.keys if name == "tokenizer.ggml.tokens").values)


def types(value: Array) -> Change:
    return key("tokenizer.ggml.token_type", ARRAY, value)


MALFORMED: dict[str, tuple[Change, str]] = {
    # the container
    "magic": (attribute(magic=b"GGML"), "not a GGUF"),
    "big-endian magic": (attribute(magic=b"FUGG"), "not a GGUF"),
    "version 1": (attribute(version=1), "version 1"),
    "version 4": (attribute(version=4), "version 4"),
    "big-endian version": (attribute(version=3 << 24), "version"),
    "keys beyond all reason": (attribute(n_keys=1 << 62), "but the limit is"),
    "one key too many": (attribute(n_keys=65_536), "key"),
    "one key too few": (attribute(n_keys=17), "tensor tokenizer"),
    "tensors beyond all reason": (attribute(n_tensors=MAX_ENTRIES + 1), "but the limit is"),
    "one tensor too many": (attribute(n_tensors=60), "tensor"),
    "one tensor too few": (lambda file: setattr(file, "n_tensors", len(file.tensors) - 1), "no tensor|file ends at"),
    "no tensors": (attribute(tensors=[]), "no tensors"),
    "key twice": (lambda file: file.keys.append(file.keys[0]), "duplicate"),
    "empty key": (lambda file: file.keys.append(("", U32, 1)), "invalid name ''"),
    "key with a line end": (lambda file: file.keys.append(("a\nb", U32, 1)), r"'a\\nb'"),
    "key that is not ASCII": (lambda file: file.keys.append((b"\xff\xfe", U32, 1)), "invalid name"),
    "key of a type that is none": (lambda file: file.keys.append(("x", 13, b"\0\0\0\0")), "unknown type 13"),
    # llama.cpp reads texts up to a NUL byte: another value than the one that was checked
    "text with a NUL": (key("general.architecture", STRING, "phi2\0x"), "NUL byte"),
    "token with a NUL": (tokens(lambda texts: texts.__setitem__(20, "odd\0")), "NUL byte"),
    "tokens that differ after a NUL": (
        tokens(lambda texts: texts.__setitem__(slice(20, 22), ["odd\0a", "odd\0b"])), "NUL byte"),
    "token that is a NUL": (tokens(lambda texts: texts.__setitem__(20, "\0")), "NUL byte"),
    "merge with a NUL": (key("tokenizer.ggml.merges", ARRAY, Array(STRING, ["a b", "a\0 c"])), "NUL byte"),
    "long text with a NUL in an array": (key("x", ARRAY, Array(STRING, ["", 300 * "a", "b" * 300 + "\0"])), "NUL"),
    "array of arrays": (lambda file: file.keys.append(("x", ARRAY, Array(ARRAY, [], 1))), "unknown type 9"),
    "array beyond the file": (key("x", ARRAY, Array(U32, [1], 1 << 40)), "exceed the header"),
    "array of strings beyond the file": (key("x", ARRAY, Array(STRING, ["a"], 1 << 60)), "exceed the header"),
    "string beyond the file": (key("x", STRING, b"\xff" * 8), "bytes long"),
    "string in an array beyond the file": (key("x", ARRAY, Array(STRING, [b"\xff" * 8])), "exceeds the header"),
    "alignment 0": (key("general.alignment", U32, 0), "power of two"),
    "alignment 8": (key("general.alignment", U32, 8), "power of two"),
    "alignment 48": (key("general.alignment", U32, 48), "power of two"),
    "alignment of another type": (key("general.alignment", F32, 32.0), "power of two"),
    "tensor twice": (lambda file: file.tensors.append(file.tensors[0]), "duplicate"),
    "tensor without a name": (rename("output_norm.weight", ""), "invalid name ''"),
    "tensor with a long name": (rename("output_norm.weight", "x" * 64), "64 bytes long"),
    "tensor with a NUL in its name": (rename("output_norm.weight", b"a\0b"), "invalid name"),
    "tensor without dimensions": (tensor("output_norm.weight", shape=[]), "0 dimensions"),
    "tensor of 5 dimensions": (tensor("output_norm.weight", shape=[64, 1, 1, 1, 1]), "5 dimensions"),
    "tensor of nothing": (tensor("output_norm.weight", shape=[0]), "shape"),
    "tensor beyond 64 bits": (tensor("output.weight", shape=[1 << 40, 1 << 40], data=b""), "shape"),
    "tensor beyond the file": (tensor("output.weight", shape=[64, 1 << 30], data=b""), "offset|file ends at"),
    "tensor of an unknown type": (tensor("output.weight", kind=99), "type 99"),
    "tensor of integers": (tensor("output.weight", kind=26), "type 26"),
    "tensor of an intermediate type": (tensor("output.weight", kind=15), "type 15"),
    "tensor of a removed type": (tensor("output.weight", kind=4), "type 4"),
    "rows that are no whole blocks": (tensor("output.weight", kind=12), "needs a multiple"),
    "tensor at an odd offset": (tensor("output_norm.weight", offset=1), "must be at"),
    "tensor over another": (tensor("output_norm.weight", offset=0), "must be at"),
    "tensor after a gap": (tensor("output_norm.weight", offset=1 << 20), "must be at"),
    # what the model is
    "no architecture": (drop("general.architecture"), "no general.architecture"),
    "architecture of another type": (key("general.architecture", U32, 1), "no general.architecture"),
    "a LoRA adapter": (key("general.type", STRING, "adapter"), "a LoRA adapter, not a model"),
    "a projector": (key("general.type", STRING, "mmproj"), "a multimodal projector"),
    "a piece of a split model": (key("split.count", U16, 3), "one of 3 parts"),
    "an encoder": (key(".attention.causal", BOOL, False), "non-causal"),
    "a model with pooling": (key(".pooling_type", U32, 2), "pooling_type"),
    # hyper-parameters
    **{
        f"no {name}": (drop(name), f"no '.*{name}'")
        for name in (
            ".context_length", ".embedding_length", ".block_count", ".attention.head_count", ".feed_forward_length",
        )
    },
    "context of 0": (key(".context_length", U32, 0), "context_length"),
    "context of 4 billion": (key(".context_length", U32, 0xFFFFFFFF), "context_length"),
    "context as i32": (key(".context_length", I32, 128), "not a u32"),
    "context as a string": (key(".context_length", STRING, "128"), "not a u32"),
    "context as an array": (key(".context_length", ARRAY, Array(U32, [128])), "not a u32"),
    "0 layers": (key(".block_count", U32, 0), "block_count"),
    "65535 layers": (key(".block_count", U32, 65535), "block_count"),
    "a layer more than there is": (key(".block_count", U32, 3), "no tensor blk.2."),
    "layers that are all for drafting": (key(".nextn_predict_layers", U32, 2), "nextn_predict_layers"),
    "width 0": (key(".embedding_length", U32, 0), "embedding_length"),
    "width of others": (key(".embedding_length", U32, 128), "shape|rope.dimension_count"),
    "width that heads do not divide": (key(".embedding_length", U32, 65), "divisible"),
    "another width out": (key(".embedding_length_out", U32, 32), "embedding_length_out"),
    "0 heads": (key(".attention.head_count", U32, 0), "head_count"),
    "3 heads": (key(".attention.head_count", U32, 3), "divisible"),
    "more heads than dimensions": (key(".attention.head_count", U32, 128), "head_count"),
    "0 key heads": (key(".attention.head_count_kv", U32, 0), "head_count_kv"),
    "3 key heads": (key(".attention.head_count_kv", U32, 3), "divisible"),
    "more key heads than heads": (key(".attention.head_count_kv", U32, 8), "head_count_kv"),
    "heads as an array of one": (key(".attention.head_count", ARRAY, Array(U32, [4])), "one per layer"),
    "another key length": (key(".attention.key_length", U32, 32), "do not add up|rope|value_length|shape"),
    "another value length": (key(".attention.value_length", U32, 32), "value_length"),
    "no epsilon": (lambda file: [drop(f".attention.layer_norm_{r}epsilon")(file) for r in ("", "rms_")], "no '"),
    "negative epsilon": (key(".attention.layer_norm_epsilon", F32, -1.0), "layer_norm_epsilon"),
    "epsilon that is not a number": (key(".attention.layer_norm_rms_epsilon", F32, float("nan")), "epsilon"),
    "hidden width 0": (key(".feed_forward_length", U32, 0), "feed_forward_length"),
    "hidden width of others": (key(".feed_forward_length", U32, 97), "shape"),
    "odd rotary dimensions": (key(".rope.dimension_count", U32, 7), "must be even"),
    "0 rotary dimensions": (key(".rope.dimension_count", U32, 0), "rope.dimension_count"),
    "more rotary dimensions than a head has": (key(".rope.dimension_count", U32, 18), "rope.dimension_count"),
    "4 billion rotary dimensions": (key(".rope.dimension_count", U32, 0xFFFFFFFE), "rope.dimension_count"),
    "rotary base 0": (key(".rope.freq_base", F32, 0.0), "freq_base"),
    "rotary base infinite": (key(".rope.freq_base", F32, float("inf")), "freq_base"),
    "rotary base as f64": (key(".rope.freq_base", F64, 1e4), "not an f32"),
    "unknown rotary scaling": (key(".rope.scaling.type", STRING, "no\nsuch"), r"'no\\nsuch'"),
    "rotary scaling of another type": (key(".rope.scaling.type", U32, 1), "rope.scaling.type"),
    "negative rotary scaling": (key(".rope.scaling.factor", F32, -1.0), "scaling.factor"),
    "any number that is none": (key(".logit_scale", F32, float("nan")), "logit_scale' is nan"),
    "experts without use": (key(".expert_count", U32, 4), "expert"),
    "5000 experts": (both(key(".expert_count", U32, 5000), key(".expert_used_count", U32, 1)), "expert_count"),
    "more experts used than there are": (key(".expert_used_count", U32, 1), "expert_used_count"),
    # vocabulary
    "no tokenizer": (drop("tokenizer.ggml.model"), "tokenizer.ggml.model"),
    "unknown tokenizer": (key("tokenizer.ggml.model", STRING, "rwkv"), "'rwkv'"),
    "no tokens": (drop("tokenizer.ggml.tokens"), "tokens|length|one per token"),
    "tokens as numbers": (key("tokenizer.ggml.tokens", ARRAY, Array(U32, [1] * g.N_VOCAB)), "tokens"),
    "0 tokens": (key("tokenizer.ggml.tokens", ARRAY, Array(STRING, [])), "vocabulary of 0"),
    "a token fewer": (tokens(lambda texts: texts.pop()), "one per token"),
    "a token more": (tokens(lambda texts: texts.append("more")), "one per token"),
    "tokens of the same text": (tokens(lambda texts: texts.__setitem__(7, texts[8])), "duplicate"),
    "two tokens named as an empty one is": (
        tokens(lambda texts: (texts.__setitem__(260, ""), texts.__setitem__(261, "[EMPTY_260]"))),
        "EMPTY",
    ),
    "tokens that run on": (key("tokenizer.ggml.tokens", ARRAY, Array(STRING, [b"\xff" * 8] * 9)), "exceeds the header"),
    "no merges": (drop("tokenizer.ggml.merges"), "no tokenizer.ggml.merges"),
    "merges as numbers": (key("tokenizer.ggml.merges", ARRAY, Array(U32, [1])), "no tokenizer.ggml.merges"),
    "types as u32": (types(Array(U32, [1] * g.N_VOCAB)), "not i32"),
    "types of too few": (types(Array(I32, [1] * (g.N_VOCAB - 1))), "one per token"),
    "types of too many": (types(Array(I32, [1] * (g.N_VOCAB + 1))), "one per token"),
    "type 7": (types(Array(I32, [7] * g.N_VOCAB)), "outside 0..6"),
    "type 257": (types(Array(I32, [257] * g.N_VOCAB)), "outside 0..6"),
    "negative type": (types(Array(I32, [-1] * g.N_VOCAB)), "outside 0..6"),
    "scores of too few": (key("tokenizer.ggml.scores", ARRAY, Array(F32, [0.0])), "scores"),
    "scores as strings": (key("tokenizer.ggml.scores", ARRAY, Array(STRING, ["1"] * g.N_VOCAB)), "scores"),
    "end of text beyond the vocabulary": (key("tokenizer.ggml.eos_token_id", U32, g.N_VOCAB), "eos_token_id"),
    "begin of text as i32": (key("tokenizer.ggml.bos_token_id", I32, -1), "bos_token_id"),
    "padding beyond the vocabulary": (key("tokenizer.ggml.padding_token_id", U32, 1 << 31), "padding_token_id"),
    "SentencePiece without bytes": (key("tokenizer.ggml.model", STRING, "llama"), "each byte|SentencePiece"),
    "a pre-tokenizer that asserts": (key("tokenizer.ggml.pre", STRING, "whitespace"), "whitespace"),
    # tensors
    "no embedding": (lambda file: file.drop_tensor("token_embd.weight"), "no tensor token_embd.weight"),
    "no last norm": (lambda file: file.drop_tensor("output_norm.weight"), "no tensor output_norm.weight"),
    "no norm in a layer": (lambda file: file.drop_tensor("blk.1.attn_norm.weight"), "no tensor blk.1.attn_norm"),
    "no attention in a layer": (lambda file: file.drop_tensor("blk.0.attn_output.weight"), "no tensor blk.0.attn_out"),
    "embedding of too few": (tensor("token_embd.weight", shape=[g.WIDTH, g.N_VOCAB - 1]), "shape"),
    "embedding the other way round": (tensor("token_embd.weight", shape=[g.N_VOCAB, g.WIDTH]), "shape"),
    "norm of f16": (tensor("output_norm.weight", kind=1), "must be f32"),
    "norm of q8_0": (tensor("blk.0.attn_norm.weight", kind=8), "must be f32"),
    "a matrix of three dimensions": (tensor("blk.0.ffn_up.weight", shape=[g.WIDTH, g.HIDDEN // 2, 2]), "shape"),
}  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", MALFORMED)
def test_whatever_is_wrong_is_refused_in_one_line(name: str, architecture: str, tmp_path: Path) -> None:
    change, message = MALFORMED[name]
    file = tiny(architecture)
    if name == "SentencePiece without bytes":
        tokens(lambda texts: texts.__setitem__(3, "xyz"))(file)
    change(file)
    assert re.search(message, refused(tmp_path / "model.gguf", file.encode()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_left_alone_runs(architecture: str, tmp_path: Path) -> None:
    """Every optional thing at once, and an extra key of each type."""
    file = tiny(architecture)
    for kind, value in ((U16, 7), (F64, 0.5), (BOOL, True), (STRING, "größer\n"), (ARRAY, Array(STRING, ["a", ""]))):
        file.set(f"extra.{kind}", kind, value)
    file.set("general.alignment", U32, 64)
    file.alignment = 64
    file.set(f"{architecture}.rope.scaling.type", STRING, "yarn").set(f"{architecture}.rope.scaling.factor", F32, 2.0)
    tokens(lambda texts: texts.__setitem__(260, ""))(file)
    path = tmp_path / "model.gguf"
    path.write_bytes(file.encode())
    header = read_header(path)
    assert (header.architecture, header.n_vocab, header.n_layer, header.context_length) == (architecture, 272, 2, 128)
    assert (header.quant, header.metadata["extra.8"]) == ("f32", "größer\n")
    assert header.token_types == bytes([1] * 256 + [3] + [5] * 15)
    assert load_all([path]) == {path: "ok"}


def test_every_place_where_a_file_may_be_cut_off(tmp_path: Path) -> None:
    data = tiny("phi2").encode()
    header = len(tiny("phi2").header())
    cuts = {*range(40), *range(40, header, 97), header, header + 31, *range(header, len(data), 20_001), len(data) - 32}
    for cut in sorted(cuts):
        refused(tmp_path / "model.gguf", data[:cut])
    assert len(cuts) > 100


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_flipped_bits_are_refused_or_harmless(architecture: str, tmp_path: Path) -> None:
    """250 flips in the header. What the check lets through (a name, a token's text, a value that is as good) must run
    or be refused by llama.cpp without an abort."""
    data, header = tiny(architecture).encode(), len(tiny(architecture).header())
    draw = random.Random(7)
    accepted = []
    for number in range(250):
        flipped = bytearray(data)
        # Half of the flips before the vocabulary, where the hyper-parameters are.
        flipped[draw.randrange(0, 700 if number % 2 else header)] ^= 1 << draw.randrange(8)
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(flipped)
        try:
            read_header(path)
            accepted.append(path)
        except ModelFileError as error:
            assert error.message.isprintable()
            path.unlink()
    assert 20 < len(accepted) < 150
    outcome = load_all(accepted)
    assert outcome.keys() == set(accepted)
    assert sum(said == "ok" for said in outcome.values()) > 10


def test_without_the_check_llama_cpp_brings_the_process_down(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny("phi2").set("phi2.block_count", U32, 0).encode())
    script = (
        "import os, sys; from cgcli.engine.binding import llama; api = llama().api\n"
        "api.llama_model_load_from_file(os.fsencode(sys.argv[1]), api.llama_model_default_params())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, check=False,
        env=os.environ | {"GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert run.returncode < 0


def test_a_flipped_bit_in_a_weight_is_not_a_headers_to_find(tmp_path: Path) -> None:
    data = bytearray(tiny("phi2").encode())
    data[-1000] ^= 1
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    read_header(path)
    with Model.load(path) as model:
        assert model.n_vocab == g.N_VOCAB


@pytest.mark.parametrize("kind", ["folder", "pipe", "empty", "absent"])
def test_what_is_no_file_at_all(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    with pytest.raises(ModelFileError, match=str(path)):
        read_header(path)


def test_an_architecture_that_only_llama_cpp_knows_passes_on_general_bounds(tmp_path: Path) -> None:
    file = tiny("llama")
    file.keys = [(str(name).replace("llama.", "qwen2."), kind, value) for name, kind, value in file.keys]
    file.set("general.architecture", STRING, "qwen2")
    file.set("qwen2.attention.head_count_kv", ARRAY, Array(U32, [2, 2]))
    file.tensors += [
        (f"blk.{layer}.attn_{part}.bias", Tensor([width]))
        for layer in range(2)
        for part, width in (("q", 64), ("k", 32), ("v", 32))
    ]
    path = tmp_path / "model.gguf"
    path.write_bytes(file.encode())
    assert load_all([path]) == {path: "ok"}
    refused(path, file.set("qwen2.block_count", U32, 600).encode())


def test_it_is_quick(embedded_model: Path) -> None:
    """Before every load, so 3 ms: no call for each of the 49,152 entries of the vocabulary."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        read_header(embedded_model)
    finally:
        sys.setprofile(None)
    assert 1000 < calls < 49_152 / 2
