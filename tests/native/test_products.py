"""kernels/tests/product_checker.c passes under the sanitizers, and fails for products that are broken on purpose.

What is in plain C is compiled again in a blink; a tier in vectors, for seconds: what breaks one is a long test.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.native.compiling import assert_agrees, broken, check, compile_c

# The tiers of kernels/ggml/: their file, and what the processor must have; then flags for the compiler.
AVX2, AVX512 = ("avx2", "fma", "f16c"), ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")
TIERS = {"ref": ("product_ref.c", ()), "avx2": ("product_avx2.c", AVX2),
         "avxvnni": ("product_avx2.c", (*AVX2, "avx_vnni")), "avx512": ("product_avx512.c", AVX512),
         "amx": ("product_amx.c", (*AVX512, "amx_tile", "amx_int8"))}  # fmt: skip
FLAGS = {
    tier: [f"-m{name.replace('amx_', 'amx-').replace('_', '')}" for name in needed]
    for tier, (_, needed) in TIERS.items()
}
FLAGS["amx"].append("-mprfchw")
HEADERS = {"panel_avx512.h": "avx512"}

# What is broken: file, what stands there, what takes its place.
BREAKS = {
    "the second half of a block comes first": ("pack.c", "(i % 2), i / 2)", "(i % 2), 1 - i / 2)"),
    "a byte's sign is lost": ("pack.c", "^ 0x80 * EACH", ""),
    "minima lie where scales do": ("pack.c", "32 * h + PANEL, column", "32 * h, column"),
    "upper bits of scales are lost": ("pack.c", "(head[1] >> 6 & 3 * EACH)", "(head[1] & 0)"),
    "fifth bits of another block": ("pack.c", ">> b & EACH", ">> (b ^ 1) & EACH"),
    "pairs of another quarter": ("pack.c", ">> 2 * b & 3", ">> 2 * (b ^ 1) & 3"),
    "two columns are mixed up": ("pack.c", "word(from.column[2] + at),", "word(from.column[1] + at),"),
    "a denormal scale is 0": ("half.h", "(float)fraction * 0x1p-24f", "0 * (float)fraction"),
    "quantized to 128": ("product_ref.c", "127.0f / greatest, times", "128.0f / greatest, times"),
    "ties are rounded up": ("product_ref.c", "(int8_t)nearbyintf(scaled)", "(int8_t)floorf(scaled + 0.5f)"),
    "a NaN is forgotten": ("product_ref.c", "top = bits > top", "top = x[i] > 0 && bits > top"),
    "zero is zero": ("product_ref.c", "= -format->zero * first", "= 0 * first"),
    "halves share a zero": ("product_ref.c", "? half[0] : half[0] + half[1]", "? half[1] : half[0] + half[1]"),
    "a minimum is added": ("product_ref.c", "fmaf(-(m *", "fmaf((m *"),
    "a product is rounded twice": ("product_ref.c", "sums->scale, y);\n        if", "sums->scale, 0) + y;\n        if"),
    "a lane of pairs": ("panel_avx512.h", "_mm512_srli_epi16(pairs, 2) :", "_mm512_srli_epi16(pairs, 4) :"),
    "a fifth bit of the high halves": ("panel_avx512.h", "_mm512_srli_epi16(two, 1)", "_mm512_srli_epi16(two, 2)"),
    "the third row is the second": ("product_avx512.c", "q + (size_t)r *", "q + (size_t)(r - (r == 2)) *"),
    "three rows are two": ("product_avx512.c", "        case 3: TILE(3, true)", "        case 3: TILE(2, true)"),
    "three rows, four panels": ("product_avx512.c", "\n    case 3: TILE(3, true)", "\n    case 3: TILE(2, true)"),
    "eight rows are seven": ("product_avx512.c", "TILE(8, false)", "TILE(7, false)"),
    "it stores a whole panel": ("product_avx512.c", "columns[p] = wide < PANEL ?", "columns[p] = wide < 0 ?"),
    "the greatest of one half": ("product_avx512.c", "castps_si512(high), magnitude)", "castps_si512(low), magnitude)"),
    "half a block goes on": ("product_avx512.c", "sums[r]++", "sums[r] += 0"),
    "rows are added twice": ("product_amx.c", "if (r >= done)", "if (r >= done || done)"),
    "a segment begins anew": ("product_amx.c", "at == 0, &unpacked", "at >= 0, &unpacked"),
    "weights of odd fours keep their zero": ("product_amx.c", "_mm512_sub_epi8(second, less)", "second"),
    "a step has the first block's scale": ("product_amx.c", "step == BLOCK ? s : s / 2", "step == BLOCK ? 0 : s / 2"),
    "a tile stores a whole panel": ("product_amx.c", "left < PANEL ?", "left < 0 ?"),
    "the rows after a group are lost": ("product_amx.c", "if (n_rows > 0)", "if (n_rows > ROWS)"),
    "the second panel is the first": ("product_amx.c", "start + (size_t)i * panel", "start + (size_t)0 * panel"),
    "steps are done in another order": ("product_amx.c", "rows, s + 1, sums[1]", "rows, s, sums[1]"),
    "nibbles of 16 k overflow": ("product_avx2.c", "layout == SUPER_5 || layout == SUPER_6 ?", "layout == SUPER_6 ?"),
    "bytes saturate": ("product_avx2.c", "layout == BYTES ? SIGNS :", ""),
    "the second half is the first": ("product_avx2.c", "(const __m256i *)line + h", "(const __m256i *)line"),
    "bytes in the order of lanes": ("product_avx2.c", "_mm256_permute4x64_epi64(words, 0xD8)", "words"),
    "what is infinite is quantized": ("product_avx2.c", "if (isfinite(s) && s != 0)", "if (isfinite(s))"),
    "a half's zero is the block's": ("product_avx2.c", "(tile, WHOLE, at % 2,", "(tile, WHOLE, 0,"),
    "a mask of one lane more": ("product_avx2.c", "left < LANES ? (int)left", "left < LANES ? (int)left + 1"),
}  # fmt: skip


def build(
    compiler: str,
    kernels: Path,
    target: Path,
    tiers: Sequence[str],
    *flags: str,
    whole: Path | None = None,
    edited: str = "",
) -> Path:
    """The checker of these tiers. whole: folder of an earlier build, whose objects serve again but for the edited."""
    names = ", ".join(f"&product_{tier}" for tier in tiers)
    defined = ["-D_POSIX_C_SOURCE=200809L", f"-DTIERS={names}", *["-DAMX"] * ("amx" in tiers)]
    objects = {"checker": ("tests/product_checker.c", defined)}
    objects["pack"] = ("ggml/pack.c", [])
    called = ["avx512"] if "amx" in tiers else []
    objects |= {tier: (f"ggml/{TIERS[tier][0]}", FLAGS[tier]) for tier in (*tiers, *called)}

    def compile_one(name: str) -> Path:
        source, own = objects[name]
        if whole and not source.endswith(f"/{edited}") and not edited.endswith(".h"):
            return whole / f"{name}.o"
        made = target.with_name(f"{name}.o")
        compile_c(compiler, *flags, *own, "-c", kernels / source, "-o", made)
        return made

    with ThreadPoolExecutor(2) as pool:
        compile_c(compiler, *flags, *pool.map(compile_one, objects), "-lm", "-o", target)
    return target


def tiers_here() -> list[str]:
    file = Path("/proc/cpuinfo")
    features = set(file.read_text().split()) if file.exists() else set()
    return [tier for tier, (_, needed) in TIERS.items() if features >= set(needed)]


@pytest.fixture(scope="session")
def whole(compiler: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each tier, the folder of a checker that nothing is broken in."""
    folders = {tier: tmp_path_factory.mktemp(f"products-{tier}") for tier in tiers_here()}
    for tier, folder in folders.items():
        build(compiler, kernels, folder / "checker", [tier], "-O1")
    return folders


