"""Anything a user may do to a program, as steps that hypothesis can choose and a history can take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from cgcli.core.errors import UsageError
from cgcli.program.history import Add, Drop, Event, History, Move, Put, Run
from cgcli.program.program import PAPER, RAW, Candidate, Layout, Program, Turn, TurnFacts
from cgcli.program.source import digest

# Every kind of text that a program may hold: any character, and bytes that were not UTF-8 (lone surrogates).
texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("# \n\r\t\u2028\x0b\x85\x00"),
        st.integers(0xDC80, 0xDCFF).map(chr),
    ),
    max_size=12,
)
layouts = st.sampled_from([Layout(), Layout("//"), PAPER, RAW])
programs = st.builds(Program, texts, layout=layouts)
KINDS = (
    *("add", "add", "add", "retry", "pick", "edit", "code", "from", "drop", "move"),
    *("undo", "undo", "redo", "branch", "switch", "run", "save"),
)


@dataclass(frozen=True)
class Step:
    """What to do; `which` and `other` are taken modulo what there is, text and texts go where the step needs any."""

    kind: str
    which: int
    other: int
    text: str
    prompt: str | None


steps = st.lists(
    st.builds(Step, st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9), texts, st.none() | texts),
    max_size=14,
)


def facts(program: Program, prompt: str | None, seed: int = 1) -> TurnFacts:
    context = digest(program.source() + program.opening(prompt))
    return TurnFacts("tiny", "f16", seed, 0.2, 0.95, 0, 0.0, 256, context, 7, 3.25, 0, 0.5)


def drawn(program: Program, prompt: str | None, *completions: str) -> Turn:
    """A turn as the model would have drawn it after `program`."""
    candidates = tuple(Candidate(text, 3, -0.5, "stop", draw) for draw, text in enumerate(completions))
    return Turn(prompt, completions[0], candidates, 0, facts(program, prompt))


def event(history: History, step: Step) -> Event | None:
    """What taking the step would be; None where it cannot be taken now."""
    program, names = history.program, list(history.branches)
    try:
        match step.kind:
            case "add":
                return history.commit(Add(drawn(program, step.prompt, step.text, "x = 1\n")))
            case "undo":
                return history.undo()
            case "redo":
                return history.redo()
            case "branch":
                return history.fork(step.text)
            case "switch":
                return history.switch(names[step.which % len(names)])
            case "run":
                return Run(digest(program.source()), "exit", False, 0.25, step.text, step.prompt or "", (step.text,))
            case "save":
                return history.save(Path("/tmp") / f"{step.which}.py")
    except UsageError:
        return None
    if not program.turns:
        return None
    index, to = step.which % len(program.turns), step.other % len(program.turns)
    turn, before = program.turns[index], program.until(index)
    match step.kind:
        case "retry":
            return history.commit(Put(index, drawn(before, turn.prompt, step.text), "retry"))
        case "pick":
            return history.commit(Put(index, turn.choose(step.other % len(turn.candidates)), "pick"))
        case "edit":
            return history.commit(Put(index, replace(turn, prompt=step.prompt), "edit"))
        case "code":
            return history.commit(Put(index, turn.rewrite(step.text), "code"))
        case "from":
            return history.commit(Put(index, drawn(before, turn.prompt, step.text, "pass"), "from"))
        case "drop":
            return history.commit(Drop(index))
        case "move":
            return history.commit(Move(index, to))
    raise AssertionError(step.kind)


def taken(program: Program, chosen: list[Step]) -> History:
    """A history in which the steps that could be taken were."""
    history = History.of(program)
    for step in chosen:
        if happens := event(history, step):
            history.apply(happens)
    return history
