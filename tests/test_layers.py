"""The house rules about imports, read from the source: layers go one way, some packages have one door."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# Each may import those before it.
LAYERS = (
    "core",
    "terminal",
    "native",
    "engine",
    "convert",
    "hub",
    "program",
    "sandbox",
    "serve",
    "train",
    "evals",
    "repl",
    "app",
    "cli",
)
DOORS = {
    "llama_cpp": {"engine/binding.py"},
    "typer": {"cli"},
    "prompt_toolkit": {"repl"},
    "huggingface_hub": {"hub/client.py"},
    "jax": {"train"},
    "optax": {"train"},
    "orbax": {"train"},
    "grain": {"train"},
    "ray": {"evals/ray_cluster.py"},
    "starlette": {"serve/http.py"},
    "uvicorn": {"serve/http.py"},
    "matplotlib": {"evals/report/plots.py"},
    "click": set(),
}
FILES = sorted((REPOSITORY / "cgcli").rglob("*.py"))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """The full names of the modules that a file imports anywhere, but for type checking alone."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return tuple(found)


def layer(module: str) -> int | None:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if parts[0] == "cgcli" and len(parts) > 1 and parts[1] in LAYERS else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_go_down(path: Path) -> None:
    own = path.relative_to(REPOSITORY / "cgcli").parts[0]
    if own not in LAYERS:
        return  # __main__ and __init__ stand above all
    above = [module for module in imports(path) if (found := layer(module)) is not None and found > LAYERS.index(own)]
    assert not above


@pytest.mark.parametrize("package", DOORS)
def test_some_packages_have_one_door(package: str) -> None:
    users = {
        str(path.relative_to(REPOSITORY / "cgcli"))
        for path in FILES
        if any(module.partition(".")[0] == package for module in imports(path))
    }
    strangers = {user for user in users if user not in DOORS[package] and user.split("/")[0] not in DOORS[package]}
    assert not strangers
