"""All commands, in the order of `/help`; importing this package registers them."""

from cgcli.repl.commands import inspect, turns, fill, versions, run, files, model  # noqa: I001  (the order of /help)

from cgcli.repl.command import find

__all__ = ["files", "fill", "find", "inspect", "model", "run", "turns", "versions"]
