"""kernels/tests/checker.c passes under the sanitizers, and fails for kernels that are broken on purpose."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.native.compiling import FEW_SIZES, assert_agrees, broken, check, compile_c

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
    "a bad row of a batch passes": ("dispatch.c", "return status;", "return CGK_OK;"),
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

    def compile_one(name: str) -> Path:
        if whole and f"/{edited}" not in (whole / f"{name}.d").read_text():
            return whole / f"{name}.o"
        source, *own = objects[name]
        made = target.with_name(f"{name}.o")
        compile_c(compiler, *own, *flags, "-MMD", "-c", kernels / source, "-o", made)  # .d: the files that it is of
        return made

    with ThreadPoolExecutor(2) as pool:
        compile_c(compiler, *sanitizers, *pool.map(compile_one, objects), "-lm", "-o", target)
    return target


@pytest.fixture(scope="session")
def whole(compiler: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each tier, the folder of a checker that nothing is broken in."""
    folders = {tier: tmp_path_factory.mktemp(tier) for tier in ("ref", "avx2")}
    for tier, folder in folders.items():
        build(compiler, kernels, folder / "checker", [tier], f"{FEW_SIZES},51200")
    return folders


def processor_has(features: list[str]) -> bool:
    file = Path("/proc/cpuinfo")
    return file.exists() and set(features) <= set(file.read_text().split())


@pytest.mark.parametrize(
    ("tiers", "flags"),
    [
        pytest.param(["ref", "avx2"], ["-O0", FEW_SIZES], id="few-sizes"),
        pytest.param(["ref", *TIERS], [], id="all", marks=pytest.mark.long),
    ],
)
def test_every_tier_agrees_with_the_oracle_under_sanitizers(
    tiers: list[str], flags: list[str], compiler: str, kernels: Path, sanitizers: list[str], tmp_path: Path
) -> None:
    assert_agrees(build(compiler, kernels, tmp_path / "checker", tiers, *flags, sanitizers=sanitizers))


def test_rows_as_long_as_a_vocabulary_agree_with_the_oracle(whole: dict[str, Path]) -> None:
    """It also shows that nothing but one line is wrong with what is broken below."""
    for folder in whole.values():
        assert_agrees(folder / "checker")


@pytest.mark.skipif(platform.machine() == "aarch64", reason="on an ARM processor the test above runs NEON")
def test_neon_agrees_with_the_oracle_on_an_emulated_processor(kernels: Path, tmp_path: Path) -> None:
    cross, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if cross is None or emulator is None:
        pytest.skip("needs aarch64-linux-gnu-gcc and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    assert_agrees(emulator, build(cross, kernels, tmp_path / "checker", ["neon"], "-static", "-DSIZES=1,17,64,4097"))


def rebuilt(
    edit: tuple[str, str, str],
    compiler: str,
    kernels: Path,
    folder: Path,
    whole: dict[str, Path],
    sanitizers: Sequence[str] = (),
) -> Path:
    """The checker of the tier that one edit in a copy of the kernels breaks."""
    copy, edited = broken(kernels, folder, *edit), edit[0]
    tier = "avx2" if edited.startswith("cpu/") else "ref"
    target = folder / "checker"
    return build(compiler, copy, target, [tier], "-O0", sanitizers=sanitizers, whole=whole[tier], edited=edited)


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_kernel_fails(what: str, compiler: str, kernels: Path, tmp_path: Path, whole: dict[str, Path]) -> None:
    status, said = check(rebuilt(BREAKS[what], compiler, kernels, tmp_path, whole))
    assert status != 0, said


@pytest.mark.parametrize(
    "edit",
    [
        ("ref/sample.c", "return n_vocab * sizeof(uint64_t)", "return n_vocab * sizeof(uint64_t) - 1"),
        ("cpu/sample.c", "return own;", "return own - LANES * 4;"),
    ],
    ids=["ref", "cpu"],
)
def test_a_write_beside_the_scratch_is_seen(
    edit: tuple[str, str, str],
    compiler: str,
    kernels: Path,
    sanitizers: list[str],
    tmp_path: Path,
    whole: dict[str, Path],
) -> None:
    status, said = check(rebuilt(edit, compiler, kernels, tmp_path, whole, sanitizers))
    assert status != 0 and "AddressSanitizer" in said
