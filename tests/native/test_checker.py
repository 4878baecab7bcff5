"""kernels/tests/checker.c: it passes under the sanitizers, and it fails for kernels that are broken on purpose."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# What is broken: file, what stands there, what takes its place.
BREAKS = {
    "ties go to the higher id": ("sample.c", "if (logits[i] > max)", "if (logits[i] >= max)"),
    "the nucleus stops one short": ("sample.c", "while (measure[digit] < need)", "while (measure[digit] < need - 1)"),
    "one tie too many": ("sample.c", "(need + each - 1) / each", "need / each + 1"),
    "top-p of the wrong total": ("sample.c", "(double)all)", "(double)all * 0.999)"),
    "min-p is strict": ("sample.c", "{least - 1, 0}", "{least, 0}"),
    "a banned token weighs": ("sample.c", "banned && banned[i] ? 0 : weight", "weight"),
    "the draw has no candidate": ("sample.c", "{params->index, params->candidate", "{params->index, 0"),
    "half a product is lost": ("sample.c", "a1 * b0 + (a0 * b0 >> 32)", "(a0 * b0 >> 32)"),
    "a coefficient in its fourth digit": ("weight.h", "0x1.5bba14p-10f", "0x1.5bca14p-10f"),
    "weights are rounded": ("weight.h", "(uint64_t)(int64_t)(p * power)", "(uint64_t)llrintf(p * power)"),
    "NaN passes": ("sample.c", "if (isnan(logits[i]))", "if (false)"),
    "nine rounds": ("../philox.h", "round < 10", "round < 9"),
    "rank ignores ties": ("logprob.c", "&& i < token", "&& i <= token"),
}


def build(compiler: str, kernels: Path, target: Path, *flags: str) -> Path:
    sources = [kernels / "tests" / "checker.c", *sorted((kernels / "ref").glob("*.c"))]
    command = [compiler, *FLAGS, *flags, f"-I{kernels / 'include'}", *map(str, sources), "-lm", "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def test_every_tier_agrees_with_the_oracle_under_sanitizers(compiler: str, kernels: Path, tmp_path: Path) -> None:
    try:
        checker = build(compiler, kernels, tmp_path / "checker", *SANITIZERS)
    except subprocess.CalledProcessError as error:
        if "sanitize" not in error.stderr and "asan" not in error.stderr:
            pytest.fail(error.stderr)
        pytest.skip("this compiler has no sanitizers")
    run = subprocess.run([checker], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith(" cases, 0 faults\n")


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_kernel_fails(what: str, compiler: str, kernels: Path, tmp_path: Path) -> None:
    run = subprocess.run([broken(what, BREAKS[what], compiler, kernels, tmp_path)], capture_output=True, check=False)
    assert run.returncode != 0, run.stdout


def test_a_write_beside_the_scratch_is_seen(compiler: str, kernels: Path, tmp_path: Path) -> None:
    edit = ("sample.c", "return n_vocab * sizeof(uint64_t)", "return n_vocab * sizeof(uint64_t) - 1")
    try:
        checker = broken("scratch", edit, compiler, kernels, tmp_path, *SANITIZERS)
    except subprocess.CalledProcessError:
        pytest.skip("this compiler has no sanitizers")
    run = subprocess.run([checker], capture_output=True, text=True, check=False)
    assert run.returncode != 0 and "AddressSanitizer" in run.stderr


def broken(what: str, edit: tuple[str, str, str], compiler: str, kernels: Path, tmp_path: Path, *flags: str) -> Path:
    """The checker, built from a copy of the kernels with one edit."""
    copy = tmp_path / "kernels"
    shutil.copytree(kernels, copy)
    name, before, after = edit
    source = copy / "ref" / name
    text = source.read_text()
    assert text.count(before) == 1, f"{what}: the line to break is not there any more"
    source.write_text(text.replace(before, after))
    return build(compiler, copy, tmp_path / "checker", *flags)
