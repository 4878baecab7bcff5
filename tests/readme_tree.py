"""The tree in the README: one line a file, the line being the file's own first sentence.

    python -m tests.readme_tree [--write]

prints the tree, or writes it into README.md between its two markers. `tests/test_readme.py` fails where it is stale.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tree: make tree -->\n```text\n", "```\n<!-- end of tree -->"
WIDTH = 150

FOLDERS = {
    "cgcli": "the tool, in layers: imports go down this list, never up",
    "cgcli/cli": "commands, one file each: parse, call one function, print; the only place that imports typer",
    "cgcli/repl": "the interactive loop: commands, keys, what is shown; the only place that imports prompt_toolkit",
    "cgcli/evals": "HumanEval and MTPB: drawing, judging in the sandbox, pass@k, the paper's analyses",
    "cgcli/evals/report": "runs beside each other and beside published numbers: tables, a page, CSV",
    "cgcli/train": "training and fine-tuning CodeGen, an optional extra; the only place that imports jax",
    "cgcli/sandbox": "running generated code: policy, isolation, limits, verdicts",
    "cgcli/program": "what a program is: turns, versions, journal, folding; a session is a program and an engine",
    "cgcli/hub": "catalog, download, local store; a pull is download, convert, store",
    "cgcli/convert": "a CodeGen checkpoint becomes a GGUF: readers, weights, vocabulary, verification",
    "cgcli/engine": "decoding: the llama.cpp boundary, the loop that draws tokens, stops, the GGUF check",
    "cgcli/native": "binding of kernels/, and the NumPy reference of each kernel",
    "cgcli/core": "environment, configuration, output, errors, exit statuses",
    "kernels": "everything on the token path after the logits, in plain C; no Python, no llama.cpp headers",
    "models": "what can be pulled",
    "models/codegen-nano": "the model in the box: its card, the checkpoint, the GGUF that is made of it",
    "models/recipes": "what `cgcli train` can train by name, and on what",
    "tests": "mirrors cgcli/ folder by folder, and benchmarks/",
}
ORDER = list(FOLDERS)
_CLOSED = {"models/codegen-nano", "tests"}
"""Whose files are not listed."""


def tree() -> str:
    """Every source file under the folders above but tests, with its first sentence."""
    lines: list[str] = []
    for folder, what in FOLDERS.items():
        depth = folder.count("/")
        lines.append(_line(depth, folder.rpartition("/")[2] + "/", what))
        if folder in _CLOSED:
            continue
        for path in _files(ROOT / folder):
            lines.append(_line(depth + 1, str(path.relative_to(ROOT / folder)), _first_sentence(path)))
    return "\n".join(lines) + "\n"


def _files(folder: Path) -> list[Path]:
    """The files of a folder that say what they are; those of its sub-folders too, unless these have their own entry."""
    found = []
    for path in sorted(folder.rglob("*")):
        between = [parent for parent in path.parents if folder in parent.parents]
        own = any(str(parent.relative_to(ROOT)) in FOLDERS for parent in between)
        source = path.suffix in {".py", ".c", ".h", ".toml", ".json", ".cmake"} or path.name == "CMakeLists.txt"
        if path.is_file() and source and not own and path.name != "__init__.py":
            found.append(path)
    return found


def _line(depth: int, name: str, what: str) -> str:
    text = f"{'  ' * depth}{name:<{30 - 2 * depth}} {what}".rstrip()
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _first_sentence(path: Path) -> str:
    text = path.read_text("utf-8")
    match path.suffix:
        case ".py":
            text = ast.get_docstring(ast.parse(text)) or ""
        case ".c" | ".h":
            comment = re.search(r"/\*(.*?)\*/", text, re.DOTALL)
            text = re.sub(r"\n\s*\*", "\n", comment.group(1)) if comment else ""
        case ".json":
            title = re.search(r'"title": "(.*?)"', text)
            text = f"JSON Schema of {title.group(1)}" if title else ""
        case _:
            text = re.sub(r"^# ?", "", text.partition("\n\n")[0], flags=re.MULTILINE) if text.startswith("#") else ""
    text = " ".join(text.partition("\n\n")[0].split()).removesuffix(".")
    return re.split(r"(?<=[\w)`\"])\. |(?<=\w): (?=[A-Z])", text, maxsplit=1)[0]


def current(readme: str) -> str:
    """The tree that a README has."""
    return readme.partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    if "--write" not in sys.argv:
        print(tree(), end="")
        return
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    readme.write_text(text.replace(BEGIN + current(text) + END, BEGIN + tree() + END), "utf-8")


if __name__ == "__main__":
    main()
