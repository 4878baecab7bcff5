"""Finds risky calls in a program, to show them to the user before it runs.

This helps with honest programs only: it looks up names in the imports and misses anything indirect. It is not part of
the sandbox.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

#: What a call does, with functions and with modules all of whose functions do it.
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
_METHODS = {  # of objects of unknown type
    "unlink": "deletes files",
    "rmdir": "deletes files",
    "rmtree": "deletes files",
    "write_text": "writes files",
    "write_bytes": "writes files",
    "to_csv": "writes files",
}


@dataclass(frozen=True)
class Risk:
    """A risky call."""

    line: int  # from 1
    what: str  # what it does and the name called, as "deletes files: os.remove"


def risks(source: bytes) -> list[Risk]:
    """The risky calls, ordered by line; empty if the source is not valid Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = dict(_imported(tree))
    found = {(risk.line, risk.what): risk for node in ast.walk(tree) for risk in _of(node, names)}
    return [found[key] for key in sorted(found)]


def written_paths(source: bytes) -> set[str]:
    """The paths that the source names in calls that write files; empty if it is not valid Python."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    written = (call for call in calls if _writes(call) or _written_by_method(call))
    named = (one for call in written for one in ast.walk(call) if isinstance(one, ast.Constant))
    return {one.value for one in named if isinstance(one.value, str)}


def _written_by_method(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and _METHODS.get(call.func.attr) == "writes files"


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that imports bind, and their full names."""
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
    """The full name of what is called, resolved through the imports; "" if it is not a name."""
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
