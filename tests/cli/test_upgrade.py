"""A home that version 0.1.0 wrote, byte for byte but for paths, sizes and hashes: this version reads all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.hub.tiny import sha256
from tests.support.cli import run as cgcli

MANIFEST = """{
  "name": "NAME",
  "quant": "f16",
  "file": "FILE",
  "size": SIZE,
  "sha256": "HASH",
  "source": "SOURCE",
  "revision": REVISION,
  "licence": LICENCE,
  "tool_version": "0.1.0",
  "created": "2026-11-28T15:41:10+00:00",
  "report": REPORT
}
"""
PASSES = """{
  "Intel(R) Xeon(R) Processor, 2 threads": {
    "1": 1.0,
    "2": 1.383,
    "16": 1.579
  }
}
"""
JOURNAL = (
    '{"format": 1, "id": "20261128-1931", "created": "2026-11-28T19:31:29+00:00", "language": "python",'
    ' "cgcli": "0.1.0", "prefix": "#!/usr/bin/env python3\\n\\n",'
    ' "layout": {"mark": "#", "whole_prompt": true, "after": null}, "turns": []}\n'
    '{"time": "2026-11-28T19:31:39+00:00", "event": "commit", "parent": 0, "operation": {"op": "add", "turn":'
    ' {"prompt": "print two", "completion": "print(2)", "candidates": [{"text": "print(2)", "tokens": 4,'
    ' "mean_logprob": -0.35, "finish_reason": "stop", "draw": 0, "kept": 0, "ran": "",'
    ' "guard": {"cuts": [], "imports": [], "standing": ""}}], "accepted": 0, "facts": {"model": "pulled",'
    ' "quant": "f16", "seed": 3, "temperature": 0.2, "top_p": 0.95, "top_k": 0, "min_p": 0.0, "max_tokens": 256,'
    ' "context": "01f0937c1fe68b28", "prompt_tokens": 17, "prompt_perplexity": 33.2, "folded": 0, "seconds": 6.0,'
    ' "guard": "3.11.7"}}}}\n'
)


def manifest(name: str, file: str, model: Path, source: str, *rest: str) -> str:
    data = model.read_bytes()
    words = {"NAME": name, "FILE": file, "SIZE": str(len(data)), "HASH": sha256(data), "SOURCE": source}
    text = MANIFEST
    for word, value in (words | dict(zip(("REVISION", "LICENCE", "REPORT"), rest, strict=True))).items():
        text = text.replace(word, value)
    return text


def test_what_the_last_version_wrote_is_there(tmp_path: Path, tiny_model: Path) -> None:
    home = tmp_path / "home"
    pulled, linked = home / "store" / "pulled", home / "store" / "linked"
    for folder in (pulled, linked, home / "data" / "programs"):
        folder.mkdir(parents=True)
    shutil.copy(tiny_model, pulled / "f16.gguf")
    report = '{\n    "requantized_from": "f16"\n  }'
    (pulled / "f16.json").write_text(
        manifest("pulled", "f16.gguf", tiny_model, "wheel:tiny==0.1.2/tiny.gguf", "null", '"Apache-2.0"', report)
    )
    (pulled / "f16.passes").write_text(PASSES)
    source = f"file:{tiny_model}"
    (linked / "f16.json").write_text(manifest("linked", str(tiny_model), tiny_model, source, "null", "null", "null"))
    (home / "config.toml").write_text('model = "pulled"\ntop_p = 0.9\n')
    (home / "data" / "programs" / "20261128-1931.jsonl").write_text(JOURNAL)

    listed = {one["name"] for one in json.loads(cgcli("models", "--json").out) if one["pulled"]}
    assert {"pulled", "linked"} <= listed
    for name in ("pulled", "linked"):
        assert cgcli("models", "verify", name).status == 0
        assert cgcli("gen", "-m", name, "--max-tokens", "4", "--seed", "1", "print two").status == 0
    assert cgcli("sessions", "show", "20261128-1931").out == b"#!/usr/bin/env python3\n\n# print two\nprint(2)\n"
    findings = json.loads(cgcli("doctor", "--json").out)
    assert not [one for one in findings if one["broken"]]
