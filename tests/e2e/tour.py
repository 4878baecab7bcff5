"""Records the tour of the REPL: the real program in a pseudo-terminal, with the embedded model.

    python -m tests.e2e.tour [--write]

Keys are sent as a person would press them, and the screen is read when it has come to rest. The screens become text in
docs/repl.md and the first one a picture, docs/session.svg. The program that is saved at the end is run.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.conftest import REPOSITORY, TEST_HOME
from tests.support.markdown import write_block
from tests.support.patience import PATIENCE_S
from tests.support.process import CGCLI
from tests.support.pseudo_terminal import PseudoTerminal, pseudo_terminal

COLUMNS, ROWS = 80, 56


def prompts(terminal: PseudoTerminal) -> int:
    return len(re.findall(r"^\d+ ›", terminal.text, re.MULTILINE))


def enter(terminal: PseudoTerminal, line: str) -> None:
    """Type a line, and wait for the next prompt."""
    before = prompts(terminal)
    terminal.send(line + "\r")
    terminal.wait(lambda: prompts(terminal) > before)
    terminal.pump(0.3)


def screens(folder: Path, picture: Path | None) -> Iterator[str]:
    """What stands on the screen when the program has run; below that, where candidates are chosen from; the end.

    picture: where the first screen goes as SVG.
    """
    (folder / "store").symlink_to(TEST_HOME / "store")
    command = (*CGCLI, "repl", "--seed", "1")
    with pseudo_terminal(*command, rows=ROWS, columns=COLUMNS, CGCLI_HOME=str(folder)) as terminal:
        terminal.wait_for("1 ›")
        terminal.pump(1.5)  # the model is loaded by then
        prompts_of_the_program = (
            "a list with ten numbers",
            "print their mean",
            "print the largest",
            "print the natural logarithm of the largest value",  # which lacks an import
        )
        for line in (*prompts_of_the_program, "/run"):
            enter(terminal, line)
        if picture:
            picture.write_text(svg(terminal), "utf-8")
        yield screen(terminal)
        for line in ("/undo", "print the largest and the smallest", "/n 4", "/set temperature 0.8"):
            enter(terminal, line)
        terminal.send("/retry\r")
        terminal.wait_for("Enter: take")
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


def svg(terminal: PseudoTerminal) -> str:
    """The screen with its colors, without the empty lines above the toolbar."""
    filled = [number for number, row in enumerate(terminal.rows) if row]
    shown = [*range(filled[-2] + 1), filled[-1]]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for number in shown:
        line = Text(no_wrap=True)
        for column in range(COLUMNS):
            cell = terminal.screen.buffer[number][column]
            style = Style(
                color=_color(cell.fg),
                bgcolor=_color(cell.bg),
                bold=cell.bold,
                italic=cell.italics,
                reverse=cell.reverse,
            )
            line.append(cell.data, style)
        console.print(line, soft_wrap=True)
    picture = console.export_svg(title="cgcli", unique_id="session")
    # A page with the picture would ask a server for these fonts; without them it takes the reader's own.
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def _color(name: str) -> str | None:
    """A color of the terminal emulator as rich calls it; None for the terminal's own."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    plain = {"brown": "yellow", "brightbrown": "bright_yellow"}.get(name, name)
    return re.sub(r"^bright(?=[a-z])", "bright_", plain)


def tour(picture: Path | None = None) -> str:
    """All screens, and what the saved program prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shown = list(screens(folder, picture))
        done = subprocess.run(
            [sys.executable, folder / "stats.py"], capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
    parts = [f"```text\n{text.rstrip()}\n```\n" for text in shown]
    return "\n".join([*parts, f"```console\n$ python3 stats.py\n{done.stdout}```\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/repl.md and docs/session.svg")
    docs = REPOSITORY / "docs"
    if parser.parse_args().write:
        write_block(docs / "repl.md", "make tour", tour(docs / "session.svg"))
    else:
        print(tour(), end="")


if __name__ == "__main__":
    main()
