"""The tree of versions: everything can be undone, every version stays reachable, stale turns are found."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import UsageError
from cgcli.program.history import Add, Commit, Drop, History, Move, Point, Put, Run
from cgcli.program.program import Program, Turn
from cgcli.program.source import digest, encode
from tests.program.steps import Step, drawn, event, programs, steps, taken, texts


def grown(*prompts: str) -> History:
    """A history of turns as the model would have drawn them, each by an `add`."""
    history = History.of(Program("import csv\n"))
    for number, prompt in enumerate(prompts):
        history.apply(history.commit(Add(drawn(history.program, prompt, f"x{number} = {number}", f"y{number} = 0"))))
    return history


@given(programs, steps)
def test_each_step_undone_gives_back_the_same_program_and_redone_the_next(program: Program, chosen: list[Step]) -> None:
    history = History.of(program)
    for step in chosen:
        before = history.program
        if happens := event(history, step):
            history.apply(happens)
            if isinstance(happens, Commit):
                after = history.program
                history.apply(history.undo())
                assert history.program is before
                history.apply(history.redo())
                assert history.program is after


@given(programs, steps)
def test_all_undone_is_the_beginning_and_all_redone_the_end(program: Program, chosen: list[Step]) -> None:
    history = taken(program, chosen)
    end, back = history.at, 0
    while history.at != 0:
        history.apply(history.undo())
        back += 1
    assert encode(history.program.source()) == encode(program.source())
    for _ in range(back):
        history.apply(history.redo())
    assert history.at == end


def within_reach(history: History) -> set[int]:
    """The versions that undo, redo and switch lead to, found by doing so."""
    reached = set()
    for name in history.branches:
        walker = copy.deepcopy(history)
        walker.apply(walker.switch(name))
        with pytest.raises(UsageError, match="nothing to redo"):
            while True:
                walker.apply(walker.redo())
        with pytest.raises(UsageError, match="nothing to undo"):
            while True:
                reached.add(walker.at)
                walker.apply(walker.undo())
    return reached


@given(programs, steps)
def test_no_version_is_ever_out_of_reach(program: Program, chosen: list[Step]) -> None:
    history = taken(program, chosen)
    assert within_reach(history) == set(range(len(history.versions)))


def test_redo_stays_on_its_branch() -> None:
    """Two branches at one version: each goes forward to its own."""
    history = grown("read")
    history.apply(history.fork("other"))
    history.apply(history.commit(Drop(0)))
    history.apply(history.switch("main"))
    history.apply(history.commit(Add(Turn("main's", "a"))))
    history.apply(history.undo())
    history.apply(history.switch("other"))
    history.apply(history.undo())
    history.apply(history.switch("main"))
    history.apply(history.redo())
    assert history.program.turns[-1].prompt == "main's"


def test_what_was_undone_and_built_over_has_a_branch() -> None:
    history = grown("read", "sort", "print")
    history.apply(history.undo())
    history.apply(history.undo())
    history.apply(history.commit(Add(Turn("plot", "plot()"))))
    assert history.branches == {"main": 4, "undone-1": 3}
    history.apply(history.switch("undone-1"))
    assert [turn.prompt for turn in history.program.turns] == ["read", "sort", "print"]


def test_what_cannot_be_done_says_so() -> None:
    history = grown()
    for wrong in (history.undo, history.redo):
        with pytest.raises(UsageError, match="nothing to"):
            wrong()
    with pytest.raises(UsageError, match="branch main already exists"):
        history.fork("main")
    with pytest.raises(UsageError, match="no branch mian, did you mean main"):
        history.switch("mian")


@pytest.mark.parametrize(
    "impossible",
    [
        Commit(0, Add(Turn("p", "c"))),
        Commit(-1, Add(Turn("p", "c"))),
        Commit(2, Drop(2)),
        Commit(2, Drop(-1)),
        Commit(2, Put(-1, Turn("p", "c"), "edit")),
        Commit(2, Move(0, 2)),
        Commit(2, Move(-1, 0)),
        Point("main", 3),
        Point("new", -1),
    ],
)
def test_an_event_that_cannot_have_happened_changes_nothing(impossible: Commit | Point) -> None:
    history = grown("read", "sort")
    before = copy.deepcopy(history)
    with pytest.raises(IndexError):
        history.apply(impossible)
    assert history == before


@given(programs, steps)
def test_spans_are_where_the_turns_stand(program: Program, chosen: list[Step]) -> None:
    program = taken(program, chosen).program
    text, end = program.source(), len(program.prefix)
    for turn, span in zip(program.turns, program.spans(), strict=True):
        assert span.begin == end
        comment = "" if turn.prompt is None else program.comment(turn.prompt)
        separator = text[span.begin : span.code - len(comment)]
        assert set(separator) <= {"\n"} and text[span.begin : span.code] == separator + comment
        assert text[span.code : span.end] == turn.completion + program.closing(turn.completion)
        end = span.end
    assert end == len(text)


@given(programs, st.lists(st.tuples(st.none() | texts, texts), max_size=4))
def test_what_was_just_drawn_is_fresh(program: Program, turns: list[tuple[str | None, str]]) -> None:
    for prompt, completion in turns:
        program = program.add(drawn(program, prompt, completion))
        assert program.stale() == ()


@given(programs, steps)
def test_stale_is_what_stands_after_other_text_than_it_was_drawn_for(program: Program, chosen: list[Step]) -> None:
    program = taken(program, chosen).program
    expected = []
    for index, turn in enumerate(program.turns):
        before = program.until(index)
        now = before.source() + before.opening(turn.prompt)
        if turn.facts and turn.accepted is not None and turn.facts.context != digest(now):
            expected.append(index)
    assert program.stale() == tuple(expected)


def test_what_follows_a_change_is_stale_until_the_change_is_undone() -> None:
    history = grown("read", "sort", "print")
    history.apply(history.commit(Put(0, history.program.turns[0].choose(1), "pick")))
    assert history.program.stale() == (1, 2)
    history.apply(history.undo())
    assert history.program.stale() == ()


def test_a_move_makes_stale_and_the_move_back_fresh() -> None:
    history = grown("read", "sort", "print")
    history.apply(history.commit(Move(2, 1)))
    assert history.program.stale() == (1, 2)
    history.apply(history.commit(Move(1, 2)))
    assert history.program.stale() == ()


def test_a_new_prompt_makes_its_own_turn_stale_and_the_user_s_code_never_is() -> None:
    history = grown("read", "sort")
    history.apply(history.commit(Put(0, replace(history.program.turns[0], prompt="write"), "edit")))
    assert history.program.stale() == (0, 1)
    history.apply(history.commit(Put(0, history.program.turns[0].rewrite("x0 = 7"), "code")))
    assert history.program.stale() == (1,)


def test_runs_are_of_texts_and_saved_until_the_text_changes(tmp_path: Path) -> None:
    history = grown("read")
    assert history.unsaved
    ran = Run(digest(history.program.source()), "passed", True, 0.1)
    history.apply(ran)
    (tmp_path / "link.py").symlink_to(tmp_path / "real.py")
    history.apply(history.save(tmp_path / "link.py"))
    assert history.saved and history.saved.path == str((tmp_path / "real.py").resolve())
    assert history.run_of(history.program) is ran and not history.unsaved
    history.apply(history.commit(Drop(0)))
    assert history.run_of(history.program) is None
    history.apply(history.undo())
    assert history.run_of(history.program) is ran and not history.unsaved


def test_the_turn_that_was_drawn_last_is_no_other_s_number() -> None:
    history = grown("a", "b", "c")
    assert history.drawn == 2
    history.apply(history.commit(Put(0, replace(history.program.turns[0], completion="new"), "retry")))
    assert history.drawn == 0
    history.apply(history.commit(Move(0, 2)))
    assert history.drawn == 2
    history.apply(history.commit(Drop(0)))
    assert history.drawn == 1
    history.apply(history.commit(Put(0, history.program.turns[0].rewrite("by hand"), "code")))
    assert history.drawn == 1
    history.apply(history.commit(Drop(1)))
    assert history.drawn == 0  # c, which was drawn before it
    for _ in range(5):
        history.apply(history.undo())
    assert history.drawn == 2
    assert History.of(Program("x = 1\n")).drawn is None
