"""Exercises: short programs in turns, put together from tables of beginners' steps, each with its wording.

Libraries teach a small model Python, but little of what a prompt asks for. Here every comment says exactly what its
code does: a variable, something computed from it, printed or stored, a function and its call. Each step is run while a
program is put together (our own code, on small values), so a program is one that runs. The same seed gives the same
exercises.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from cgcli.train.exercise_tables import DEEDS, FUNCTIONS, NAMES, PHRASES, WORDS
from cgcli.train.wording import said

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
_LARGEST = 200  # an integer, or a length, that a step may still loop over


def exercises(seed: int, count: int) -> Iterator[str]:
    """`count` programs, each two to six turns."""
    for index in range(count):
        yield _Exercise(random.Random(f"exercise {seed} {index}")).text()


class _Exercise:
    """A program under way. values: what its names stand for after the turns so far; those of loops are among them."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.values: dict[str, Any] = {}
        self.functions: dict[str, tuple[str, bool]] = {}  # not called yet: kind of the argument, whether it returns one
        self.variables: list[str] = []  # that were asked for, and may be spoken of
        self.recent = ""  # the variable that "it" or "them" stands for

    def text(self) -> str:
        turns: list[str] = []
        length = self.draw.choice((2, 3, 3, 4, 4, 5, 6))
        while len(turns) < length:
            variables, functions = list(self.variables), dict(self.functions)
            made = self._step(first=not turns, last=len(turns) == length - 1)
            if made is None or not self._runs(made[1]):
                self.variables, self.functions = variables, functions
            else:
                turns.append(f"# {said(made[0], self.draw)}\n{made[1]}\n")
        return (_PREFIX if self.draw.random() < 0.7 else "") + "\n".join(turns)

    def _step(self, *, first: bool, last: bool) -> tuple[str, str] | None:
        """A prompt and its code; None where what was drawn does not fit the program so far."""
        if first:
            return self._define() if self.draw.random() < 0.15 else self._create()
        if self.functions and self.draw.random() < 0.6:
            return self._call()
        if last:
            return self._show() or self._create()
        steps = (self._create, self._show, self._store, self._do, self._define)
        return self.draw.choices(steps, (2, 5, 3, 3, 1))[0]()

    def _runs(self, code: str) -> bool:
        """Run a step; where it cannot be, nothing has changed but what it had done."""
        with suppress(Exception):
            # Compiled before: after a Ctrl-C in the exec of a text CPython ends by signal, whoever catches it.
            exec(compile(code, "exercise", "exec"), {**self.values, "print": lambda *_: None}, self.values)
            return True
        return False

    def _create(self) -> tuple[str, str]:
        """A new variable, its value told, or left to whoever writes the code."""
        draw = self.draw
        kind = draw.choice(("numbers", "numbers", "words", "text", "text", "integer", "integer", "decimal", "mapping"))
        name, value = draw.choice(NAMES[kind].split()), self._value(kind)
        self._know(name)
        code = f"{name} = {_spelt(value)}"
        noun, size = _NOUNS[kind], len(value) if isinstance(value, list | dict) else 0
        spelt = _spelt(value) if draw.random() < 0.7 else repr(value)
        told = [
            f"Assign {spelt} to {name}.",
            f"Set {name} to {spelt}.",
            f"Let {name} be {spelt}.",
            f"Store the {noun} {spelt} in {name}.",
            f"Create a {noun} {name} with the value {spelt}.",
            f"Make a variable called {name} that holds {spelt}.",
            f"{name} is {spelt}",
        ]
        if size in _COUNTS:
            things = {"numbers": "numbers", "words": "words", "mapping": "entries"}[kind]
            told += [
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
        return draw.choice(told), code

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
        told, expression, names = phrase
        name = self.draw.choice(names.split())
        form = self.draw.choice(
            (
                "Store {told} in {name}.",
                "Assign {told} to {name}.",
                "Let {name} be {told}.",
                "Compute {told} and call it {name}.",
                "Set {name} to {told}.",
                "Save {told} as {name}.",
            )
        )
        if name in expression:
            return None
        self._know(name)
        return form.format(told=told, name=name), f"{name} = {expression}"

    def _do(self) -> tuple[str, str] | None:
        kinds = self._kinds()
        rows = [row for row in DEEDS if row[0] in kinds]
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
        argument = name if name and self.draw.random() < 0.7 else _spelt(self._value(kind))
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
        """Words for something computed from a variable, the expression, and names for the result."""
        kinds = self._kinds()
        rows = [row for row in PHRASES if row[0] in kinds]
        if not rows:
            return None
        *row, names = self.draw.choice(rows)
        filled = self._filled(*row)
        return filled and (*filled, names)

    def _filled(self, kind: str, wordings: str, code: str) -> tuple[str, str] | None:
        """A wording and its code, about a variable of `kind`."""
        name = self._variable(kind)
        if not name:
            return None
        wording = self.draw.choice(wordings.split("|"))
        if "{0}" not in wording and name != self.recent:
            return None
        other = [one for one in self._variables("integer") if one != name]
        k = self.draw.choice(other) if other and self.draw.random() < 0.3 else str(self.draw.randint(2, 12))
        slots = {"k": k, "w": self.draw.choice(WORDS["words"].split()), "c": self.draw.choice("aeiorstnl")}
        told = wording.format(self._called(name), **slots)
        self.recent = name
        return told, code.format(name, **slots)

    def _called(self, name: str) -> str:
        """A variable as people speak of it."""
        kind, chance = _kind(self.values[name]), self.draw.random()
        if name == self.recent and chance < 0.15:
            return "them" if kind in ("numbers", "words") else "it"
        if chance < 0.3 and kind:
            return f"the {_NOUNS[kind]} {name}"
        return f'"{name}"' if chance < 0.35 else name

    def _know(self, name: str) -> None:
        """From now on `name` may be spoken of, and "it" stands for it."""
        self.variables = [*(one for one in self.variables if one != name), name]
        self.recent = name

    def _variable(self, kind: str | None) -> str:
        """One of the variables of a kind, the recent one first; "" if there is none."""
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
    """What a step may take `value` for; None where the tables do not speak of it, or it is too large to loop over."""
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


def _spelt(value: object) -> str:
    """A literal as it is written today, with double quotes."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_spelt, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_spelt(key)}: {_spelt(one)}' for key, one in value.items())}}}"
    return repr(value)
