"""Generates exercises: short programs in commented turns, assembled from tables of beginners' steps.

Libraries teach a small model Python, but not how to follow a prompt. In an exercise every comment says exactly what its
code does: create a variable, compute, print or store something, define and call a function. Each step is run while the
program is assembled (our own code, on small values), so every program works. The same seed gives the same exercises.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from cgcli.train.exercise_tables import ACTIONS, FUNCTIONS, NAMES, PHRASES, WORDS
from cgcli.train.wording import as_typed

_PREFIX = "#!/usr/bin/env python3\n\n"
_NOUNS = {
    "numbers": "list",
    "words": "list",
    "text": "string",
    "integer": "number",
    "decimal": "number",
    "mapping": "dictionary",
}
_COUNTS = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
_LARGEST = 200  # integer or length that a step may loop over


def exercises(seed: int, count: int) -> Iterator[str]:
    """`count` programs, each two to six turns."""
    for index in range(count):
        yield _Exercise(random.Random(f"exercise {seed} {index}")).text()


class _Exercise:
    """A program being assembled."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.values: dict[str, Any] = {}  # of all names after the turns so far, loop variables included
        self.functions: dict[str, tuple[str, bool]] = {}  # uncalled: kind of the argument, whether it returns
        self.variables: list[str] = []  # that a prompt may mention
        self.recent = ""  # the variable that "it" or "them" refers to

    def text(self) -> str:
        turns: list[str] = []
        length = self.draw.choice((2, 3, 3, 4, 4, 5, 6))
        while len(turns) < length:
            variables, functions = list(self.variables), dict(self.functions)
            made = self._step(first=not turns, last=len(turns) == length - 1)
            if made is None or not self._runs(made[1]):
                self.variables, self.functions = variables, functions
            else:
                turns.append(f"# {as_typed(made[0], self.draw)}\n{made[1]}\n")
        return (_PREFIX if self.draw.random() < 0.7 else "") + "\n".join(turns)

    def _step(self, *, first: bool, last: bool) -> tuple[str, str] | None:
        """A prompt and its code; None if the drawn step does not fit the program so far."""
        if first:
            return self._define() if self.draw.random() < 0.15 else self._create()
        if self.functions and self.draw.random() < 0.6:
            return self._call()
        if last:
            return self._show() or self._create()
        steps = (self._create, self._show, self._store, self._do, self._define)
        return self.draw.choices(steps, (2, 5, 3, 3, 1))[0]()

    def _runs(self, code: str) -> bool:
        """Run the code of a step; returns whether it raised no exception."""
        with suppress(Exception):
            # Compile first: after a Ctrl-C in exec of a string, CPython dies by the signal even if it is caught.
            exec(compile(code, "exercise", "exec"), {**self.values, "print": lambda *_: None}, self.values)
            return True
        return False

    def _create(self) -> tuple[str, str]:
        """A new variable; the prompt may leave its value open."""
        draw = self.draw
        kind = draw.choice(("numbers", "numbers", "words", "text", "text", "integer", "integer", "decimal", "mapping"))
        name, value = draw.choice(NAMES[kind].split()), self._value(kind)
        self._know(name)
        code = f"{name} = {_literal(value)}"
        noun, size = _NOUNS[kind], len(value) if isinstance(value, list | dict) else 0
        literal = _literal(value) if draw.random() < 0.7 else repr(value)
        prompts = [
            f"Assign {literal} to {name}.",
            f"Set {name} to {literal}.",
            f"Let {name} be {literal}.",
            f"Store the {noun} {literal} in {name}.",
            f"Create a {noun} {name} with the value {literal}.",
            f"Make a variable called {name} that holds {literal}.",
            f"{name} is {literal}",
        ]
        if size in _COUNTS:
            things = {"numbers": "numbers", "words": "words", "mapping": "entries"}[kind]
            prompts += [
                f"a {noun} with {_COUNTS[size]} {things}",
                f"Create a {noun} {name} of {_COUNTS[size]} {things}.",
            ] * 2
        if kind == "numbers" and draw.random() < 0.25:
            last = draw.randint(5, 20)
            return draw.choice(
                (f"Create a list {name} of the numbers from 1 to {last}.", f"the numbers from 1 to {last} as {name}")
            ), f"{name} = list(range(1, {last + 1}))"
        if kind == "integer" and draw.random() < 0.3:
            other, second = draw.choice([one for one in NAMES[kind].split() if one != name]), self._value(kind)
            self._know(other)
            return f"Let {name} be {value} and {other} be {second}.", f"{code}\n{other} = {second}"
        return draw.choice(prompts), code

    def _show(self) -> tuple[str, str] | None:
        form = self.draw.choice(("Print {}.", "Print {}.", "Print {}.", "Print out {}.", "Show {}.", "Output {}."))
        if self.draw.random() < 0.2:
            name = self._variable(None)
            return (form.format(self._called(name)), f"print({name})") if name else None
        if (phrase := self._phrase()) is None:
            return None
        return form.format(phrase[0]), f"print({phrase[1]})"

    def _store(self) -> tuple[str, str] | None:
        phrase = self._phrase()
        if phrase is None:
            return None
        wording, expression, names = phrase
        name = self.draw.choice(names.split())
        form = self.draw.choice(
            (
                "Store {wording} in {name}.",
                "Assign {wording} to {name}.",
                "Let {name} be {wording}.",
                "Compute {wording} and call it {name}.",
                "Set {name} to {wording}.",
                "Save {wording} as {name}.",
            )
        )
        if name in expression:
            return None
        self._know(name)
        return form.format(wording=wording, name=name), f"{name} = {expression}"

    def _do(self) -> tuple[str, str] | None:
        kinds = self._kinds()
        rows = [row for row in ACTIONS if row[0] in kinds]
        return self._filled(*self.draw.choice(rows)) if rows else None

    def _define(self) -> tuple[str, str]:
        kind, name, does, parameter, body = self.draw.choice(FUNCTIONS)
        self.functions[name] = (kind, "return" in body)
        form = self.draw.choice(
            (
                "Define a function {name} that {does}.",
                "Write a function called {name} that {does}.",
                "Create a function {name}({parameter}) that {does}.",
                "a function {name} that {does}",
                "Implement {name}, which {does}.",
            )
        )
        return form.format(name=name, does=does, parameter=parameter), f"def {name}({parameter}):\n    {body}"

    def _call(self) -> tuple[str, str]:
        function = self.draw.choice(list(self.functions))
        kind, gives = self.functions.pop(function)
        name = self._variable(kind)
        argument = name if name and self.draw.random() < 0.7 else _literal(self._value(kind))
        if not gives:
            return f"Call {function} with {argument}.", f"{function}({argument})"
        form = self.draw.choice(
            (
                "Print the result of {function} for {argument}.",
                "Call {function} with {argument} and print the result.",
                "Apply {function} to {argument} and print what it returns.",
                "Print {function} of {argument}.",
            )
        )
        return form.format(function=function, argument=argument), f"print({function}({argument}))"

    def _phrase(self) -> tuple[str, str, str] | None:
        """A phrase for a value computed from a variable, the expression, and names for the result."""
        kinds = self._kinds()
        rows = [row for row in PHRASES if row[0] in kinds]
        if not rows:
            return None
        *row, names = self.draw.choice(rows)
        filled = self._filled(*row)
        return filled and (*filled, names)

    def _filled(self, kind: str, wordings: str, code: str) -> tuple[str, str] | None:
        """A wording and its code, for a variable of `kind`."""
        name = self._variable(kind)
        if not name:
            return None
        wording = self.draw.choice(wordings.split("|"))
        if "{0}" not in wording and name != self.recent:
            return None
        other = [one for one in self._variables("integer") if one != name]
        k = self.draw.choice(other) if other and self.draw.random() < 0.3 else str(self.draw.randint(2, 12))
        slots = {"k": k, "w": self.draw.choice(WORDS["words"].split()), "c": self.draw.choice("aeiorstnl")}
        filled = wording.format(self._called(name), **slots)
        self.recent = name
        return filled, code.format(name, **slots)

    def _called(self, name: str) -> str:
        """A variable as people refer to it."""
        kind, chance = _kind(self.values[name]), self.draw.random()
        if name == self.recent and chance < 0.15:
            return "them" if kind in ("numbers", "words") else "it"
        if chance < 0.3 and kind:
            return f"the {_NOUNS[kind]} {name}"
        return f'"{name}"' if chance < 0.35 else name

    def _know(self, name: str) -> None:
        """Let prompts mention `name`, and "it" refer to it."""
        self.variables = [*(one for one in self.variables if one != name), name]
        self.recent = name

    def _variable(self, kind: str | None) -> str:
        """A variable of a kind, preferably the recent one; "" if there is none."""
        found = self._variables(kind)
        if self.recent in found and self.draw.random() < 0.6:
            return self.recent
        return self.draw.choice(found) if found else ""

    def _kinds(self) -> set[str | None]:
        return {_kind(self.values.get(name)) for name in self.variables}

    def _variables(self, kind: str | None) -> list[str]:
        found = {name: _kind(self.values.get(name)) for name in self.variables}
        return [name for name, its in found.items() if its and kind in (None, its)]

    def _value(self, kind: str) -> Any:
        draw = self.draw
        if kind == "numbers":
            low, high = draw.choice(((1, 10), (1, 10), (1, 100), (-10, 10), (0, 50)))
            return [draw.randint(low, high) for _ in range(draw.randint(3, 8))]
        if kind == "words":
            return draw.sample(WORDS["words"].split(), draw.randint(3, 6))
        if kind == "text":
            return draw.choice(WORDS["text"].split("|"))
        if kind == "integer":
            return draw.choice((draw.randint(1, 12), draw.randint(1, 100)))
        if kind == "decimal":
            return round(draw.uniform(0.5, 100), draw.choice((1, 2)))
        return {key: draw.randint(1, 60) for key in draw.sample(WORDS["words"].split(), draw.randint(2, 5))}


def _kind(value: object) -> str | None:
    """The kind of `value` in the tables; None for other types and values too large to loop over."""
    if isinstance(value, bool) or (isinstance(value, list | dict | str) and not 0 < len(value) <= _LARGEST):
        return None
    match value:
        case int():
            return "integer" if 0 < value <= _LARGEST else None
        case float():
            return "decimal"
        case str():
            return "text"
        case list() if all(isinstance(one, int) and abs(one) <= _LARGEST**2 for one in value):
            return "numbers"
        case list() if all(isinstance(one, str) for one in value):
            return "words"
        case dict() if all(isinstance(key, str) and isinstance(one, int) for key, one in value.items()):
            return "mapping"
    return None


def _literal(value: object) -> str:
    """The literal of `value`, with double quotes."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(one)}' for key, one in value.items())}}}"
    return repr(value)
