"""Reads the header of a GGUF file and checks its values, so that llama.cpp neither aborts nor hangs on them.

llama.cpp aborts the whole process on some wrong headers and hangs on others, so every file is checked here first. The
`phi2` and `llama` architectures are checked in full, others only for the bounds that llama.cpp asserts for all. Each
rule stands for an assertion or an unchecked use in llama.cpp's src/llama-model.cpp (`load_hparams`),
src/llama-vocab.cpp (`load`), src/models/*.cpp or ggml's operators. Files that llama.cpp itself rejects cleanly (an
unknown architecture or pre-tokenizer, an extra tensor) are left to it.
"""

from __future__ import annotations

import math
from pathlib import Path

from cgcli.engine.gguf import TOKEN_TYPES, TOKENS, GGUFHeader, parse_header, printable

MERGES = "tokenizer.ggml.merges"
MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
MAX_CONTEXT = 1 << 26  # tokens
MAX_WIDTH = 1 << 24
MIN_VOCAB = 12  # llama.cpp takes id 11 for a missing <bos> and <eos>
TOKENIZERS = ("gpt2", "llama", "gemma4")
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
NOT_MODELS = {
    "adapter": "a LoRA adapter",
    "mmproj": "a multimodal projector",
    "imatrix": "an importance matrix",
    "vocab": "a vocabulary",
}


def read_header(path: Path) -> GGUFHeader:
    """Read and check the header of a GGUF file. Raises ModelFileError, in one line, for the first fault."""
    header = parse_header(path)
    _check(header)
    return header


def _check(header: GGUFHeader) -> None:
    """Raises ModelFileError for the first value that llama.cpp cannot handle."""
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise header.fail("has no general.architecture")
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise header.fail(f"is {NOT_MODELS.get(str(kind), f'a GGUF of type {printable(str(kind))}')}, not a model")
    splits = header.metadata.get("split.count", 1)
    if splits not in (0, 1):
        raise header.fail(f"is one of {splits} parts of a split model: merge them first (llama-gguf-split --merge)")
    values = _Values(header, architecture)
    _check_everywhere(values)
    _check_rope(values)
    _check_experts(values)
    _check_vocabulary(values)
    _check_vectors(header)
    if architecture in ("phi2", "llama"):
        _check_block(values)


