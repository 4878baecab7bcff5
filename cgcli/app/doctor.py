"""The checks of `cgcli doctor`. Each returns findings, and a fix for each problem.

If a check itself fails, that is a finding, too; the others still run.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cgcli import __version__
from cgcli.core.config import Environment, Settings, unknown_variables
from cgcli.core.errors import CgcliError
from cgcli.core.machine import instruction_sets
from cgcli.core.progress import Progress
from cgcli.terminal.text import size

PACKAGES = ("llama-cpp-python", "huggingface-hub", "numpy", "gguf", "safetensors", "typer", "rich", "prompt-toolkit")
LOW_DISK_BYTES = 5e9
"""A CodeGen-2B checkpoint needs this much."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    value: str
    hint: str | None = None  # how to fix it
    broken: bool = False  # something does not work until it is fixed

    @property
    def mark(self) -> str:
        return "✗" if self.broken else "!" if self.hint else "✓"

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def findings(environment: Environment, progress: Progress, *, online: bool) -> list[Finding]:
    """The findings of all checks. online: contact the Hub."""
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "llama.cpp": lambda: _engine(environment),
        "kernels": _kernels,
        "products": _products,
        "machine": _machine,
        "sandbox": _sandbox,
        "configuration": lambda: _configuration(environment),
        "store": lambda: _store(environment),
        "Hub": lambda: _hub(environment, progress, online),
    }
    return [finding for name, check in checks.items() for finding in _guarded(name, check)]


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:
        yield Finding(name, f"{type(error).__name__}: {error}", "please report this bug", broken=True)


