"""The names of a checkpoint's tensors as CodeGen publishes them, whatever wrapper the model was in when it was saved.

DistributedDataParallel puts `module.` before each name, torch.compile `_orig_mod.`, peft `base_model.model.`; the body
saved without its head (CodeGenModel) leaves `transformer.` out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cgcli.convert.tensor import StoredTensor
from cgcli.core.errors import ModelFileError
from cgcli.core.reading import shown

BODY = "transformer."
HEAD = "lm_head."
EMBEDDING = "wte.weight"
_ADAPTERS = ("lora_", "ia3_")  # parts of names that peft gives to weights which are not merged


def published_names(folder: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors by their published names. Raises ModelFileError where they are not CodeGen's, or of several models.

    The embedding tells: what stands before `transformer.wte.weight`, or before `wte.weight`, is left off every name.
    """
    for name in tensors:
        if any(part.startswith(_ADAPTERS) for part in name.split(".")):
            raise ModelFileError(
                f"{folder}: has the weights of an adapter beside the model's ({shown(name)})",
                hint="merge them first: merge_and_unload() in peft",
            )
    if BODY + EMBEDDING in tensors:
        return dict(tensors)
    embeddings = [name for name in tensors if f".{name}".endswith(f".{EMBEDDING}")]
    if len(embeddings) != 1:
        found = ", ".join(map(shown, embeddings[:3] or list(tensors)[:3])) or "none"
        count = f"{len(embeddings)} embeddings" if embeddings else f"no tensor {BODY}{EMBEDDING}"
        raise ModelFileError(f"{folder}: has {count}, so it is not one CodeGen model; its tensors: {found}, ...")
    prefix = embeddings[0].removesuffix(EMBEDDING)
    wrapper = prefix.removesuffix(BODY)
    named: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(wrapper)
        published = bare if bare.startswith((BODY, HEAD)) or not name.startswith(wrapper) else BODY + bare
        if published in named:
            raise ModelFileError(f"{folder}: has two tensors for {shown(published)}, one of them {shown(name)}")
        named[published] = tensor
    return named
