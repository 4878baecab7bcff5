"""What a program may do that a person wants to know before it runs, found by reading it.

A help for honest programs: names are looked up in its imports, and what is reached in a roundabout way is not seen. It
is no part of the sandbox.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_CALLS = {
    "deletes files": "os.remove os.unlink os.rmdir os.removedirs shutil.rmtree pathlib.Path.unlink pathlib.Path.rmdir",
    "moves or overwrites files": """
        os.rename os.renames os.replace os.truncate shutil.move shutil.copy shutil.copy2 shutil.copyfile shutil.copytree
    """,
    "runs other programs": """
        subprocess pty.spawn asyncio.create_subprocess_exec asyncio.create_subprocess_shell os.system os.popen os.fork
        os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe os.posix_spawn os.posix_spawnp
        os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe os.startfile
    """,
    "uses the network": """
        socket socketserver urllib.request http.client http.server ftplib smtplib poplib imaplib telnetlib xmlrpc
        asyncio.open_connection asyncio.start_server requests httpx aiohttp urllib3 paramiko
    """,
    "runs generated code": """
        eval exec compile __import__ importlib.import_module runpy pickle.load pickle.loads marshal.loads
    """,
    "calls native code": "ctypes cffi",
    "changes permissions, users or processes": "os.chmod os.chown os.setuid os.setgid os.kill os.killpg",
}
"""What a call does -> functions, and modules all of whose functions do."""
_METHODS = {
    "unlink": "deletes files",
    "rmdir": "deletes files",
    "rmtree": "deletes files",
    "write_text": "writes files",
    "write_bytes": "writes files",
    "to_csv": "writes files",
}
"""Of objects whose type is not known here."""


@dataclass(frozen=True)
class Risk:
    """A call or an import. line: from 1; what: what it does, and by which name."""

    line: int
    what: str


def risks(source: bytes) -> list[Risk]:
    """By line; none where the source is not Python, which will not run either."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = dict(_imported(tree))
    found = {(risk.line, risk.what): risk for node in ast.walk(tree) for risk in _of(node, names)}
    return [found[key] for key in sorted(found)]


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that imports bind, and what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _of(node: ast.AST, names: dict[str, str]) -> Iterator[Risk]:
    if isinstance(node, ast.Call):
        name = _name(node.func, names)
        what = _risk(name) if name else None
        if what is None and isinstance(node.func, ast.Attribute):
            what, name = _METHODS.get(node.func.attr), f".{node.func.attr}"
        if what:
            yield Risk(node.lineno, f"{what}: {name}")
        elif name in {"open", "io.open"} and _writes(node):
            yield Risk(node.lineno, f"writes files: {name}")


def _name(node: ast.expr, names: dict[str, str]) -> str:
    """The full name of what is called, as far as imports tell; "" for what is not a name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (of := _name(node.value, names)):
        return f"{of}.{node.attr}"
    return ""


def _risk(name: str) -> str | None:
    for what, calls in _CALLS.items():
        if any(name == call or name.startswith(f"{call}.") for call in calls.split()):
            return what
    return None


def _writes(call: ast.Call) -> bool:
    mode = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "mode"), None)
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and bool(set(mode.value) & set("wax+"))
