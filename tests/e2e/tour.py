"""The README's tour of the REPL: the real one, in a pseudo-terminal, with the embedded model; its screens as text.

    python -m tests.e2e.tour [--write-readme]

Keys are sent as a person would press them, and the screen is read when it has come to rest. The program that is saved
at the end is run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.report import write_readme
from tests.conftest import TEST_HOME
from tests.pseudo_terminal import PseudoTerminal, pseudo_terminal

COLUMNS, ROWS = 80, 56


def prompts(terminal: PseudoTerminal) -> int:
    return len(re.findall(r"^\d+ ›", terminal.text, re.MULTILINE))


def enter(terminal: PseudoTerminal, line: str) -> None:
    """Type a line, and wait for the next prompt."""
    before = prompts(terminal)
    terminal.send(line + "\r")
    terminal.wait(lambda: prompts(terminal) > before, 60)
    terminal.pump(0.3)


def screens(folder: Path) -> Iterator[str]:
    """What stands on the screen when the program has run; below that, where candidates are chosen from; the end."""
    (folder / "store").symlink_to(TEST_HOME / "store")
    command = (sys.executable, "-m", "cgcli", "repl", "--seed", "1")
    with pseudo_terminal(*command, rows=ROWS, columns=COLUMNS, CGCLI_HOME=str(folder)) as terminal:
        terminal.wait_for("1 ›")
        terminal.pump(1.5)  # the model is loaded by then
        for line in ("a list with ten numbers", "print their mean", "print the largest", "/run"):
            enter(terminal, line)
        yield screen(terminal)
        for line in ("/undo", "print the largest and the smallest", "/n 4", "/set temperature 0.8"):
            enter(terminal, line)
        terminal.send("/retry\r")
        terminal.wait_for("take it")
        terminal.send("\x1b[D")  # arrow left
        terminal.pump(0.5)
        yield screen(terminal, "/undo")
        for line in ("", "/show", "/run", f"/save {folder / 'stats.py'}"):
            enter(terminal, line)
        yield screen(terminal, "/retry").replace(f"{folder}/", "")
        terminal.send("\x04")
        terminal.wait(lambda: not terminal.process.isalive())


def screen(terminal: PseudoTerminal, start: str = "") -> str:
    """The screen from the line with `start` on, without the empty lines above the toolbar."""
    rows = terminal.rows
    toolbar = rows.pop() if rows[-1] else ""
    first = next(number for number, row in enumerate(rows) if start in row)
    return "\n".join([*rows[first:], ""]).rstrip() + "\n" + toolbar


def tour() -> str:
    """All screens, and what the saved program prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shown = list(screens(folder))
        done = subprocess.run(
            [sys.executable, folder / "stats.py"], capture_output=True, text=True, timeout=20, check=True
        )
    parts = [f"```text\n{text.rstrip()}\n```\n" for text in shown]
    return "\n".join([*parts, f"```console\n$ python3 stats.py\n{done.stdout}```\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-readme", action="store_true")
    text = tour()
    if parser.parse_args().write_readme:
        write_readme("make tour", text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
