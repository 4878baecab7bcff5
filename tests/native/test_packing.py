"""kernels/tests/packing_checker.c passes under the sanitizers, and fails for packing that is broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.compiling import assert_agrees, broken, check, compile_c

SOURCES = ("pack", "product", "product_ref", "attention", "attention_ref", "gelu", "gelu_ref")
BREAKS = {
    "a chunk is packed twice": ("chunk = packing->next++;", "chunk = packing->next++ / 2;"),
    "the last chunk goes on": ("(left < packing->chunk ? left", "(left < 0 ? left"),
}


@pytest.fixture(scope="module")
def objects(
    compiler: str, kernels: Path, sanitizers: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """What the checker needs besides hook.c, which it includes."""
    made = [tmp_path_factory.mktemp("packing") / f"{name}.o" for name in SOURCES]
    for target in made:
        source = kernels / f"ggml/{target.stem}.c"
        compile_c(compiler, "-O1", *sanitizers, f"-I{kernels / 'include'}", "-c", source, "-o", target)
    return made


def build(compiler: str, kernels: Path, folder: Path, *words: str | Path) -> Path:
    target = folder / "checker"
    include = (f"-I{kernels / 'include'}", f"-I{kernels / 'ggml'}")
    compile_c(compiler, *include, kernels / "tests/packing_checker.c", *words, "-lm", "-lpthread", "-ldl", "-o", target)
    return target


def test_threads_pack_what_one_call_packs(
    compiler: str, kernels: Path, sanitizers: list[str], objects: list[Path], tmp_path: Path
) -> None:
    assert_agrees(build(compiler, kernels, tmp_path, *sanitizers, *objects))


@pytest.mark.parametrize("what", BREAKS)
def test_broken_packing_fails(
    what: str, compiler: str, kernels: Path, sanitizers: list[str], objects: list[Path], tmp_path: Path
) -> None:
    copy = broken(kernels, tmp_path, "ggml/hook.c", *BREAKS[what])
    status, said = check(build(compiler, copy, tmp_path, *sanitizers, *objects))
    assert status != 0, said
