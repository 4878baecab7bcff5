"""kernels/tests/draft_checker.c passes under the sanitizers, and fails for an index that is broken on purpose."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.native.test_checker import FLAGS, SANITIZERS
from tests.support.patience import PATIENCE_S

# What is broken: what stands in draft.c, what takes its place.
BREAKS = {
    "other tokens of the same slot count as a match": (
        "while (last[slot] && memcmp(draft->memory + last[slot] - n, ngram, n * sizeof *ngram) != 0)",
        "while (false)",
    ),
    "a shorter n-gram is enough": ("n * sizeof *ngram) != 0", "(n - 1) * sizeof *ngram) != 0"),
    "the first place stays the last": ("*slot = draft->length;", "*slot = *slot ? *slot : draft->length;"),
    "a truncation forgets nothing": ("= table.before[draft->length - 1];", "= draft->length;"),
    "a truncation forgets what it uncovers": ("= table.before[draft->length - 1];", "= 0;"),
    "the shortest match wins": (
        "n = draft->longest; n >= draft->shortest && place == 0; n--",
        "n = draft->shortest; n <= draft->longest && place == 0; n++",
    ),
    "a match is one too long": ("*matched < CGK_DRAFT_MATCH_MAX", "*matched <= CGK_DRAFT_MATCH_MAX"),
    "a guess stops at the end": ("tokens[place + i - length]", "0"),
    "one token more than fits": ("n_tokens > draft->capacity - draft->length", "n_tokens > draft->capacity + 1"),
}


def build(compiler: str, kernels: Path, target: Path, source: Path, *flags: str) -> Path:
    sources = [kernels / "tests" / "draft_checker.c", source, kernels / "philox.c"]
    command = [compiler, *FLAGS, *flags, f"-I{kernels / 'include'}", *map(str, sources), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def test_the_index_agrees_with_a_scan_under_sanitizers(compiler: str, kernels: Path, tmp_path: Path) -> None:
    try:
        checker = build(compiler, kernels, tmp_path / "checker", kernels / "draft.c", *SANITIZERS)
    except subprocess.CalledProcessError as error:
        if "sanitize" not in error.stderr and "asan" not in error.stderr:
            pytest.fail(error.stderr)
        pytest.skip("this compiler has no sanitizers")
    run = subprocess.run([checker], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith(" cases, 0 faults\n")


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_index_fails(what: str, compiler: str, kernels: Path, tmp_path: Path) -> None:
    before, after = BREAKS[what]
    text = (kernels / "draft.c").read_text()
    assert text.count(before) == 1, f"{what}: the line to break is not there any more"
    source = tmp_path / "draft.c"
    source.write_text(text.replace(before, after))
    checker = build(compiler, kernels, tmp_path / "checker", source)
    run = subprocess.run([checker], capture_output=True, timeout=PATIENCE_S, check=False)
    assert run.returncode != 0, run.stdout
