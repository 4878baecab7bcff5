"""The format of journals: values survive the round trip, and errors name what is wrong with a line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.program.history import Add, Commit, Drop, Event, Fill, History, Move, Point, Put, Run, Saved
from cgcli.program.program import PAPER, Candidate, Layout, Picked, Program, Turn, TurnFacts, VoteGroup
from cgcli.program.records import FORMAT, Entry, JournalHeader, entry, header, line
from cgcli.program.source import digest
from tests.program.steps import Step, drawn, event, layouts, programs, steps, texts

numbers = st.floats(allow_nan=False)
counts = st.integers(0, 2**64)
candidates = st.builds(
    Candidate,
    texts,
    counts,
    st.none() | numbers,
    st.sampled_from(["stop", "length", "context", "interrupted", "empty"]),
    counts,
)
facts = st.builds(
    TurnFacts, *(texts, texts, counts, numbers, numbers, counts, numbers, counts, texts, counts), st.none() | numbers
)
groups = st.builds(VoteGroup, st.lists(counts, max_size=2).map(tuple), texts)
picks = st.builds(
    Picked,
    st.sampled_from(["probable", "run", "tests", "reviewer"]),
    texts,
    counts,
    st.lists(groups, max_size=2).map(tuple),
    st.booleans(),
)
turns = st.builds(
    Turn,
    st.none() | texts,
    texts,
    st.lists(candidates, max_size=2).map(tuple),
    st.none() | st.integers(0, 2),
    st.none() | facts,
    st.none() | picks,
)
operations = st.one_of(
    st.builds(Add, turns),
    st.builds(Put, counts, turns, st.sampled_from(["retry", "pick", "edit", "code", "from", "replay"])),
    st.builds(Drop, counts),
    st.builds(Move, counts, counts),
    st.builds(Fill, counts, counts, texts, counts),
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Commit, counts, operations),
    st.builds(Point, texts, counts),
    st.builds(Run, texts, texts, st.booleans(), numbers, texts, texts, st.lists(texts, max_size=2).map(tuple)),
    st.builds(Saved, texts, texts),
)
headers = st.builds(
    JournalHeader, st.just(FORMAT), texts, texts, texts, texts, texts, layouts, st.lists(turns, max_size=2).map(tuple)
)
HEADER = JournalHeader(FORMAT, "20261123-0415", "2026-11-23T04:15:02+00:00", "python", "0.1.0", "# a\n", Layout())
READ = drawn(Program(), "read", "x = 1")


@given(texts, events)
def test_an_event_comes_back(time: str, happened: Event) -> None:
    written = line(Entry(time, happened))
    assert written.count(b"\n") == 1 and written.endswith(b"\n")
    assert entry(written) == Entry(time, happened)


@given(headers)
def test_a_header_comes_back(first: JournalHeader) -> None:
    written = line(first)
    assert written.count(b"\n") == 1 and written.endswith(b"\n")
    assert header(written) == first


@given(programs, steps)
def test_a_history_comes_back(program: Program, chosen: list[Step]) -> None:
    """What the reader of a file does, line by line: every field of the history is the same."""
    done = History.of(program)
    read = History.of(header(line(replace(HEADER, prefix=program.prefix, layout=program.layout))).program)
    for step in chosen:
        if happens := event(done, step):
            done.apply(happens)
            read.apply(entry(line(Entry("", happens))).event)
    assert read == done


def test_the_header_is_as_the_docstring_has_it() -> None:
    """A contract with whoever reads such files: it changes with FORMAT only."""
    assert json.loads(line(HEADER)) == {
        "format": 1,
        "id": "20261123-0415",
        "created": "2026-11-23T04:15:02+00:00",
        "language": "python",
        "cgcli": "0.1.0",
        "prefix": "# a\n",
        "layout": {"mark": "#", "whole_prompt": True, "after": None},
        "turns": [],
    }


TURN = {
    "prompt": "read",
    "completion": "x = 1",
    "candidates": [
        {
            "text": "x = 1",
            "tokens": 3,
            "mean_logprob": -0.5,
            "finish_reason": "stop",
            "draw": 0,
            "kept": 0,
            "temperature": None,
            "ran": "",
            "guard": None,
        }
    ],
    "accepted": 0,
    "start": "",
    "picked": None,
    "facts": {
        "model": "tiny",
        "quant": "f16",
        "seed": 1,
        "temperature": 0.2,
        "top_p": 0.95,
        "top_k": 0,
        "min_p": 0.0,
        "max_tokens": 256,
        "context": digest("# read\n"),
        "prompt_tokens": 7,
        "prompt_perplexity": 3.25,
        "folded": 0,
        "guard": "",
        "seconds": 0.5,
        "stops": [],
        "batch": 1,
        "others": None,
        "setup": None,
    },
}


@pytest.mark.parametrize(
    ("happened", "record"),
    [
        (Commit(0, Add(READ)), {"event": "commit", "parent": 0, "operation": {"op": "add", "turn": TURN}}),
        (
            Commit(1, Put(0, READ, "retry")),
            {"event": "commit", "parent": 1, "operation": {"op": "put", "index": 0, "turn": TURN, "why": "retry"}},
        ),
        (Commit(1, Drop(0)), {"event": "commit", "parent": 1, "operation": {"op": "drop", "index": 0}}),
        (Commit(1, Move(0, 2)), {"event": "commit", "parent": 1, "operation": {"op": "move", "index": 0, "to": 2}}),
        (Point("main", 2), {"event": "point", "branch": "main", "version": 2}),
        (
            Run("00", "passed", True, 0.5, "1\n", "careful\n", ("-v",)),
            {
                "event": "run",
                "text": "00",
                "verdict": "passed",
                "passed": True,
                "seconds": 0.5,
                "output": "1\n",
                "errors": "careful\n",
                "arguments": ["-v"],
            },
        ),
        (Saved("/a", "00"), {"event": "saved", "path": "/a", "text": "00"}),
    ],
)
def test_an_event_is_as_the_docstring_has_it(happened: Event, record: dict[str, Any]) -> None:
    written = json.loads(line(Entry("now", happened)))
    assert written == {"time": "now", **record}
    assert list(written)[:2] == ["time", "event"]


def test_a_line_can_be_read_by_people_and_holds_any_byte() -> None:
    assert "é 語".encode() in line(Entry("now", Point("é 語", 0)))
    assert rb"\udcff" in line(Entry("now", Point("\udcff", 0)))


def test_numbers_that_json_lacks_do_not_lose_a_turn() -> None:
    added = Commit(0, Add(Turn("p", "c", (Candidate("c", 1, -math.inf, "stop"),), 0)))
    assert entry(line(Entry("now", added))).event == added


def test_what_has_a_default_may_be_missing() -> None:
    shorter = json.loads(line(HEADER))
    del shorter["turns"]
    assert header(json.dumps(shorter).encode()) == HEADER
    written = b'{"time": "now", "event": "commit", "parent": 0, "operation": '
    written += b'{"op": "add", "turn": {"prompt": "p", "completion": "c"}}}'
    assert entry(written) == Entry("now", Commit(0, Add(Turn("p", "c"))))


POINT = {"time": "now", "event": "point", "branch": "main", "version": 0}
PUT = {"op": "put", "index": 0, "turn": {"prompt": "p", "completion": "c"}, "why": "edit"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({**POINT, "colour": 1, "age": 2}, "line has 'age', 'colour', which is unknown"),
        ({"time": "now", "event": "point"}, "line lacks branch, version"),
        ({**POINT, "version": True}, "version is True"),
        ({**POINT, "version": 1.5}, "version is 1.5"),
        ({**POINT, "branch": None}, "branch is None"),
        ({**POINT, "time": 5}, "time is 5"),
        ({**POINT, "event": "dance"}, "event is 'dance', none of commit, point, run, saved"),
        ({**POINT, "event": ["point"]}, "event is a list of 1, none of commit"),
        ([], "line is a list of 0"),
        ({"time": "now", "event": "commit", "parent": 0, "operation": {"op": "fly"}}, "op is 'fly', none of add, put"),
        ({"time": "now", "event": "commit", "parent": 0, "operation": None}, "operation is None"),
        (
            {"time": "now", "event": "commit", "parent": 0, "operation": {**PUT, "why": "fun"}},
            "why is 'fun', none of retry, pick",
        ),
        (
            {
                "time": "now",
                "event": "commit",
                "parent": 0,
                "operation": {**PUT, "turn": {"prompt": None, "completion": "", "candidates": [{}]}},
            },
            "candidates[0] lacks finish_reason, mean_logprob, text, tokens",
        ),
        (
            {"time": "now", "event": "run", "text": "", "verdict": "", "passed": True, "seconds": "long"},
            "seconds is 'long'",
        ),
    ],
)
def test_a_malformed_line_is_explained(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        entry(json.dumps(wrong).encode())
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("junk", [b"", b"{", b"\xff{}", b"[" * 100_000, b"9" * 5000, b"\0" * 10])
def test_what_is_no_json_is_a_value_error(junk: bytes) -> None:
    for read in (entry, header):
        with pytest.raises(ValueError):
            read(junk)


def test_another_format_is_named() -> None:
    with pytest.raises(ValueError, match="format is 2; this version of cgcli reads format 1"):
        header(json.dumps({"format": 2, "anything": "else"}).encode())
    with pytest.raises(ValueError, match="format is None"):
        header(b"{}")


def test_a_header_keeps_turns_and_layout() -> None:
    program = Program("a", layout=PAPER).add(Turn("p", "c"))
    first = replace(HEADER, prefix=program.prefix, layout=program.layout, turns=program.turns)
    assert header(line(first)).program == program