@pytest.mark.parametrize(
    "tiers", [pytest.param(["ref"], id="ref"), pytest.param(tiers_here(), id="all", marks=pytest.mark.long)]
)
def test_every_tier_has_the_oracles_bits_under_sanitizers(
    tiers: list[str], compiler: str, kernels: Path, sanitizers: list[str], tmp_path: Path
) -> None:
    assert_agrees(build(compiler, kernels, tmp_path / "checker", tiers, "-O1", *sanitizers))


def test_nothing_is_wrong_with_what_is_broken_below(whole: dict[str, Path]) -> None:
    for folder in whole.values():
        assert_agrees(folder / "checker")


def tier_of(what: str) -> str:
    """The tier that runs what is broken: the file's own, else plain C."""
    name = BREAKS[what][0]
    return next((tier for tier, (file, _) in TIERS.items() if file == name), HEADERS.get(name, "ref"))


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.long] * (tier_of(what) != "ref")) for what in BREAKS]
)
def test_a_broken_product_fails(
    what: str, compiler: str, kernels: Path, tmp_path: Path, whole: dict[str, Path]
) -> None:
    name, before, after = BREAKS[what]
    if (tier := tier_of(what)) not in whole:
        pytest.skip(f"our products have no tier for this processor: no {tier}")
    copy = broken(kernels, tmp_path, f"ggml/{name}", before, after)
    made = build(compiler, copy, tmp_path / "checker", [tier], "-O0", whole=whole[tier], edited=name)
    status, said = check(made)
    assert status != 0, said
