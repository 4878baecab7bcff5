"""Which CPU code of llama.cpp runs, and what it leaves unused. tests/e2e/test_dist.py chooses among real variants."""

from __future__ import annotations

import pytest

from cgcli.core.machine import instruction_sets
from cgcli.engine.binding import llama, system_info
from cgcli.engine.cpu_variant import unused_instructions
from tests.support.process import cgcli

HASWELL = "CPU : SSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | BMI2 = 1 | OPENMP = 1 | REPACK = 1 | "


def test_the_library_that_is_loaded_is_one_of_the_package() -> None:
    cpu = llama().cpu
    assert cpu.path.name.startswith("libggml-cpu") and (cpu.path.parent / "libllama.so").exists()


@pytest.mark.parametrize(
    ("processor", "unused"),
    [
        ("avx2 fma", []),
        ("avx2 fma avx_vnni", ["VNNI"]),
        ("avx2 fma avx512f avx512_vnni", ["AVX-512", "VNNI"]),
        ("", []),
    ],
)
def test_what_a_build_for_haswell_leaves_unused(processor: str, unused: list[str]) -> None:
    assert unused_instructions(HASWELL, processor.split()) == unused


def test_one_kind_of_vnni_is_enough() -> None:
    zen4 = HASWELL + "AVX512 = 1 | AVX512_VNNI = 1 | "
    assert unused_instructions(zen4, ["avx2", "avx512f", "avx512_vnni", "avx_vnni"]) == []


def test_this_build_suits_this_processor() -> None:
    assert unused_instructions(system_info(), instruction_sets()) == []


def test_a_variant_that_is_not_there_is_wrong_usage() -> None:
    done = cgcli("gen", "-m", "codegen-nano", "x", CGCLI_CPU_VARIANT="pentium")
    assert (done.status, done.out) == (2, b"")
    assert "CGCLI_CPU_VARIANT is 'pentium', which this llama.cpp does not have" in done.err
