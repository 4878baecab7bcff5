"""The program that `gen` continues: of a file, of stdin, or of the last run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.gen_arguments import GenArguments
from cgcli.app.streams import file_bytes, stdin_bytes
from cgcli.core.errors import UsageError
from cgcli.program.source import encode
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.app.log import LastProgram
    from cgcli.terminal.output import Output


def require_program(arguments: GenArguments) -> None:
    """Raise UsageError if --into would add to a file whose suffix says that it is no program."""
    file = arguments.into
    if file is None or arguments.lang or not file.suffix:
        return
    from cgcli.program.languages import is_known

    if is_known(file):
        return
    if file.is_file() and file.stat().st_size:
        raise UsageError(
            f"{file} does not look like a program",
            hint=f"to let the program read it: --run --read {file}; to add to it all the same: --lang python",
        )


def program_so_far(output: Output, arguments: GenArguments, last: LastProgram | None) -> bytes:
    """The bytes of the program so far. last: the one to go on with. Raises CgcliError if it cannot be read."""
    if arguments.into:
        from cgcli.core.reading import read_if_present

        return read_if_present(arguments.into)  # a pipe or a device cannot be appended to
    if last:
        lines = plural(last.text.count("\n"), "line")
        output.note(f"going on with the program of {last.where}: {lines}{f', {last.title}' * bool(last.title)}")
    elif arguments.no_stdin or arguments.if_changed or Path("-") in arguments.files:
        return b""
    waiting = "waiting for the program so far on stdin (--no-stdin to skip)"
    before = encode(last.text) if last else stdin_bytes(waiting=lambda: output.note(waiting))
    if (
        before and not last and (arguments.prompts or arguments.files)
    ):  # in a loop over lines, stdin may be meant for the loop
        count = before.count(b"\n") + (not before.endswith(b"\n"))
        output.note(f"read the program so far from stdin: {plural(count, 'line')} (--no-stdin to skip)")
    target = arguments.output
    if before and not arguments.whole and target and target.is_file() and file_bytes(target) == before:
        raise UsageError(
            f"-o would replace the program so far in {target} with only the new text",
            hint=f"--into {target}, or --whole",
        )
    return before


def as_read(arguments: GenArguments, before: bytes) -> str:
    """The program so far as the model reads it."""
    if not before:
        return ""
    from cgcli.program.source import decode, from_file
    from cgcli.program.stamp import without_stamps

    return decode(before) if arguments.raw else without_stamps(from_file(before))
