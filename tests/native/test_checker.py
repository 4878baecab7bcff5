"""kernels/tests/checker.c passes under the sanitizers, and fails for kernels that are broken on purpose."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# The tiers of kernels/cpu/: bytes of a vector, what the processor must have, and its flags for the compiler. Where the
# processor has it not, the tier is compiled without them: then its few special operations are done in plain C.
TIERS = {"neon": (16, [], []), "avx2": (32, ["avx2"], ["-mavx2"]),
         "avx512": (64, ["avx512f", "avx512dq"], ["-mavx512f", "-mavx512dq"])}  # fmt: skip

# What is broken: file, what stands there, what takes its place.
BREAKS = {
    "ties go to the higher id": ("ref/sample.c", "if (logits[i] > max)", "if (logits[i] >= max)"),
    "the nucleus is short": ("ref/sample.c", "while (measure[digit] < need)", "while (measure[digit] < need - 1)"),
    "one tie too many": ("ref/sample.c", "(need + each - 1) / each", "need / each + 1"),
    "top-p of the wrong total": ("choice.h", "(double)all)", "(double)all * 0.999)"),
    "min-p is strict": ("ref/sample.c", "{least - 1, 0}", "{least, 0}"),
    "a banned token weighs": ("ref/sample.c", "banned && banned[i] ? 0 : weight", "weight"),
    "the draw has no candidate": ("choice.h", "{params->index, params->candidate", "{params->index, 0"),
    "half a product is lost": ("choice.h", "a1 * b0 + (a0 * b0 >> 32)", "(a0 * b0 >> 32)"),
    "a coefficient in its fourth digit": ("ref/weight.h", "0x1.5bba14p-10f", "0x1.5bca14p-10f"),
    "weights are rounded": ("ref/weight.h", "(uint64_t)(int64_t)(p * power)", "(uint64_t)llrintf(p * power)"),
    "NaN passes": ("ref/sample.c", "if (isnan(logits[i]))", "if (false)"),
    "nine rounds": ("philox.h", "round < 10", "round < 9"),
    "rank ignores ties": ("ref/logprob.c", "&& i < token", "&& i <= token"),
    "a later tie first": ("ref/top.h", "logits[i] > logits[ids[place - 1]]", "logits[i] >= logits[ids[place - 1]]"),
    "a batch has one mask": ("dispatch.c", "banned ? banned[row] : NULL", "banned ? banned[0] : NULL"),
    "vector weights are rounded": ("cpu/row.h", "whole((floats)((words)p + power.n))", "(floats)((words)p + power.n)"),
    "sums of vectors pass 32 bits": ("cpu/row.h", "SUM_VECTORS_MAX = 2048", "SUM_VECTORS_MAX = 1 << 20"),
    "a tile's end is lost": ("cpu/weigh.h", "i < start + TILE_ENTRIES; i", "i < start + TILE_ENTRIES - LANES; i"),
    "weights end too early": ("cpu/weigh.h", "(row - max) * scale > (float)WEIGHT_END", "(row - max) * scale > -30.0f"),
    "a list of few bans nothing": ("cpu/weigh.h", "may &= ~banned_at(banned, work->n, i)", "(void)banned"),
    "few weights end too early": ("cpu/weigh.h", "i) - max) * scale > (float)WEIGHT_END", "i) - max) * scale > -20.0f"),
    "ties of few do not end": ("cpu/sample.c", "ties -= tie;", ""),
    "a vector bans nothing": ("cpu/weigh.h", "weighs &= ~banned_at(banned, work->n, i)", "(void)banned"),
    "a guess is believed": ("cpu/select.h", "found = above < need && need - above <=", "found = need + above == 0 ||"),
    "entries that may be needed are left out": ("cpu/select.h", "work->n * 0.999", "work->n * 2"),
    "a split takes its lower end": ("cpu/select.h", "inside = weights > work->low", "inside = weights >= work->low"),
    "ties are not counted": ("cpu/sample.c", "+ kept.ties * integer(kept.floor)", ""),
    "min-p below what filters kept": ("cpu/sample.c", "if (least_float > kept.floor)", "if (least > 0)"),
    "a vector's rank ignores ties": ("cpu/logprob.c", "(ids < token)", "(ids <= token)"),
}  # fmt: skip


def build(
    compiler: str,
    kernels: Path,
    target: Path,
    tiers: list[str],
    *flags: str,
    sanitizers: Sequence[str] = (),
    whole: Path | None = None,
    edited: str = "",
) -> Path:
    """The checker of these tiers, "ref" among them or not. Only what is checked is instrumented.

    whole: folder of an earlier build, whose objects serve again where the `edited` file has no part in them.
    """
    flags = (*flags, f"-I{kernels / 'include'}")
    names = ", ".join(f"TIER({tier})" for tier in tiers)
    objects = {"checker": ["tests/checker.c", f"-DTIERS={names}"], "dispatch": ["dispatch.c", *sanitizers]}
    objects["philox"] = ["philox.c", *sanitizers]
    for name in ("sample", "logprob"):
        objects[f"ref-{name}"] = [f"ref/{name}.c", *sanitizers]
    for tier in set(tiers) - {"ref"}:
        size, needed, special = TIERS[tier]
        own = [f"-DTIER_NAME={tier}", f"-DVECTOR_BYTES={size}", *(special if processor_has(needed) else [])]
        for name in ("sample", "logprob"):
            objects[f"{tier}-{name}"] = [f"cpu/{name}.c", *own, *sanitizers]
    header, folder = edited.endswith(".h"), str(Path(edited).parent)

    def compile_one(name: str) -> str:
        source, *own = objects[name]
        if whole and source != edited and not (header and source.startswith(folder if folder != "." else "")):
            return str(whole / f"{name}.o")
        run(compiler, *FLAGS, *own, *flags, "-c", str(kernels / source), "-o", str(target.with_name(f"{name}.o")))
        return str(target.with_name(f"{name}.o"))

    with ThreadPoolExecutor(2) as pool:
        run(compiler, *flags, *sanitizers, *pool.map(compile_one, objects), "-lm", "-o", str(target))
    return target


@pytest.fixture(scope="session")
def whole(compiler: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each tier, the folder of a checker that nothing is broken in."""
    folders = {tier: tmp_path_factory.mktemp(tier) for tier in ("ref", "avx2")}
    for tier, folder in folders.items():
        build(compiler, kernels, folder / "checker", [tier], "-O1")
    return folders


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def processor_has(features: list[str]) -> bool:
    file = Path("/proc/cpuinfo")
    return file.exists() and set(features) <= set(file.read_text().split())


