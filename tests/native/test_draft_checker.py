"""kernels/tests/draft_checker.c passes under the sanitizers, and fails for an index that is broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.compiling import assert_agrees, broken, check, compile_c

# What is broken: what stands in draft.c, what takes its place.
BREAKS = {
    "other tokens of the same slot count as a match": (
        "memcmp(draft->memory + place - n, ngram, n * sizeof *ngram) == 0",
        "ngram",
    ),
    "a shorter n-gram is enough": ("n * sizeof *ngram) == 0", "(n - 1) * sizeof *ngram) == 0"),
    "the first place stays the last": ("*slot = draft->length;", "*slot = *slot ? *slot : draft->length;"),
    "a truncation forgets nothing": ("= table.before[draft->length - 1];", "= draft->length;"),
    "a truncation forgets what it uncovers": ("= table.before[draft->length - 1];", "= 0;"),
    "the shortest match wins": (
        "n = draft->longest; n >= draft->shortest && seen == 0; n--",
        "n = draft->shortest; n <= draft->longest && seen == 0; n++",
    ),
    "a match is one too long": ("n < CGK_DRAFT_MATCH_MAX &&", "n <= CGK_DRAFT_MATCH_MAX &&"),
    "a guess starts over at the end": ("guesses[i - (draft->length - place)]", "guesses[0]"),
    "another sequence goes on there": ("|| !end)", "|| true)"),
    "the end itself is a place": ("if (place == draft->length)", "if (false)"),
    "shorter matches count": ("if (agreed == *matched)", "if (true)"),
    "the earliest of equals wins": ("if (same > most)", "if (same >= most)"),
    "one token more than fits": ("n_tokens > draft->capacity - draft->length", "n_tokens > draft->capacity + 1"),
}


def build(compiler: str, kernels: Path, target: Path, *flags: str) -> Path:
    sources = [kernels / name for name in ("tests/draft_checker.c", "draft.c", "philox.c")]
    compile_c(compiler, *flags, f"-I{kernels / 'include'}", *sources, "-o", target)
    return target


def test_the_index_agrees_with_a_scan_under_sanitizers(
    compiler: str, kernels: Path, sanitizers: list[str], tmp_path: Path
) -> None:
    assert_agrees(build(compiler, kernels, tmp_path / "checker", *sanitizers))


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_index_fails(what: str, compiler: str, kernels: Path, tmp_path: Path) -> None:
    copy = broken(kernels, tmp_path, "draft.c", *BREAKS[what])
    status, said = check(build(compiler, copy, tmp_path / "checker", "-O0"))
    assert status != 0, said
