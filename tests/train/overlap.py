"""Overlap of training texts with the benchmarks: runs of ten words."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path

WORDS = 10


def overlap(texts: Iterable[str], shared: Path) -> set[tuple[str, ...]]:
    """The runs of ten words that some text shares with a prompt of MTPB, holes left out, or of HumanEval."""
    found = {run for text in texts for run in runs(text)}
    return found & benchmarks(shared)


def benchmarks(shared: Path) -> set[tuple[str, ...]]:
    problems = (shared / "data" / "mtpb.jsonl").read_text("utf-8").splitlines()
    tasks = gzip.decompress((shared / "data" / "HumanEval.jsonl.gz").read_bytes()).decode().splitlines()
    prompts = [
        piece for line in problems for prompt in json.loads(line)["prompts"] for piece in re.split(r"{.*?}", prompt)
    ]
    prompts += [json.loads(line)["prompt"] for line in tasks]
    return {run for prompt in prompts for run in runs(prompt)}


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return set(zip(*(words[index:] for index in range(WORDS)), strict=False))