def test_every_tier_agrees_with_the_oracle_under_sanitizers(compiler: str, kernels: Path, tmp_path: Path) -> None:
    try:
        checker = build(compiler, kernels, tmp_path / "checker", ["ref", *TIERS], sanitizers=SANITIZERS)
    except subprocess.CalledProcessError as error:
        if "sanitize" not in error.stderr and "asan" not in error.stderr:
            pytest.fail(error.stderr)
        pytest.skip("this compiler has no sanitizers")
    done = subprocess.run([checker], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" cases, 0 faults\n")


@pytest.mark.skipif(platform.machine() == "aarch64", reason="on an ARM processor the test above runs NEON")
def test_neon_agrees_with_the_oracle_on_an_emulated_processor(kernels: Path, tmp_path: Path) -> None:
    cross, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if cross is None or emulator is None:
        pytest.skip("needs aarch64-linux-gnu-gcc and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    checker = build(cross, kernels, tmp_path / "checker", ["neon"], "-static", "-DSIZES=1,17,64,4097")
    done = subprocess.run([emulator, checker], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_kernel_fails(what: str, compiler: str, kernels: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    checker = broken(what, BREAKS[what], compiler, kernels, tmp_path, whole=whole)
    done = subprocess.run([checker], capture_output=True, check=False)
    assert done.returncode != 0, done.stdout


@pytest.mark.parametrize(
    "edit",
    [
        ("ref/sample.c", "return n_vocab * sizeof(uint64_t)", "return n_vocab * sizeof(uint64_t) - 1"),
        ("cpu/sample.c", "return own;", "return own - LANES * 4;"),
    ],
    ids=["ref", "cpu"],
)
def test_a_write_beside_the_scratch_is_seen(
    edit: tuple[str, str, str], compiler: str, kernels: Path, tmp_path: Path
) -> None:
    try:
        checker = broken("scratch", edit, compiler, kernels, tmp_path, sanitizers=SANITIZERS)
    except subprocess.CalledProcessError:
        pytest.skip("this compiler has no sanitizers")
    done = subprocess.run([checker], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "AddressSanitizer" in done.stderr


def broken(
    what: str,
    edit: tuple[str, str, str],
    compiler: str,
    kernels: Path,
    tmp_path: Path,
    sanitizers: Sequence[str] = (),
    whole: dict[str, Path] | None = None,
) -> Path:
    """The checker of the tier that one edit in a copy of the kernels breaks."""
    copy = tmp_path / "kernels"
    shutil.copytree(kernels, copy)
    name, before, after = edit
    source = copy / name
    text = source.read_text()
    assert text.count(before) == 1, f"{what}: the line to break is not there any more"
    source.write_text(text.replace(before, after))
    tier = "avx2" if name.startswith("cpu/") else "ref"
    options: dict[str, Any] = {"whole": whole[tier], "edited": name} if whole else {"sanitizers": sanitizers}
    return build(compiler, copy, tmp_path / "checker", [tier], "-O1", **options)
