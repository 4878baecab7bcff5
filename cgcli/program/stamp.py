"""A stamp: a comment line in a program that says how its last turns were drawn, so that `cgcli replay` needs no log.

    # drawn by cgcli 0.1.0 with smollm2-135m q8_0, seed 1; cgcli replay: eJyNUk1v3DAM…

The last word is the record as JSON, compressed (zlib, with a preset dictionary), in base64. Stamps are no part of a
program's text: the model does not read them, and a text is compared without them.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass, replace

from cgcli.core.errors import CgcliError
from cgcli.core.reading import parse_json
from cgcli.core.typed import plain, typed
from cgcli.program.program import Candidate, Layout, Program, Turn
from cgcli.program.recorded import Recorded, file_digest
from cgcli.terminal.text import one_line, visible

_STAMP = re.compile(r"^\S{1,4} drawn by cgcli [^\n]{1,200}; cgcli replay: (\S+)\r?(?:\n|\Z)", re.MULTILINE)
_MAX_BYTES = 1 << 24  # of a record
_DICTIONARY = (  # what records have in common; another dictionary cannot read the stamps that this one wrote
    b'{"digest": "", "before": 0, "prefix": 24, "ends": [], "turns": [{"prompt": "print the ", "completion": "", '
    b'"candidates": [{"text": "", "tokens": 0, "mean_logprob": null, "finish_reason": "stop", "draw": 0, "kept": 0, '
    b'"temperature": null, "ran": "", "guard": null}], "accepted": 0, "facts": {"model": "smollm2-135m", "quant": '
    b'"q8_0", "seed": , "temperature": 0.2, "top_p": 0.95, "top_k": 0, "min_p": 0.0, "max_tokens": 256, "context": "", '
    b'"prompt_tokens": 0, "prompt_perplexity": null, "folded": 0, "seconds": 0.0, "guard": "3.11.", "stops": ["```"], '
    b'"batch": 1, "others": null, "setup": {"sha256": "", "file": "", "cgcli": "0.1.0", "processor": "Intel(R) Xeon(R) '
    b'Processor", "threads": 2, "gpu_layers": 0, "window": 8192, "exact": false, "draft": "ngram"}}, "picked": null, '
    b'"start": ""}], "language": "python", "layout": {"mark": "#", "whole_prompt": true, "after": null}, '
    b'"comments": true}'
)


@dataclass(frozen=True)
class _Record:
    digest: str  # of the text, without stamps
    before: int  # characters of the program so far
    prefix: int  # characters of the program before the first turn
    ends: tuple[int, ...]  # characters of each completion
    turns: tuple[Turn, ...]  # with the chosen candidate alone; their texts are in the program
    language: str
    layout: Layout
    comments: bool


def stamp(one: Recorded) -> str:
    """The line for a program that was drawn. Its layout must have comments."""
    turns = [_lean(turn) for turn in one.program.turns]
    record = _Record(
        file_digest(one.text),
        len(one.before),
        len(one.program.prefix),
        tuple(len(turn.completion) for turn in one.program.turns),
        tuple(turns),
        one.language,
        one.program.layout,
        one.comments,
    )
    compress = zlib.compressobj(9, zdict=_DICTIONARY)
    data = compress.compress(json.dumps(plain(record)).encode()) + compress.flush()
    packed = base64.b64encode(data).decode()
    facts = turns[-1].facts
    assert facts
    drew = f"cgcli {facts.setup.cgcli if facts.setup else ''} with {facts.model} {facts.quant}, seed {facts.seed}"
    return f"{one.program.layout.mark} drawn by {one_line(visible(drew))}; cgcli replay: {packed}\n"


def _lean(turn: Turn) -> Turn:
    """A turn without what is in the program, or is not needed to draw it again."""
    assert turn.accepted is not None and turn.facts
    chosen = replace(turn.candidates[turn.accepted], text="", tokens=0, mean_logprob=None, guard=None, ran="")
    facts = replace(turn.facts, prompt_tokens=0, prompt_perplexity=None, seconds=0.0)
    return replace(turn, completion="", candidates=(chosen,), accepted=0, facts=facts, picked=None)


def without_stamps(text: str) -> str:
    """The text without its stamps."""
    return _STAMP.sub("", text) if "; cgcli replay: " in text else text


def stamped(text: str, wanted: str) -> Recorded | None:
    """What a stamp in `text` says of how the text `wanted` was drawn; None if there is no stamp for it.

    Raises CgcliError for a stamp that is damaged.
    """
    for packed in reversed(_STAMP.findall(text)):
        record = _unpacked(packed)
        if record.digest == file_digest(wanted):
            return _recorded(record, wanted)
    return None


def has_stamp(text: str) -> bool:
    return _STAMP.search(text) is not None


def _unpacked(packed: str) -> _Record:
    try:
        data = zlib.decompressobj(zdict=_DICTIONARY)
        plain = data.decompress(base64.b64decode(packed, validate=True), _MAX_BYTES)
        found: _Record = typed(_Record, parse_json(plain), "record")
    except (ValueError, zlib.error) as error:
        raise _damaged(str(error)) from error
    return found


def _recorded(record: _Record, text: str) -> Recorded:
    program = Program(text[: record.prefix], layout=record.layout)
    printed = record.prefix
    try:
        for turn, length in zip(record.turns, record.ends, strict=True):
            opening = program.opening(turn.prompt)
            printed += len(opening if record.comments else program.opening(turn.prompt, comments=False))
            code = text[printed : printed + length]
            chosen: Candidate = turn.candidates[turn.accepted or 0]
            program = program.add(replace(turn, completion=code, candidates=(replace(chosen, text=code),)))
            printed += length + len(program.closing(code)) if length else 0
    except (ValueError, IndexError) as error:
        raise _damaged(str(error)) from error
    before = text[: record.before]
    found = Recorded(program, record.language, before, record.comments, "its stamp")
    if found.text != text:
        raise _damaged("its lengths are not those of the text")
    return found


def _damaged(words: str) -> CgcliError:
    return CgcliError(f"the stamp is damaged: {words}", hint="remove the line; the log may know the program")
