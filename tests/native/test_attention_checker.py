"""kernels/tests/attention_checker.c passes under the sanitizers, and fails for kernels that are broken on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.native.compiling import assert_agrees, broken, check, compile_c
from tests.native.test_checker import processor_has

# The tiers of kernels/ggml/: what the processor must have, and what the compiler calls it.
FEATURES = {"ref": [], "avx2": ["avx2", "fma", "f16c"], "avx512": ["avx512f", "avx512bw", "avx512dq", "avx512vl"]}
HERE = [tier for tier, features in FEATURES.items() if not features or processor_has(features)]

# What is broken: file in kernels/ggml/, what stands there, what takes its place.
BREAKS = {
    "a hidden cell counts": ("attention_ref.c", "continue;\n        }\n        const", "}\n        const"),
    "the mask is not added": ("attention_ref.c", "row->mask ? float_of((const uint8_t *)&row->mask[i]) : 0.0f", "0.0f"),
    "no scale": ("attention_ref.c", "* cells->scale", "* 0.301f"),
    "the sum is that of all cells": ("attention_ref.c", "1.0f / ((float)all", "1.0f / ((float)(all + (1 << 30))"),
    "a coefficient in its fourth digit": ("exp2.h", "EXP2_4 0x1.3cea88p", "EXP2_4 0x1.3dea88p"),
    "GELU without its cube": ("gelu.h", "(-0x1.a5a7dp-4f)", "(-0x1.a5b7dp-4f)"),
    "GELU of minus infinity": ("gelu_ref.c", "x[i] <= GELU_ZERO ? 0.0f : ", ""),
    "a cell beside the last": ("attention_avx512.c", "i + s < keys->count ? i + s : keys->count - 1", "i + s"),
    "a group ends too late": ("attention_walk.h", "count < GROUP ? (UINT32_C(1) << count) - 1", "count < 0 ? 0"),
    "the other order of a sum": ("attention_avx512.c", "shuffle_f32x4(a, b, 0x44)", "shuffle_f32x4(a, b, 0x88)"),
    "scores of hidden cells stay": ("attention_avx512.c", "place[r] += __builtin_popcount(own)", "place[r] += step"),
    "finite masks are left out": ("attention_avx512.c", "set1_epi16(0x7fff)", "set1_epi16(0)"),
    "a weight for each cell": ("attention_walk.h", "+= __builtin_popcount(now.bits[i])", "+= GROUP"),
    "columns behind the fourth vector": ("attention_avx512.c", "first < cells->v_size; first += LANES", "false;"),
    "three rows are four": ("attention_avx512.c", "rows + r, 3, copied", "rows + r, 2, copied"),
    "a NaN counts": ("attention_avx512.c", "_mm512_cmp_ps_mask(p, p, _CMP_ORD_Q)", "counts"),
    "rounded weights": ("attention_avx512.c", "one = _mm512_set1_ps(0x1p40f)", "one = _mm512_set1_ps(0x1p39f)"),
    "a product that is rounded twice": ("attention_avx512.c", "= _mm512_fmadd_ps(p, v[j], sums[r][j])", "+= p * v[j]"),
    "the last pairs are lost": ("attention_avx512.c", "n == LANES || r == n_rows", "n == LANES"),
    "pairs of one row": ("attention_avx512.c", "left = bits[r];", "left = bits[0];"),
    "one pair's score for all": ("attention_avx512.c", "= sixteen[s]", "= sixteen[0]"),
    "values of one row": ("attention_avx512.c", "1, false, seen->bits + r", "1, false, seen->bits"),
    "rows in a row": ("attention_walk.h", "const int r = now.index[i];", "const int r = i;"),
    "one head's queries": ("attention_walk.h", "(size_t)head * cells->q_stride", "0"),
    "one head's cells": ("attention_walk.h", "(size_t)(2 * size * head)", "0"),
    "one head's scores": ("attention_walk.h", "(head * n_rows + row)", "(0 * head * n_rows + row)"),
    "one head's results": ("attention_walk.h", "(size_t)head * cells->out_stride", "0 * head * cells->out_stride"),
    "finite masks of the walk": ("attention_walk.h", "*scores++ += ", "*scores++ = "),
    "one score too few": ("attention_avx2.c", "scores += 4", "scores += 3"),
    "the mask of a whole group": ("attention_walk.h", "cells->count - at < GROUP ?", "cells->count < 0 ?"),
    "magic that is too small": ("attention_avx2.c", "0x1.8p52", "0x1.8p53"),
    "half of the values": ("attention_avx2.c", "first + LANES * j), sums[j])", "first), sums[j])"),
    "no finite masks": ("attention_avx2.c", "0x7fff, 0)", "0, 0)"),
    "an exponent": ("exp2_avx2.h", "set1_epi32(127)", "set1_epi32(126)"),
    "GELU's last is lost": ("gelu_avx2.c", "set1_epi32(left), place", "set1_epi32(left - 1), place"),
    "GELU's end is lost": ("gelu_avx512.c", "(1u << (n - i)) - 1", "(1u << (n - i)) / 2"),
}  # fmt: skip


BESIDE = (
    "a cell beside the last",
    "a group ends too late",
    "the mask of a whole group",
    "a NaN counts",
)  # only the sanitizers see these, which take long to compile


def build(
    compiler: str,
    kernels: Path,
    target: Path,
    tiers: list[str],
    *flags: str,
    sanitizers: Sequence[str] = (),
    whole: Path | None = None,
) -> Path:
    """The checker of these tiers, of which the last is checked. whole: the folder of an earlier build, whose checker
    and other tiers serve again."""
    names = ",".join(f"TIER({tier})" for tier in tiers)
    objects: dict[str, list[str | Path]] = {}
    objects["attention_checker"] = [kernels / "tests/attention_checker.c", f"-DTIERS={names}"]
    for tier in tiers:
        special = [f"-m{feature}" for feature in FEATURES[tier]]
        objects |= {f"{name}_{tier}": [kernels / f"ggml/{name}_{tier}.c", *special] for name in ("attention", "gelu")}

    def compile_one(name: str) -> Path:
        if whole and not name.endswith(tiers[-1]):
            return whole / f"{name}.o"
        made = target.with_name(f"{name}.o")
        compile_c(compiler, *flags, *sanitizers, f"-I{kernels / 'ggml'}", *objects[name], "-c", "-o", made)
        return made

    with ThreadPoolExecutor(2) as pool:
        compile_c(compiler, *sanitizers, *pool.map(compile_one, objects), "-lm", "-o", target)
    return target


def beside_ref(tier: str) -> list[str]:
    return ["ref"] if tier == "ref" else ["ref", tier]


@pytest.fixture(scope="session")
def whole(compiler: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each tier, the folder of a checker that nothing is broken in."""
    folders = {tier: tmp_path_factory.mktemp(f"attention-{tier}") for tier in HERE}
    for tier, folder in folders.items():
        build(compiler, kernels, folder / "checker", beside_ref(tier), "-O1")
    return folders


