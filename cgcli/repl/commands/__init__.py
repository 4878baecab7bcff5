"""All commands, in the order of `/help`: importing this registers them."""

from cgcli.repl.commands import looking, turns, versions, run, files, programs, model  # noqa: I001  (the order of /help)

from cgcli.repl.command import find

__all__ = ["files", "find", "looking", "model", "programs", "run", "turns", "versions"]
