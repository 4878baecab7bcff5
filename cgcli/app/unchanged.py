"""What `gen --if-changed` keeps of a program: its turns up to the first prompt that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError
from cgcli.program.conditions import differences
from cgcli.program.program import Program, Turn, TurnFacts
from cgcli.program.redraw import why_not
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.app.run import Run

_IGNORED = {"cgcli", "processor", "threads", "gpu_layers", "draft", "window"}
"""Conditions of a turn that its user did not choose, or that change no draw: no reason to draw it again."""


@dataclass(frozen=True)
class Unchanged:
    """What a file keeps."""

    turns: tuple[Turn, ...] = ()
    seed: int | None = None  # that the turns were drawn with
    whole: bool = False  # the file is what would be written


def unchanged(
    run: Run,
    file: Path,
    program: Program,
    prompts: Sequence[str | None],
    now: TurnFacts,
    *,
    any_seed: bool,
    comments: bool,
    start: str,
) -> Unchanged:
    """What a file keeps if `prompts` are drawn after `program` into it.

    now: how turns would be drawn. any_seed: no seed was given, so the file's will do. comments: prompts are written,
    too. start: what the code begins with. Raises CgcliError if the file was changed since it was written, or if nothing
    is known of it.
    """
    from cgcli.app.written import find_program

    if not file.exists():
        return Unchanged()
    try:
        found = find_program(run, file)[-1]
    except CgcliError as error:
        raise CgcliError(error.message, hint="delete it to start over, or leave out --if-changed") from error
    old = found.program
    facts = next((turn.facts for turn in old.turns if turn.facts), None)
    same_beginning = old.prefix == program.prefix and old.layout == program.layout and found.comments == comments
    if facts is None or not same_beginning:
        run.output.note("the program begins differently; all turns are written again")
        return Unchanged()
    seed = facts.seed if any_seed else now.seed
    guard = facts.guard if facts.guard and now.guard else now.guard  # another Python is no reason
    for one in differences(facts, replace(now, seed=seed, quant=now.quant or facts.quant, guard=guard), _IGNORED):
        run.output.note(f"{one}; all turns are written again")
        return Unchanged(seed=seed)
    kept = 0
    for prompt, turn in zip(prompts, old.turns, strict=False):
        if turn.prompt != prompt or turn.start != start or why_not(old, kept):
            break
        kept += 1
    whole = kept == len(prompts) == len(old.turns)
    if whole:
        run.output.note(f"{file} is up to date")
    else:
        run.output.note(f"kept {plural(kept, 'turn')} of {len(old.turns)}")
    return Unchanged(old.turns[:kept], seed, whole)
