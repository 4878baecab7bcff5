"""The generated parts of the documentation: commands, settings, errors, the tree of files.

    python -m tests.docs [--write]

prints the names of the blocks that are out of date, or writes them. `make docs` writes them; `tests/test_docs.py` fails
where one is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.markdown import block, write_block
from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[1]
WIDTH = 150

FOLDERS = {
    "cgcli": "the tool, in layers; imports only go down this list",
    "cgcli/cli": "commands: parse the command line, call a function of app/, print",
    "cgcli/app": "what each command does, as functions over values",
    "cgcli/repl": "the interactive loop: commands, keys, completion, what is shown",
    "cgcli/evals": "HumanEval and MTPB: generating, judging, pass@k",
    "cgcli/evals/report": "reports on evaluation runs: tables, HTML, CSV",
    "cgcli/train": "training and fine-tuning, an optional extra (JAX)",
    "cgcli/serve": "one model kept ready: a server, and the engine that its clients see",
    "cgcli/sandbox": "running generated code: isolation, limits, verdicts",
    "cgcli/program": "a program: turns, truncation, versions, journal, session",
    "cgcli/hub": "model catalog, download, local store",
    "cgcli/convert": "CodeGen checkpoint to GGUF, verified",
    "cgcli/engine": "decoding on llama.cpp: batches, cache, guessing, scores",
    "cgcli/native": "ctypes bindings of kernels/",
    "cgcli/terminal": "output, progress bars, color, text that is safe to print",
    "cgcli/core": "configuration, errors, files, the machine",
    "kernels": "C and CUDA: products and attention inside llama.cpp, sampling, guesses",
    "models": "the catalog, training recipes",
    "models/codegen-nano": "the model that comes with cgcli",
    "models/recipes": "recipes that come with cgcli, for `cgcli train NAME`",
    "tests": "mirrors cgcli/; support/, e2e/, benchmarks/",
    "docs": "one page per subject",
}
_CLOSED = {"models/codegen-nano", "tests", "docs"}
"""Folders whose files are not listed."""
_SHORT = [folder for folder in FOLDERS if folder.count("/") < 2 and folder not in {"models/codegen-nano"}]
"""Folders that the README shows."""


def blocks() -> Iterator[tuple[Path, str, str]]:
    """File, name and text of every generated block."""
    docs = ROOT / "docs"
    yield ROOT / "README.md", "make docs: folders", folders()
    yield ROOT / "CONTRIBUTING.md", "make docs: layers", layers()
    yield docs / "architecture.md", "make docs: tree", tree()
    yield docs / "cli.md", "make docs: commands", commands()
    yield docs / "configuration.md", "make docs: settings", settings()
    yield docs / "configuration.md", "make docs: statuses", statuses()
    yield docs / "errors.md", "make docs: errors", errors()


# --- files and folders


def folders() -> str:
    """One line for each folder."""
    lines = [_line(folder.count("/"), folder.rpartition("/")[2] + "/", FOLDERS[folder], 14) for folder in _SHORT]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def layers() -> str:
    return "```text\n" + " > ".join(reversed(LAYERS)) + "\n```\n"


def tree() -> str:
    """Every source file under the folders above but tests, with the first sentence of its docstring or comment."""
    lines: list[str] = []
    for folder, what in FOLDERS.items():
        depth = folder.count("/")
        lines.append(_line(depth, folder.rpartition("/")[2] + "/", what))
        if folder in _CLOSED:
            continue
        for path in _files(ROOT / folder):
            lines.append(_line(depth + 1, str(path.relative_to(ROOT / folder)), first_sentence(path)))
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _files(folder: Path) -> list[Path]:
    """The files of a folder that say what they are; those of its sub-folders too, unless these have their own entry."""
    found = []
    for path in sorted(folder.rglob("*")):
        between = [parent for parent in path.parents if folder in parent.parents]
        own = any(str(parent.relative_to(ROOT)) in FOLDERS for parent in between)
        source = path.suffix in {".py", ".c", ".h", ".cu", ".toml", ".json", ".cmake"} or path.name == "CMakeLists.txt"
        if path.is_file() and source and not own and path.name != "__init__.py":
            found.append(path)
    return found


def _line(depth: int, name: str, what: str, width: int = 30) -> str:
    text = f"{'  ' * depth}{name:<{width - 2 * depth}} {what}".rstrip()
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def first_sentence(path: Path) -> str:
    text = path.read_text("utf-8")
    match path.suffix:
        case ".py":
            text = ast.get_docstring(ast.parse(text)) or ""
        case ".c" | ".h" | ".cu":
            comment = re.search(r"/\*(.*?)\*/", text, re.DOTALL)
            text = re.sub(r"\n\s*\*", "\n", comment.group(1)) if comment else ""
        case ".json":
            title = re.search(r'"title": "(.*?)"', text)
            text = f"JSON Schema of {title.group(1)}" if title else ""
        case _:
            text = re.sub(r"^# ?", "", text.partition("\n\n")[0], flags=re.MULTILINE) if text.startswith("#") else ""
    text = " ".join(text.partition("\n\n")[0].split()).removesuffix(".")
    return re.split(r"(?<=[\w)`\"])\. |(?<=\w): (?=[A-Z])", text, maxsplit=1)[0]


# --- the command line


def commands() -> str:
    """Every command with its usage, help and options."""
    return "".join(_section(" ".join(words), command) for words, command in every_command())


def every_command() -> Iterator[tuple[list[str], Any]]:
    """The words and the parsed form of every command, groups first."""
    import typer

    from cgcli.cli.main import build

    def walk(words: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
        yield words, command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk([*words, name], child)

    yield from walk(["cgcli"], typer.main.get_command(build()))


def _section(name: str, command: Any) -> str:
    parts = [f"## {name}\n"]
    if command.help:
        text = textwrap.dedent(command.help).strip().replace("\\[", "[")
        words, _, examples = text.partition("[dim]")
        parts += [" ".join(paragraph.split()) + "\n" for paragraph in words.strip().split("\n\n")]
        if examples:
            parts.append("```sh\n" + examples.removesuffix("[/dim]") + "\n```\n")
    if children := getattr(command, "commands", {}):
        rows = [
            f"| [`{child}`](#{f'{name} {child}'.replace(' ', '-')}) | {_words(one.help)} |"
            for child, one in children.items()
        ]
        parts.append("| command | |\n|---|---|\n" + "\n".join(rows) + "\n")
    rows = [row for param in command.params if (row := _parameter(param))]
    if rows:
        parts.append("| option | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts) + "\n"


def _parameter(param: Any) -> str:
    """One row of an options table; empty for what is hidden or the same everywhere."""
    if getattr(param, "hidden", False) or set(getattr(param, "opts", ())) & COMMON:
        return ""
    metavar = getattr(param, "metavar", "") or ""
    if param.param_type_name == "argument":
        shown = metavar or str(param.name).upper()
    else:
        value = "" if getattr(param, "is_flag", False) else f" {metavar or 'TEXT'}"
        shown = ", ".join(sorted(param.opts, key=len)) + value
    shown = shown.replace("|", "\\|")
    return f"| `{shown}` | {_words(getattr(param, 'help', ''))} |"


def _words(text: str | None) -> str:
    first = (text or "").strip().partition("\n\n")[0]
    return " ".join(first.split()).replace("|", "\\|")


COMMON = {"--help", "--quiet", "--verbose", "--debug"}


# --- configuration


def settings() -> str:
    """A row for each setting: its line in config.toml, its default, legal values and meaning."""
    from cgcli.core.config import RULES, Settings

    meanings = field_comments(ROOT / "cgcli" / "core" / "config.py", "Settings")
    rows = []
    for name, rule in RULES.items():
        default = Settings.__dataclass_fields__[name].default
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `{name}` | {shown} | {rule.legal} | {meanings[name]} |")
    return "| setting | default | value | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def statuses() -> str:
    """A row for each exit status."""
    from cgcli.core.errors import ExitStatus

    meanings = field_comments(ROOT / "cgcli" / "core" / "errors.py", "ExitStatus")
    rows = [f"| {status.value} | {meanings[status.name]} |" for status in ExitStatus]
    return "| status | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"


def field_comments(file: Path, name: str) -> dict[str, str]:
    """The comment at the end of each field's line in a class."""
    source = file.read_text("utf-8")
    lines = source.splitlines()
    (body,) = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name]
    found = {}
    for node in body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name):
            found[target.id] = lines[(node.end_lineno or 0) - 1].partition("  # ")[2]
    return found


