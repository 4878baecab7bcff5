"""What a turn's text depends on, beside its prompt and the text before it: conditions, and what differs in them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, fields

from cgcli.program.program import Setup, TurnFacts

_WORDS = {
    "sha256": "the model's file",
    "cgcli": "the version of cgcli",
    "processor": "the processor",
    "guard": "the Python of the guards",
    "model": "the model",
    "quant": "the quantization",
    "stops": "stop",
    "batch": "candidates",
    "others": "the temperature of other candidates",
    "window": "ctx",
}
"""What differs, for the user, where it is not a setting."""

_NO_CONDITIONS = {"context", "prompt_tokens", "prompt_perplexity", "folded", "seconds", "setup", "file"}


@dataclass(frozen=True)
class Difference:
    """A condition of a turn's text that is not what it was."""

    name: str  # for the user
    then: object
    now: object

    def __str__(self) -> str:
        then, now = (str(one)[:60] for one in (self.then, self.now))
        return f"{self.name} differs: it was {then}, and is {now}"


def label(name: str) -> str:
    """A condition for the user, by the name of its field."""
    return _WORDS.get(name, name).removeprefix("the ")


def conditions(facts: TurnFacts) -> dict[str, object]:
    """What is known of the conditions, by the names of their fields; a guard that was off is `off`."""
    setup = {field.name: getattr(facts.setup, field.name) for field in fields(Setup)} if facts.setup else {}
    found = {field.name: getattr(facts, field.name) for field in fields(TurnFacts)}
    known = found | {"guard": facts.guard or "off"} | setup
    return {name: known[name] for name in _ORDER if known.get(name, "") not in ("", None)}


def differences(then: TurnFacts, now: TurnFacts, ignoring: Container[str] = ()) -> list[Difference]:
    """What differs in how two turns were drawn, as far as the first is known.

    ignoring: names of fields.
    """
    was, found = conditions(then), conditions(now)
    return [
        Difference(_WORDS.get(name, name), value, found.get(name, "unknown"))
        for name, value in was.items()
        if name not in ignoring and found.get(name) != value
    ]


_ORDER = [
    *_WORDS,
    *(one.name for one in (*fields(TurnFacts), *fields(Setup)) if one.name not in _WORDS.keys() | _NO_CONDITIONS),
]
