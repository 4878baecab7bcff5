"""A REPL of a few commands around the real reader, for the tests that need a real terminal; run in a pseudo-terminal.

/stream streams lines of code and /load says that it loads, until SIGUSR1 ends it; /stream 0 streams none. /ask asks for
other words within a command, /edit and /choose do what they say, all else is said back.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from cgcli.core.errors import CgcliError
from cgcli.native.interrupt import interruptible
from cgcli.repl.reader import CandidateCard, Status, Suggestion
from cgcli.repl.screen import Screen
from cgcli.repl.terminal import terminal_reader


class FakeView:
    """Says always the same, but that a model is loaded some time after `load`; completes a few words."""

    vi = False

    def __init__(self) -> None:
        turn = int(os.environ.get("TURN", "1"))
        self.now = Status(
            turn=turn, model="tiny", quant="q4_0", tokens=812, window=2048, clarity="fair", perplexity=12.34
        )

    def load(self, until: threading.Event, refresh: Callable[[], None]) -> None:
        self.now = replace(self.now, state="loading…")

        def loaded() -> None:
            until.wait()
            self.now = replace(self.now, state="")
            refresh()

        threading.Thread(target=loaded, daemon=True).start()

    def status(self) -> Status:
        return self.now

    def completions(self, before_cursor: str) -> Iterable[Suggestion]:
        word = before_cursor.rpartition(" ")[2]
        for name in ("/show", "/stats", "/switch", "mean_of_column", "median"):
            if word and name.startswith(word):
                yield Suggestion(name, len(before_cursor) - len(word), "a name")


CARDS = [CandidateCard(f"{n} of 4", f"log-probability -{n}.5", f"def f{n}():\n    return {n}\n") for n in range(1, 5)]


def main() -> None:
    view = FakeView()
    enough = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: enough.set())
    plain = bool(os.environ.get("NO_COLOR")) or os.environ["TERM"] == "dumb"
    screen = Screen(sys.stdout, color=not plain)
    history = Path(os.environ["HISTORY"]) if "HISTORY" in os.environ else None
    reader = terminal_reader(screen, sys.stdin, sys.stdout, history=history, variables=os.environ)
    while True:
        try:
            line = reader.read(view)
        except EOFError:
            screen.say("bye")
            return
        if line in ("/stream", "/load"):
            enough.clear()
        elif line == "/stream 0":
            enough.set()
        try:
            with reader.watching():
                if line.startswith("/load"):
                    view.load(enough, reader.refresh)
                elif line.startswith("/stream"):
                    stream(screen, enough)
                elif line == "/ask":
                    with interruptible(patient=True) as interrupt:
                        screen.painted(f"answered {reader.reword(view, 1, 'old')!r}, interrupted {interrupt.requested}")
                elif line == "/choose":
                    screen.painted(f"took {reader.choose(CARDS)!r}")
                elif line.startswith("!"):
                    screen.painted(f"status {reader.shell(line[1:], screen.descriptor)}")
                elif line == "/edit":
                    screen.painted(f"edited {reader.edit('old', '.py')!r}")
                else:
                    screen.painted(f"got {line!r}")
        except CgcliError as error:
            screen.error(error)
        except KeyboardInterrupt:
            screen.note("interrupted")
            screen.dropped(reader.drop())


def stream(screen: Screen, until: threading.Event) -> None:
    code = screen.stream()
    code.write("# streaming\n")
    number = 0
    try:
        while not until.is_set():
            code.write(f"value_{number} = ")
            time.sleep(0.02)
            code.write(f"{number}\n")
            number += 1
    finally:
        code.close()


if __name__ == "__main__":
    main()
