"""kernels/cuda/: its source on this CPU against the oracle and ref/, and as machine code where nvcc is.

Where there is a GPU too, the checker and the benchmark run on it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.compiling import FEW_SIZES, assert_agrees, broken, check, compile_c, compile_cuda_on_host

NVCC_FLAGS = ["-O2", "-fmad=false", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra"]
ARCHITECTURES = ["80", "90"]

# What is broken: file of kernels/cuda, what stands there, what takes its place.
BREAKS = {
    "a carry is lost": ("block.h", "(old + low < old)", "(old + low <= old)"),
    "a group has one bin less": ("block.h", "i < GROUP; i++", "i < GROUP - 1; i++"),
    "a target on the border": ("block.h", "target < before + b->group[t]", "target <= before + b->group[t]"),
    "bins are not cleared": ("block.h", "b->low[i] = b->high[i] = 0", "b->high[i] = 0"),
    "the threads take turns": (
        "block.h",
        "b->part[i] > all ? b->part[i] : all;\n            }",
        "b->part[i];\n            }",
    ),
    "the last digit of a weight is lost": ("sample.h", "shift >= 0", "shift > 0"),
    "one tie too many": ("sample.h", "(need + each - 1) / each", "need / each + 1"),
    "a stretch is rounded down": ("sample.h", "(end - first + BINS - 1) / BINS", "(end - first) / BINS + (end == 1)"),
    "a fused product": ("row.h", "__fadd_rn(__fmul_rn(p, f), 0x1.62e42ap-1f)", "fmaf(p, f, 0x1.62e42ap-1f)"),
}


def objects(compiler: str, kernels: Path, folder: Path, tiers: str, *more: str) -> list[str]:
    """The checker of those tiers, all but the CUDA tier itself: object files."""
    sources = [kernels / name for name in ("tests/checker.c", "dispatch.c", "philox.c")]
    made = []
    for source in [*sources, *sorted((kernels / "ref").glob("*.c"))]:
        made.append(str(folder / f"{source.stem}.o"))
        compile_c(compiler, *more, f"-DTIERS={tiers}", f"-I{kernels / 'include'}", "-c", source, "-o", made[-1])
    return made


@pytest.fixture(scope="session")
def checker(compiler: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return objects(compiler, kernels, tmp_path_factory.mktemp("checker"), "TIER(ref), TIER(cuda)", FEW_SIZES)


def on_host(compiler: str, kernels: Path, checker: list[str], target: Path, *flags: str) -> Path:
    """The checker with the CUDA tier's source on this CPU."""
    source = kernels / "tests" / "cuda_on_host.c"
    compile_c(compiler, *flags, f"-I{kernels / 'include'}", source, *checker, "-lm", "-o", target)
    return target


def test_the_source_agrees_with_the_oracle_under_sanitizers(
    compiler: str, kernels: Path, checker: list[str], sanitizers: list[str], tmp_path: Path
) -> None:
    assert_agrees(on_host(compiler, kernels, checker, tmp_path / "checker", *sanitizers))


@pytest.mark.long
def test_the_source_agrees_in_rows_of_every_size(
    compiler: str, kernels: Path, sanitizers: list[str], tmp_path: Path
) -> None:
    parts = objects(compiler, kernels, tmp_path, "TIER(ref), TIER(cuda)")
    assert_agrees(on_host(compiler, kernels, parts, tmp_path / "checker", *sanitizers))


@pytest.mark.parametrize("what", BREAKS)
def test_broken_source_fails(what: str, compiler: str, kernels: Path, checker: list[str], tmp_path: Path) -> None:
    name, before, after = BREAKS[what]
    copy = broken(kernels, tmp_path, f"cuda/{name}", before, after)
    status, said = check(on_host(compiler, copy, checker, tmp_path / "checker"))
    assert status != 0, said


# The same in cuda/host.h, where the host's memory is copied.
HOST_BREAKS = {
    "masks lie where logits do": ("at.banned = at.logits + n_rows * sizeof(float *)", "at.banned = at.logits"),
    "results come back from elsewhere": ("host + at->results, device + at->results", "host + at->results, device"),
    "no status is read": ("if (status[row] != CGK_OK)", "if (false)"),
}


