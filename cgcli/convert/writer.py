"""Writes the GGUF of a CodeGen checkpoint: metadata, vocabulary, then one tensor at a time.

Knows the GGUF keys of the `phi2` architecture; `mapping` makes the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli import __version__
from cgcli.convert.checkpoint import Checkpoint
from cgcli.convert.config import CodeGenConfig
from cgcli.convert.mapping import target_tensors
from cgcli.convert.vocabulary import GGUFVocabulary
from cgcli.core.progress import Progress

if TYPE_CHECKING:
    from gguf import GGUFWriter

ARCHITECTURE = "phi2"
MOSTLY_F16 = 1  # LLAMA_FTYPE_MOSTLY_F16
QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION


@dataclass(frozen=True)
class Provenance:
    """Where a converted model came from, as the file records it."""

    source: str  # `hf:owner/repo`, or a folder's name
    revision: str | None = None  # the commit that was fetched
    sha256: Mapping[str, str] = field(default_factory=dict)  # by file name; missing ones are hashed while converting


def write_gguf(
    path: Path,
    checkpoint: Checkpoint,
    config: CodeGenConfig,
    vocabulary: GGUFVocabulary,
    provenance: Provenance,
    progress: Progress,
) -> None:
    """Write the checkpoint to `path`, matrices as f16 and vectors as f32.

    Holds one tensor in memory at a time. Raises ModelFileError for a missing or malformed tensor, OSError if the write
    fails.
    """
    import numpy as np
    from gguf import GGUFWriter

    targets = list(target_tensors(checkpoint, config))
    writer = GGUFWriter(path, ARCHITECTURE)
    try:
        _add_hyperparameters(writer, config)
        _add_vocabulary(writer, vocabulary)
        _add_provenance(writer, config, provenance)
        for target in targets:
            dtype = np.dtype(np.float32 if len(target.shape) == 1 else np.float16)
            writer.add_tensor_info(target.name, target.shape, dtype, target.size_bytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        with progress.task("converting", sum(target.size_bytes for target in targets)) as task:
            for target in targets:
                writer.write_tensor_data(target.make())
                task.advance(target.size_bytes)
    finally:
        writer.close()


def _add_hyperparameters(writer: GGUFWriter, config: CodeGenConfig) -> None:
    shape = config.shape
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_eps(config.epsilon)
    writer.add_rope_dimension_count(shape.rotary)
    writer.add_file_type(MOSTLY_F16)
    writer.add_quantization_version(QUANTIZATION_VERSION)


def _add_vocabulary(writer: GGUFWriter, vocabulary: GGUFVocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.texts)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    # Never config.json's ids: they are wrong in old and in CodeGen2 files.
    writer.add_bos_token_id(vocabulary.end_of_text)
    writer.add_eos_token_id(vocabulary.end_of_text)
    writer.add_add_bos_token(False)


def _add_provenance(writer: GGUFWriter, config: CodeGenConfig, provenance: Provenance) -> None:
    writer.add_name(config.name or provenance.source)
    writer.add_string("cgcli.source", provenance.source)
    if provenance.revision:
        writer.add_string("cgcli.source.revision", provenance.revision)
    writer.add_array("cgcli.source.sha256", [f"{digest} {name}" for name, digest in provenance.sha256.items()])
    writer.add_uint32("cgcli.source.mp_num", config.mp_num)
    writer.add_string("cgcli.version", __version__)