# --- errors


def errors() -> str:
    """Every error that the code raises, by class, with its hint."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted((ROOT / "cgcli").rglob("*.py")):
        for node, names in _calls(ast.parse(path.read_text("utf-8")), {}):
            if isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
                hint = next((one.value for one in node.keywords if one.arg == "hint"), None)
                row = template(node.args[0], names), template(hint, names) if hint else ""
                if any(map(str.isalpha, re.sub(r"{.*?}", "", row[0]))):  # one with no words of its own
                    found.setdefault(node.func.id, set()).add(row)
    parts = []
    for name, rows in sorted(found.items(), key=lambda one: ERRORS[one[0]]):
        parts.append(f"## Status {ERRORS[name]}: {name}\n\n| message | next step |\n|---|---|\n")
        parts.append("".join(f"| {_cell(message)} | {_cell(hint)} |\n" for message, hint in sorted(rows)) + "\n")
    return "".join(parts)


Names = Mapping[str, ast.expr]
"""Texts by the names of the variables that have them."""


def _calls(scope: ast.AST, names: Names) -> Iterator[tuple[ast.Call, Names]]:
    """The calls in a module or function, with the names of texts that are known there."""
    own: dict[str, list[ast.expr]] = {}
    inside: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        inside.append(node)
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            own.setdefault(target.id, []).append(node.value)
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)
    texts = {name: values[0] for name, values in own.items() if len(values) == 1 and _is_text(values[0])}
    known = {**{name: value for name, value in names.items() if name not in own}, **texts}
    for node in inside:
        if isinstance(node, ast.Call):
            yield node, known
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield from _calls(node, known)


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return _is_text(body) and _is_text(orelse)
    return False


def _error_classes() -> dict[str, int]:
    from cgcli.core import errors

    kinds: list[type[errors.CgcliError]] = [errors.CgcliError, *errors.CgcliError.__subclasses__()]
    own = errors.CgcliError.__module__  # others, of layers above, are there once something has imported them
    return {kind.__name__: int(kind.status) for kind in kinds if kind.__module__ == own}


ERRORS = _error_classes()


def template(node: ast.expr, names: Names) -> str:
    """The text of an expression that makes a message, with values in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(template(value, names) for value in values)
        case ast.Name(id=name) | ast.FormattedValue(value=ast.Name(id=name)) if name in names:
            return template(names[name], {})
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value).rpartition(".")[2] + "}" if _plain(value) else "{…}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left, names) + template(right, names)
        case ast.IfExp(body=body, orelse=orelse):
            return f"{template(body, names)} / {template(orelse, names)}"
        case _:
            return "{" + ast.unparse(node).rpartition(".")[2] + "}" if _plain(node) else "{…}"


def _plain(node: ast.expr) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def stale() -> list[str]:
    """The names of blocks that are out of date."""
    return [f"{file.relative_to(ROOT)}: {name}" for file, name, text in blocks() if block(file, name) != text]


def main() -> None:
    if "--write" in sys.argv:
        for file, name, text in blocks():
            write_block(file, name, text)
    print("\n".join(stale()), end="")


if __name__ == "__main__":
    main()