def _versions() -> Iterator[Finding]:
    yield Finding("cgcli", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name in PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", f"{sys.executable} -m pip install {name}", broken=True)


def _engine(environment: Environment) -> Iterator[Finding]:
    from cgcli.engine.binding import llama, system_info
    from cgcli.engine.cpu_variant import VARIABLE, unused_instructions

    try:
        info = system_info().strip().rstrip("|").strip()
        yield Finding("llama.cpp", info)
    except CgcliError as error:
        yield _broken("llama.cpp", error, "make clean && make test, or pip install --force-reinstall llama-cpp-python")
        return
    chosen = environment.variables.get(VARIABLE)
    variant = f"{chosen}, as {VARIABLE} says" if chosen else llama().cpu.variant or "a build for one processor"
    hint = None
    if unused := unused_instructions(info, instruction_sets()):
        variant += f"; does not use this processor's {', '.join(unused)}"
        hint = f"unset {VARIABLE}" if chosen else "for more speed, in a checkout of cgcli: make install NATIVE=1"
    yield Finding("CPU variant", variant, hint)
    yield from _gpu()


def _gpu() -> Iterator[Finding]:
    from cgcli.engine.binding import back_ends, gpu_devices

    gpus, with_cuda = gpu_devices(), "CUDA" in back_ends()
    for name, free, total in gpus:
        yield Finding("GPU", f"{name}, {size(free)} of {size(total)} free")
    if gpus and with_cuda:
        yield _gpu_sampling()
    elif not gpus and with_cuda:
        yield Finding("GPU", "none found, although llama.cpp was built with CUDA", "see what nvidia-smi says")
    elif not gpus and Path("/dev/nvidiactl").exists():
        yield Finding("GPU", "NVIDIA GPU found, but llama.cpp was built without CUDA", "make cuda")
    elif not gpus:
        yield Finding("GPU", "none; the CPU does all the work")


def _gpu_sampling() -> Finding:
    from cgcli.native import cuda

    try:
        if cuda.cuda_library():
            return Finding("GPU kernels", "libcgk_cuda")
        return Finding("GPU kernels", "none; the CPU samples", "make cuda")
    except CgcliError as error:
        return _broken("GPU kernels", error, "make cuda")


def _kernels() -> Iterator[Finding]:
    from cgcli.native.library import tier

    try:
        running = tier()
        yield Finding("kernels", "libcgk, " + ("plain C" if running == "ref" else running))
    except CgcliError as error:
        yield _broken("kernels", error, "pip install --force-reinstall cgcli")


def _products() -> Iterator[Finding]:
    from cgcli.engine.binding import llama
    from cgcli.native import products

    try:
        without = llama().without_own_products
    except CgcliError:
        return  # the finding on llama.cpp says it
    yield Finding("products", f"llama.cpp's, since {without}" if without else f"libcgk_ggml, {products.product_tier()}")


def _machine() -> Iterator[Finding]:
    from cgcli.core.machine import memory_bytes, thread_count

    yield Finding("threads", f"{thread_count()} of {os.cpu_count()} processors")
    yield Finding("memory", size(memory_bytes()))


def _sandbox() -> Iterator[Finding]:
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.root import uncounted
    from cgcli.sandbox.run import run

    try:
        verdict = run(b"", policy=Policy())
    except CgcliError as error:
        yield Finding("sandbox", error.message, error.hint or "run programs without a sandbox: --unsafe")
        return
    if verdict.passed:
        yield Finding("sandbox", f"bubblewrap; an empty program takes {1000 * verdict.wall_s:.0f} ms")
        gaps = uncounted()
        limits = f"no control group, so the limits do not count {gaps}" if gaps else "enforced by a control group"
        yield Finding("sandbox limits", limits)
    else:
        yield Finding("sandbox", f"an empty program failed: {verdict}", "please report this bug", broken=True)


def _configuration(environment: Environment) -> Iterator[Finding]:
    file = environment.config_file
    try:
        Settings.load(environment)
        yield Finding("configuration", str(file) if file.exists() else f"{file} (does not exist, using defaults)")
    except CgcliError as error:
        yield _broken("configuration", error, f"fix it in {file} or in the environment")
    for line in unknown_variables(environment):
        yield Finding("environment", line, f"unset {line.partition(' ')[0]}")


def _store(environment: Environment) -> Iterator[Finding]:
    from cgcli.core.machine import free_disk_bytes
    from cgcli.hub.store import open_store

    folder = environment.store
    place = next(one for one in (folder, *folder.parents) if one.exists())
    free = free_disk_bytes(folder)
    hint = None
    if not os.access(place, os.W_OK):
        hint = "choose a writable folder: CGCLI_HOME=FOLDER"
    elif free < LOW_DISK_BYTES:
        hint = "free some disk space, or move the store: CGCLI_HOME=FOLDER"
    yield Finding("store", f"{folder}, {size(free)} free", hint, broken=not os.access(place, os.W_OK))
    store = open_store(environment)
    stored, broken = store.all(), store.broken()
    for error in broken:
        yield _broken("pulled", error, f"remove the broken entry in {folder}")
    if all(one.bundled for one in stored) and not broken:
        yield Finding("pulled", "nothing", "cgcli pull smollm2-135m")
    for one in stored:
        fault = one.fault()
        yield Finding(
            "bundled" if one.bundled else "pulled",
            fault or f"{one.spec}, {size(one.manifest.size)}",
            one.remedy if fault else None,
        )


def _hub(environment: Environment, progress: Progress, online: bool) -> Iterator[Finding]:
    endpoint = environment.variables.get("HF_ENDPOINT") or "https://huggingface.co"
    if environment.flag("HF_HUB_OFFLINE"):
        yield Finding("Hub", f"{endpoint}, HF_HUB_OFFLINE is set")
    elif not online:
        yield Finding("Hub", f"{endpoint}, not checked (--online to check)")
    else:
        from cgcli.hub.client import HubClient, RetryPolicy

        try:
            snapshot = HubClient(environment, progress, RetryPolicy(tries=1)).snapshot(
                "Salesforce/codegen-350M-mono", None
            )
            yield Finding("Hub", f"{endpoint}, reachable: {snapshot.repo} is at {snapshot.commit[:12]}")
        except CgcliError as error:
            yield _broken("Hub", error, "check the network and HF_ENDPOINT; pulled models work without it")


def _broken(name: str, error: CgcliError, hint: str) -> Finding:
    return Finding(name, error.message, error.hint or hint, broken=True)
