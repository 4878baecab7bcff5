"""What a start of `cgcli` imports. Start-up time is a contract, and imports are where it is lost.

A module that is not on these lists needs a reason to be there.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import pytest

from tests.support.patience import PATIENCE_S

# Run the command line, then print what it imported beyond a bare interpreter.
PROBE = """
import json, sys
before = set(sys.modules)
from cgcli.__main__ import main
sys.argv = ["cgcli", *sys.argv[1:]]
main()
print("\\n" + json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""

COMMANDS = {
    "bench",
    "completion",
    "doctor",
    "eval",
    "fill",
    "gen",
    "log",
    "models",
    "pull",
    "repl",
    "replay",
    "run",
    "score",
    "serve",
    "sessions",
    "templates",
    "train",
    "watch",
}
HELP_OWN = {
    "cgcli",
    "cgcli.__main__",
    "cgcli.cli",
    *(f"cgcli.cli.{name}" for name in {"main", "command", "options", *COMMANDS}),
    "cgcli.app",
    "cgcli.app.run",
    "cgcli.core",
    *(f"cgcli.core.{name}" for name in ("errors", "progress", "signals")),
    "cgcli.terminal",
    *(f"cgcli.terminal.{name}" for name in ("output", "text")),
}
# shellingham, annotated_doc: Typer's; the others: rich's (attr only where it is installed, as by jsonschema).
HELP_OTHERS = {"typer", "annotated_doc", "shellingham", "rich", "pygments", "markdown_it", "mdurl", "attr"}


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, env=os.environ, timeout=PATIENCE_S, check=True
    )
    modules: list[str] = json.loads(done.stderr.decode().splitlines()[-1])
    return set(modules)


def others(modules: set[str]) -> set[str]:
    """Top-level packages that are neither ours nor the standard library's."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"cgcli"}


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "cgcli"}


def test_version_imports_nothing_but_the_entry() -> None:
    modules = imported("--version")
    assert own(modules) == {"cgcli", "cgcli.__main__"}
    assert others(modules) == set()


def test_help_imports_the_command_files_and_what_draws_them() -> None:
    modules = imported("--help")
    assert own(modules) <= HELP_OWN
    assert others(modules) <= HELP_OTHERS


@pytest.mark.parametrize("command", [["gen", "x"], ["models"], ["pull", "nothing"], ["models", "path", "nothing"]])
def test_a_command_does_not_import_what_only_help_and_downloads_need(command: list[str]) -> None:
    # pydantic is how Typer would read the command line (cgcli.cli.command): 0.12 s before the first token.
    heavy = {"rich", "pydantic", "huggingface_hub", "numpy", "prompt_toolkit", "gguf", "safetensors", "llama_cpp"}
    assert others(imported(*command)) & heavy == set()


def test_a_prompt_is_typed_before_anything_heavy_is_there() -> None:
    loop = (
        "import cgcli.repl.loop, cgcli.repl.status, cgcli.repl.terminal, cgcli.program.program_store, cgcli.hub.choose"
    )
    show = "import sys; sys.stderr.write(repr(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{loop}; {show}"], capture_output=True, timeout=PATIENCE_S, check=True
    )
    modules = set(ast.literal_eval(done.stderr.decode()))
    assert "prompt_toolkit" in modules
    heavy = {"rich", "pydantic", "huggingface_hub", "numpy", "gguf", "safetensors", "llama_cpp", "pygments", "typer"}
    assert others(modules) & heavy == set()
    assert "cgcli.engine.engine" not in modules


@pytest.mark.parametrize(
    "arguments",
    [
        ["gen", "--help"],
        ["gen", ""],
        ["gen", "x", "--lang", "none"],
        ["gen", "x", "-m", "none"],
        ["gen", "--pick", "x"],
    ],
    ids=" ".join,
)
def test_a_refused_gen_imports_neither_session_nor_engine(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert not {"cgcli.program.session", "cgcli.engine.engine", "cgcli.engine.binding"} & modules
