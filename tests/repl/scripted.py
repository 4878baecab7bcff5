"""A REPL without terminal and model: what is typed, chosen and edited is given, and a fake engine answers by heart."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from cgcli.core.config import Settings
from cgcli.core.errors import CgcliError, ModelNotFound
from cgcli.engine.request import Completion, InfillKind, Request
from cgcli.hub.choose import Choice
from cgcli.program.languages import PYTHON
from cgcli.program.program import new_program
from cgcli.program.program_store import ProgramStore
from cgcli.repl.loader import Loader
from cgcli.repl.loop import loop
from cgcli.repl.reader import CandidateCard, View
from cgcli.repl.screen import Screen
from cgcli.repl.state import Options, Repl, Ui
from cgcli.sandbox.pick import PickRule
from tests.program.fake import ScriptedEngine

ANSWERS = {
    "a list with ten numbers": ("numbers = list(range(10))\n", "numbers = [1, 2, 3]\n", "numbers = [\n"),
    "a list with two numbers": ("numbers = [1, 2]\n",),
    "print their mean": ("print(sum(numbers) / len(numbers))\n", "print(mean(numbers))\n"),
    "print the largest": ("print(max(numbers))\n",),
    "nothing": ("",),
    "now and then": ("", "x = 1\n"),
    "clear the folder": (
        "import shutil\nshutil.rmtree('no such folder', ignore_errors=True)\n",
        "import shutil\nshutil.rmtree('no such folder', True)\n",
    ),
    "count": ("for number in range(50):\n    print(number)\n",),
    "no end": ("while True:\n    step()\n",),
    "arguments": ("import sys\nprint(*sys.argv[1:])\n",),
    "warn": ("import sys\nprint(42)\nsys.stderr.write('careful')\n",),
    "shout": ("print('z' * 3000)\n", "raise ValueError('z' * 3000)\n"),
    "a function f": ("def f(x):\n    return x\n", "def f(x):\n    return 2 * x\n", "def f(x):\n    return x + x\n"),
    "forever": ("while True:\n    pass\n", "print(1)\n"),
    "two lines": ("first = 1\nsecond = first / 0\n", "first = 3\nsecond = 4\n"),
}
"""What the engine writes for a prompt; of several texts that of the candidate's number, the last for all others."""


class AnsweringEngine(ScriptedEngine):
    """Knows ANSWERS; asked for code that stands already to a part, it says the rest,
    or `rest = 0` where there is none; all else is `pass`."""

    infill: InfillKind = ""

    def __init__(self, *, window: int = 100_000, interrupt_after: int | None = None) -> None:
        super().__init__([], window=window, interrupt_after=interrupt_after)
        self.closed = False

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        self.texts = [self._answer(request)]
        return super().stream(request)

    def _answer(self, request: Request) -> str:
        if request.context.endswith(b"\nassert f("):
            return "3) == 5\nassert f(0) == 0\n"
        _, _, asked = request.context.decode().rpartition("\n# ")
        prompt, _, kept = asked.partition("\n")
        texts = ANSWERS.get(prompt.removeprefix("# "), ("pass\n",))
        text = texts[min(request.candidate, len(texts) - 1)] + "\n\n\n" * (prompt != "no end")
        rest = text.removeprefix(kept) if text.startswith(kept) else ""
        return rest if rest.strip() or not kept else "rest = 0\n"

    def close(self) -> None:
        self.closed = True


class OneModel:
    """Models that are all the same engine; `gone` is not there, `broken` does not load."""

    def __init__(self, engine: AnsweringEngine) -> None:
        self.engine = engine

    def choose(self, name: str | None) -> Choice:
        if name == "gone":
            raise ModelNotFound("no model named 'gone'", hint="`cgcli models` lists all")
        return Choice(name or "tiny", Path("tiny.gguf"), "q8_0")

    def open(self, choice: Choice, cancelled: Callable[[], bool]) -> AnsweringEngine:
        if choice.name == "broken":
            raise CgcliError("broken.gguf is no model", hint="/model NAME")
        return self.engine

    def setup(self, choice: Choice, engine: object) -> None:
        return None

    def names(self) -> Iterable[str]:
        return ["tiny", "broken"]


