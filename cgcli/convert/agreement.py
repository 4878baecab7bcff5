"""Holds a converted model's tokenizer to the checkpoint's own: the ids of a few hundred texts, where `tokenizers` is.

The files are read here as transformers reads them, by its own library, so that a setting which `tokenizer_files` does
not know of shows in the ids. It knows nothing of how the vocabulary was written.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.convert.tokenizer_files import TokenizerFiles
from cgcli.convert.verify import PROMPT
from cgcli.core.errors import ModelFileError
from cgcli.core.reading import shown

if TYPE_CHECKING:
    import tokenizers

GPT2: dict[str, Any] = {
    "version": "1.0",
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE"},
}
PARTS = ("normalizer", "pre_tokenizer", "post_processor", "model")  # of tokenizer.json, for the ids
RANDOM_TEXTS = 200
MAX_TOKENS = 64  # added ones that texts are made with

_PIECES = (
    "def", "return x", "self", "numpy", "HTTPResponse", "snake_case", "it's", "we'll", "I'VE", "x2", "12345", "0x1F",
    "3.14", "==", "->", "({[", "]})", "'''", '"', "\\n", "#", "!?", "\n", "\n\n", "\r\n", " ", "  ", "    ",
    "\t", "\t\t", "é", "naïve", "Größe", "Привет", "日本語", "한국어", "שלום", "½", "²", "e\u0301", "🙂",
    "👩\u200d💻", "\u00a0", "\u200b", "\x0c", "\x1b",
)  # fmt: skip


def check_ids(model_path: Path, files: TokenizerFiles) -> int | None:
    """Compare the ids of texts in the GGUF at `model_path` with those of the checkpoint's own tokenizer.

    How many texts were alike; None where `tokenizers` is not installed. Raises ModelFileError where one is not.
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        return None
    from cgcli.engine.model import Model

    own = _own(files)
    found = texts(files)
    with Model.load(model_path, gpu_layers=0, vocab_only=True) as model:
        for text in found:
            expected, ids = own.encode(text).ids, model.tokenize(text.encode())
            if ids != expected:
                at = next((i for i, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), 0)
                raise ModelFileError(
                    f"{files.place.parent}: its tokenizer is not GPT-2's: of {shown(text)} it makes "
                    f"{len(expected)} ids with {expected[at : at + 3]} at {at}, the converted one "
                    f"{len(ids)} with {ids[at : at + 3]}",
                    hint="only GPT-2's tokenizer can be converted",
                )
    return len(found)


def texts(files: TokenizerFiles) -> list[str]:
    """Texts of code, of runs of white space, of many scripts, and of the added tokens that are found in text."""
    code = PROMPT.decode()
    found = [code, *code.splitlines(keepends=True), *_PIECES]
    found += [f"x{run * length}y" for run in (" ", "\t", "\n") for length in range(1, 41)]
    found += [f"if x:\n{' ' * length}y = 1  \n\n" for length in range(1, 41)]
    added = [token.text for token in files.added.values() if token.in_text][:MAX_TOKENS]
    found += [f"{left}{right}" for left, right in pairwise(added)]
    found += [f"a{text}b {text} {text}" for text in added]
    draw = random.Random(0)
    pieces = [*_PIECES, *added]
    found += ["".join(draw.choice(pieces) for _ in range(draw.randint(2, 40))) for _ in range(RANDOM_TEXTS)]
    return sorted(found, key=len)  # so that a short one shows what differs


def _own(files: TokenizerFiles) -> tokenizers.Tokenizer:
    """The checkpoint's tokenizer: tokenizer.json with the added tokens of all files, or GPT-2's with the two others.

    The added tokens are entered into the vocabulary, too, so that each has the id that the files give it; no merge
    makes one.
    """
    import tokenizers

    found = files.content or GPT2
    content = {"version": "1.0"} | {part: found.get(part) for part in PARTS}
    ids = files.base | {token.text: token.id for token in files.added.values()}
    content["model"] = found["model"] | {"vocab": ids, "merges": files.merges}
    content["added_tokens"] = [
        {
            "id": token.id, "content": token.text, "normalized": token.normalized, "special": not token.in_text,
            "single_word": False, "lstrip": False, "rstrip": False,
        }
        for token in sorted(files.added.values(), key=lambda token: token.id)
    ]  # fmt: skip
    try:
        own: tokenizers.Tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises nothing more special
        raise ModelFileError(f"{files.place}: is no tokenizer that `tokenizers` reads: {shown(str(error))}") from None
    own.encode_special_tokens = True  # a special token that a text spells is text
    return own
