"""A process that appends to a program until it is killed: `python -m tests.program.append FOLDER SEED`.

It continues the folder's program, or creates one, and prints the number of events that `append` has confirmed.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from cgcli.core.errors import UsageError
from cgcli.program.history import Add, Put
from cgcli.program.program import Program
from cgcli.program.program_store import ProgramStore
from tests.program.steps import drawn


def main(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    programs = ProgramStore(folder)
    with programs.latest() or programs.new(Program("import csv\n"), "python") as journal:
        print("open", flush=True)
        while True:
            history = journal.history
            program = history.program
            code = "x = 1\n" * chance.randrange(2000)
            try:
                if chance.random() < 0.2:
                    journal.append(history.undo())
                elif len(program.turns) > 4:
                    turn = drawn(program.until(0), "again", code)
                    journal.append(history.commit(Put(0, turn, "retry")))
                else:
                    journal.append(history.commit(Add(drawn(program, "more", code))))
            except UsageError:
                continue
            print(journal.path.read_bytes().count(b"\n") - 1, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