@pytest.fixture(scope="session")
def library_checker(compiler: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The checker of the whole library, without what runs it on a GPU."""
    return objects(compiler, kernels, tmp_path_factory.mktemp("library"), "TIER(cuda)", "-DSIZES=257")


@pytest.fixture(scope="session")
def on_device(cxx: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What runs the library on a GPU, for this CPU."""
    target = tmp_path_factory.mktemp("device") / "cuda_on_device.o"
    compile_cuda_on_host(cxx, kernels, [kernels / "tests" / "cuda_on_device.cu"], "-c", "-o", target)
    return target


def test_the_library_agrees_with_the_oracle_under_sanitizers(
    cxx: str, kernels: Path, library_checker: list[str], on_device: Path, sanitizers: list[str], tmp_path: Path
) -> None:
    sources, checker = [kernels / "cuda" / "cgk_cuda.cu"], tmp_path / "checker"
    compile_cuda_on_host(cxx, kernels, sources, *sanitizers, on_device, *library_checker, "-lm", "-o", checker)
    assert_agrees(checker)


@pytest.mark.parametrize("what", HOST_BREAKS)
def test_a_broken_library_fails(
    what: str, cxx: str, kernels: Path, library_checker: list[str], on_device: Path, tmp_path: Path
) -> None:
    copy, checker = broken(kernels, tmp_path, "cuda/host.h", *HOST_BREAKS[what]), tmp_path / "checker"
    sources = [copy / "cuda" / "cgk_cuda.cu"]
    compile_cuda_on_host(cxx, copy, sources, on_device, *library_checker, "-lm", "-o", checker)
    status, said = check(checker)
    assert status != 0, said


@pytest.fixture(scope="session")
def nvcc() -> str:
    """From the PATH, or from PyPI's wheel nvidia-cuda-nvcc."""
    found = shutil.which("nvcc")
    wheels = importlib.util.find_spec("nvidia")
    for place in (wheels.submodule_search_locations if wheels else None) or ():
        found = found or next((str(path) for path in Path(place).glob("*/bin/nvcc")), None)
    if found is None:
        pytest.skip("no nvcc: neither on the PATH nor from the wheel nvidia-cuda-nvcc")
    return found


@pytest.fixture(scope="session")
def compiled(nvcc: str, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cgk_cuda.o, warnings being errors, and what nvcc made on the way to it."""
    folder = tmp_path_factory.mktemp("cuda")
    codes = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in ARCHITECTURES]
    command = [nvcc, *NVCC_FLAGS, *codes, "-t2", "-keep", f"-I{kernels / 'include'}", "-c"]
    run = subprocess.run(
        [*command, str(kernels / "cuda" / "cgk_cuda.cu")], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_compiles_to_machine_code_in_which_nothing_is_fused(architecture: str, compiled: Path) -> None:
    (code,) = compiled.glob(f"*_{architecture}*.cubin")
    assert code.read_bytes().startswith(b"\x7fELF")
    (assembly,) = compiled.glob(f"*_{architecture}*.ptx")
    # ptxas may fuse a product and a sum that do not say how they are rounded (PTX ISA, mul: "mul/add sequences
    # with no rounding modifiers may be optimized to use fused-multiply-add").
    rounded = re.findall(r"\b(fma|mad|mul|add|sub)\.([a-z.]*)f32\b", assembly.read_text())
    assert {operation for operation, _ in rounded} == {"mul", "add", "sub"}
    assert {rounding for _, rounding in rounded} == {"rn."}
    disassembler = shutil.which("cuobjdump")
    if disassembler is not None:
        machine = subprocess.run([disassembler, "-sass", code], capture_output=True, text=True, check=True).stdout
        assert "FMUL" in machine
        fused = [line for line in machine.splitlines() if "FFMA" in line]
        assert all("RZ" in line for line in fused), fused  # a division of doubles compares so, with 0 as a factor


@pytest.fixture(scope="session")
def gpu() -> bool:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["cuda_on_device.cu", "bench_cuda.cu"])
def test_what_runs_on_a_gpu_compiles_and_runs_there(
    name: str, nvcc: str, compiler: str, kernels: Path, compiled: Path, gpu: bool, tmp_path: Path
) -> None:
    checker = objects(compiler, kernels, tmp_path, "TIER(cuda)") if name == "cuda_on_device.cu" else []
    parts = [str(kernels / "tests" / name), str(compiled / "cgk_cuda.o"), *checker]
    command = [nvcc, *NVCC_FLAGS, f"-arch=sm_{ARCHITECTURES[0]}", f"-I{kernels / 'include'}", *parts]
    run = subprocess.run([*command, "-o", str(tmp_path / "program")], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    if not gpu:
        pytest.skip("compiled, but there is no GPU to run it on")
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