class _Values:
    """Typed and bounded access to the hyper-parameters of one architecture."""

    def __init__(self, header: GGUFHeader, architecture: str) -> None:
        self.header = header
        self.architecture = architecture

    def key(self, name: str) -> str:
        return name if name.startswith(("tokenizer.", "general.")) else f"{self.architecture}.{name}"

    def __contains__(self, name: str) -> bool:
        return self.key(name) in self.header.metadata

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A u32 within low..high; `default` if it may be missing."""
        return int(self._bounded(name, "a u32", low, high, default))

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """An f32 within low..high; `default` if it may be missing."""
        return self._bounded(name, "an f32", low, high, default)

    def _bounded(self, name: str, what: str, low: float, high: float, default: float | None) -> float:
        key = self.key(name)
        value = self.header.metadata.get(key)
        if value is None and key not in self.header.arrays:
            if default is None:
                raise self.header.fail(f"has no {printable(key)}")
            return default
        if self.header.kinds.get(key) != what.split()[1] or not isinstance(value, int | float):
            raise self.header.fail(f"{printable(key)} is not {what}")
        if not low <= value <= high:  # false for a NaN too
            raise self.header.fail(f"{printable(key)} must be within {low}..{high}, but is {value}")
        return value

    def per_layer(self, name: str, low: int, high: int, n_layer: int) -> None:
        """A u32, or an array with one per layer."""
        key = self.key(name)
        value = self.header.metadata.get(key)
        if key not in self.header.arrays:
            self.integer(name, low, high, default=low)
        elif not isinstance(value, tuple) or len(value) != n_layer:
            raise self.header.fail(f"{printable(key)} must have {n_layer} numbers, one per layer")
        elif not all(low <= number <= high for number in value):
            raise self.header.fail(f"{printable(key)} has a value outside {low}..{high}")

    def text(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        key = self.key(name)
        value = self.header.metadata.get(key, default)
        if value not in choices:
            shown = printable(value) if isinstance(value, str) else value
            raise self.header.fail(f"{printable(key)} must be one of {', '.join(choices)}, but is {shown}")
        return str(value)


def _check_everywhere(values: _Values) -> None:
    header = values.header
    values.integer("context_length", 1, MAX_CONTEXT)
    width = values.integer("embedding_length", 1, MAX_WIDTH)
    n_layer = values.integer("block_count", 1, MAX_LAYERS)
    values.integer("nextn_predict_layers", 0, n_layer - 1, default=0)
    values.integer("embedding_length_out", 0, MAX_WIDTH, default=width)
    values.per_layer("attention.head_count", 0, MAX_WIDTH, n_layer)
    values.per_layer("attention.head_count_kv", 0, MAX_WIDTH, n_layer)
    values.per_layer("feed_forward_length", 0, MAX_WIDTH, n_layer)
    values.integer("pooling_type", 0, 0, default=0)
    if header.metadata.get(values.key("attention.causal"), True) is not True:
        raise header.fail("has non-causal attention, so it cannot generate text")
    for name in ("layer_norm_epsilon", "layer_norm_rms_epsilon", "group_norm_epsilon"):
        values.number(f"attention.{name}", 0.0, 1.0, default=0.0)
    for key, value in header.metadata.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise header.fail(f"{printable(key)} is {value}")
    if not header.tensors:
        raise header.fail("has no tensors")


def _check_rope(values: _Values) -> None:
    values.text("rope.scaling.type", ROPE_SCALINGS, default="linear")
    values.number("rope.freq_base", 1.0, 1e12, default=1e4)
    values.number("rope.scaling.factor", 0.0, 1e6, default=1.0)
    values.number("rope.scale_linear", 0.0, 1e6, default=1.0)
    values.number("rope.scaling.attn_factor", 0.0, 1e6, default=1.0)
    values.integer("rope.scaling.original_context_length", 1, MAX_CONTEXT, default=1)
    for suffix in ("", "_swa"):
        name = f"rope.dimension_count{suffix}"
        rotary = values.integer(name, 0, MAX_WIDTH, default=0)
        if rotary % 2:
            raise values.header.fail(f"{printable(values.key(name))} must be even, but is {rotary}")
        for part in ("key", "value"):
            values.integer(f"attention.{part}_length{suffix}", 1, MAX_WIDTH, default=1)


def _check_experts(values: _Values) -> None:
    count = values.integer("expert_count", 0, MAX_EXPERTS, default=0)
    if f"{values.architecture}.expert_used_count" in values.header.arrays:
        n_layer = values.integer("block_count", 1, MAX_LAYERS)
        values.per_layer("expert_used_count", min(count, 1), count, n_layer)
    else:
        values.integer("expert_used_count", min(count, 1), count, default=0 if count == 0 else None)
    groups = values.integer("expert_group_count", 0, max(count - 1, 0), default=0)
    if groups > 1:
        if count % groups:
            raise values.header.fail(f"{count} experts cannot be divided into {groups} groups")
        values.integer("expert_group_used_count", 1, groups - 1)


def _check_vocabulary(values: _Values) -> None:
    header = values.header
    model = values.text("tokenizer.ggml.model", TOKENIZERS)
    # llama.cpp asserts that the words of this pre-tokenizer have no spaces, but they do.
    if header.metadata.get("tokenizer.ggml.pre") == "whitespace":
        raise header.fail("has the pre-tokenizer 'whitespace', which crashes llama.cpp")
    tokens = header.arrays.get(TOKENS)
    if tokens is None or tokens.kind != "string":
        raise header.fail(f"has no {TOKENS}")
    if not MIN_VOCAB <= tokens.length <= MAX_WIDTH:
        raise header.fail(f"has a vocabulary of {tokens.length} tokens")
    for key, kinds in (TOKEN_TYPES, ("i32",)), ("tokenizer.ggml.scores", ("f32", "i32")):
        if key in header.arrays or key in header.metadata:
            found = header.arrays.get(key)
            if found is None or found.kind not in kinds or found.length != tokens.length:
                raise header.fail(f"{key} must be an array of {tokens.length} {kinds[0]}, one per token")
    if model == "llama":
        if not header.byte_tokens:  # llama.cpp's tokenizer would throw through its C interface
            raise header.fail("has a SentencePiece vocabulary without a token for each byte")
    elif MERGES not in header.arrays or header.arrays[MERGES].kind != "string":
        raise header.fail(f"has no {MERGES}")
    for key in header.metadata:
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id"):
            values.integer(key, 0, tokens.length - 1)
    for name in ("bos", "eos"):
        added = header.metadata.get(f"tokenizer.ggml.add_{name}_token", False)
        if added is True and f"tokenizer.ggml.{name}_token_id" not in header.metadata and model == "gemma4":
            raise header.fail(f"adds a <{name}> token, but has no tokenizer.ggml.{name}_token_id")


def _check_vectors(header: GGUFHeader) -> None:
    """Norms and biases: ggml aborts on all types but f32."""
    for tensor in header.tensors.values():
        if len(tensor.shape) == 1 and tensor.type != "f32":
            raise header.fail(f"tensor {tensor.name} is {tensor.type}, but vectors must be f32")


def _check_block(values: _Values) -> None:
    """Hyper-parameters and every tensor of `phi2` (src/models/phi2.cpp) or `llama` (src/models/llama.cpp)."""
    header, phi2 = values.header, values.architecture == "phi2"
    width = values.integer("embedding_length", 1, MAX_WIDTH)
    n_layer = values.integer("block_count", 1, MAX_LAYERS)
    hidden = values.integer("feed_forward_length", 1, MAX_WIDTH)
    n_head = values.integer("attention.head_count", 1, width)
    n_head_kv = values.integer("attention.head_count_kv", 1, n_head, default=n_head)
    n_expert = values.integer("expert_count", 0, 0 if phi2 else MAX_EXPERTS, default=0)
    values.integer("nextn_predict_layers", 0, 0, default=0)
    values.integer("embedding_length_out", width, width, default=width)
    values.number(f"attention.layer_norm_{'' if phi2 else 'rms_'}epsilon", 1e-12, 1.0)
    if n_head % n_head_kv:
        raise header.fail(f"{n_head} heads are not divisible by {n_head_kv} key and value heads")
    if width % n_head and (phi2 or "attention.key_length" not in values):
        raise header.fail(f"an embedding of {width} is not divisible by {n_head} heads")
    head = values.integer("attention.key_length", 1, MAX_WIDTH, default=width // n_head)
    if phi2 and head * n_head != width:
        raise header.fail(f"{n_head} heads of {head} do not add up to an embedding of {width}")
    values.integer("attention.value_length", head, head, default=width // n_head)
    rotary = values.integer("rope.dimension_count", 2 if phi2 else head, head, default=head)
    if rotary % 2 or values.integer("attention.value_length", head, head, default=width // n_head) != head:
        raise header.fail(f"heads of {head} cannot have {rotary} rotary dimensions")
    _check_tensors(values, n_layer, width, hidden, head * n_head, head * n_head_kv, dense=n_expert == 0)


def _check_tensors(values: _Values, n_layer: int, width: int, hidden: int, q: int, kv: int, *, dense: bool) -> None:
    header, phi2 = values.header, values.architecture == "phi2"
    vocabulary = header.n_vocab
    required: dict[str, tuple[int, ...]] = {"token_embd.weight": (width, vocabulary), "output_norm.weight": (width,)}
    optional: dict[str, tuple[int, ...]] = {}
    (required if phi2 else optional)["output.weight"] = (width, vocabulary)
    layer: dict[str, tuple[int, ...]] = {"attn_norm.weight": (width,), "attn_output.weight": (q, width)}
    qkv = {"attn_q.weight": (width, q), "attn_k.weight": (width, kv), "attn_v.weight": (width, kv)}
    fused = {"attn_qkv.weight": (width, q + 2 * kv)}
    feed: dict[str, tuple[int, ...]] = {"ffn_up.weight": (width, hidden), "ffn_down.weight": (hidden, width)}
    biases: dict[str, tuple[int, ...]] = {
        "attn_output.bias": (width,),
        "ffn_up.bias": (hidden,),
        "ffn_down.bias": (width,),
    }
    qkv_biases = {"attn_qkv.bias": (q + 2 * kv,), "attn_q.bias": (q,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
    if phi2:
        required |= {"output_norm.bias": (width,), "output.bias": (vocabulary,)}
        layer |= {"attn_norm.bias": (width,)} | feed | biases
    else:
        layer |= {"ffn_norm.weight": (width,)}
        if dense:
            layer |= feed | {"ffn_gate.weight": (width, hidden)}
    for index in range(n_layer):
        block = f"blk.{index}."
        attention = fused if f"{block}attn_qkv.weight" in header.tensors else qkv
        required |= {block + name: shape for name, shape in (layer | attention).items()}
        optional |= {block + name: shape for name, shape in (biases | qkv_biases).items()}
    for name, shape in (optional | required).items():
        tensor = header.tensors.get(name)
        if tensor is None:
            if name in required:
                raise header.fail(f"has no tensor {name}")
        elif tensor.shape != shape:
            raise header.fail(f"tensor {name} must have shape {list(shape)}, but has {list(tensor.shape)}")