class ScriptedReader:
    """Gives the lines, shown behind the number of their turn as a terminal would; then the end of input.

    choices: what is taken of cards, None where nothing more is said; edits: what an editor makes of a text.
    """

    where = ""

    def __init__(self, lines: Iterable[str], choices: Iterable[int] = (), edits: Iterable[str] = ()) -> None:
        self.screen: Screen | None = None  # what it shows on
        self.lines = list(lines)
        self.choices = list(choices)
        self.edits = list(edits)
        self.cards: list[Sequence[CandidateCard]] = []
        self.queue: list[str] = []
        self.defaults: list[str] = []
        self.refreshed = 0  # how often

    def read(self, view: View, default: str = "") -> str:
        self.defaults.append(default)
        if not self.queue and not self.lines:
            raise EOFError
        line = (self.queue or self.lines).pop(0)
        self._say(f"{view.status().turn} › {line}")
        return line

    def reword(self, view: View, turn: int, text: str) -> str | None:
        assert view.status().turn == turn
        try:
            return self.read(view, text) or None
        except EOFError:
            return None

    def _say(self, line: str) -> None:
        if self.screen:
            self.screen.painted(line)  # as a terminal echoes it: not wrapped

    def refresh(self) -> None:
        self.refreshed += 1

    def watching(self) -> AbstractContextManager[None]:
        return nullcontext()

    def lent(self) -> AbstractContextManager[None]:
        return nullcontext()

    def drop(self) -> Sequence[str]:
        dropped, self.queue = self.queue, []
        return dropped

    def choose(self, cards: Sequence[CandidateCard]) -> int | None:
        self.cards.append(cards)
        for card in cards:
            self._say(f"[{card.title}: {card.facts}]")
        return self.choices.pop(0) % len(cards) if self.choices else None

    def shell(self, command: str, output: int) -> int:
        raise CgcliError("there is no shell here")

    def edit(self, text: str, suffix: str) -> str:
        if not self.edits:
            raise CgcliError("the editor failed")
        return self.edits.pop(0)


class LoadedAtOnce(Loader):
    """Loads before anybody can see that it does."""

    def start(self) -> None:
        super().start()
        if self._thread:
            self._thread.join()


class Prompt(Repl):
    """A REPL whose models are there as soon as they are named: what is said meanwhile depends on the machine."""

    def _new_loader(self) -> Loader:
        return LoadedAtOnce(functools.partial(self.models.open, self.choice), self.ui.reader.refresh)


def make_repl(
    folder: Path,
    reader: ScriptedReader,
    *,
    width: int = 80,
    engine: AnsweringEngine | None = None,
    script: bool = False,
    settings: Settings | None = None,
    pick: PickRule = "probable",
) -> tuple[Repl, io.StringIO]:
    """A REPL in `folder`, and what it shows. It runs no candidates unless `pick` says so."""
    out = io.StringIO()
    engine = AnsweringEngine() if engine is None else engine
    models = OneModel(engine)
    choice, programs = models.choose(None), ProgramStore(folder / "programs")
    options = Options(settings or Settings(seed=1, guard="off"), pick=pick)  # its texts are no programs
    (folder / "work").mkdir(exist_ok=True)
    reader.screen = Screen(out, color=False, width=lambda: width)
    repl = Prompt(
        programs=programs,
        journal=programs.new(new_program(PYTHON, options.settings, choice.card), PYTHON.name),
        models=models,  # type: ignore[arg-type]  # a stand-in for Engine
        choice=choice,
        options=options,
        ui=Ui(reader=reader, screen=reader.screen, script=script),
        folder=folder / "work",
    )
    return repl, out


def play(folder: Path, *lines: str, choices: Sequence[int] = (), **how: object) -> tuple[Repl, str, int]:
    """A session of these lines: the REPL after it, what was shown, the status."""
    repl, out = make_repl(folder, ScriptedReader(lines, choices), **how)  # type: ignore[arg-type]
    status = loop(repl)
    repl.close()
    return repl, out.getvalue(), status