@pytest.mark.parametrize(
    "tiers", [pytest.param(["ref"], id="ref"), pytest.param(HERE, id="all", marks=pytest.mark.long)]
)
def test_every_tier_agrees_with_doubles_under_sanitizers(
    tiers: list[str], compiler: str, kernels: Path, sanitizers: list[str], tmp_path: Path
) -> None:
    assert_agrees(build(compiler, kernels, tmp_path / "checker", tiers, "-O0", sanitizers=sanitizers))


def test_nothing_is_wrong_but_what_is_broken(whole: dict[str, Path]) -> None:
    for folder in whole.values():
        assert_agrees(folder / "checker")


def tier_of(what: str) -> str:
    file = BREAKS[what][0]
    return HERE[-1] if "walk" in file else next((tier for tier in ("avx2", "avx512") if tier in file), "ref")


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=[pytest.mark.long] * (what in BESIDE)) for what in BREAKS if tier_of(what) in HERE],
)
def test_a_broken_kernel_fails(
    what: str, compiler: str, kernels: Path, sanitizers: list[str], tmp_path: Path, whole: dict[str, Path]
) -> None:
    file, before, after = BREAKS[what]
    tier = tier_of(what)
    copy, target = broken(kernels, tmp_path, f"ggml/{file}", before, after), tmp_path / "checker"
    if what in BESIDE:
        build(compiler, copy, target, beside_ref(tier), "-O0", sanitizers=sanitizers)
    else:
        build(compiler, copy, target, beside_ref(tier), "-O0", whole=whole[tier])
    status, said = check(target)
    assert status != 0, said
