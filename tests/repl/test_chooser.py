"""Candidates side by side, and the keys that take one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from cgcli.repl.chooser import Chooser, choose_card, side_by_side
from cgcli.repl.reader import CandidateCard
from cgcli.terminal.text import columns

CARDS = [CandidateCard(f"candidate {n}", f"log-probability -{n}.0 · parses", "x = 1\n" * n) for n in range(1, 6)]
TEXT = st.text(max_size=60)


def test_as_many_beside_each_other_as_there_is_room_for() -> None:
    def beside(width: int) -> int:
        return side_by_side(CARDS, width)[0].count("candidate")

    assert [beside(width) for width in (20, 78, 79, 119, 120, 400)] == [1, 1, 2, 2, 3, 3]
    assert side_by_side(CARDS[:1], 200)[0] == "candidate 1"


def test_the_whole_of_every_candidate_is_there() -> None:
    assert side_by_side(CARDS[:3], 80) == [
        "candidate 1                            │ candidate 2",
        "log-probability -1.0 · parses          │ log-probability -2.0 · parses",
        "x = 1                                  │ x = 1",
        "                                       │ x = 1",
        "",
        "candidate 3",
        "log-probability -3.0 · parses",
        "x = 1",
        "x = 1",
        "x = 1",
    ]


@given(
    st.lists(
        st.builds(CandidateCard, st.text(max_size=60), st.text(max_size=60), st.text(max_size=200)),
        min_size=1,
        max_size=9,
    ),
    st.integers(1, 200),
)
def test_no_line_is_wider_than_the_terminal_or_drives_it(cards: list[CandidateCard], width: int) -> None:
    for line in side_by_side(cards, width):
        assert columns(line) <= width
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in line)
    shown = "".join(text for _, text, *_ in Chooser(cards).fragments(width, 24))
    assert all(columns(line) <= width for line in shown.split("\n"))


def test_the_last_page_is_as_full_as_the_others() -> None:
    """Else somebody whose candidate comes last would think that it is the only one."""
    cards = [*CARDS[:2], CandidateCard("candidate 3", "", "", accepted=True)]
    shown = "".join(text for _, text, *_ in Chooser(cards).fragments(80, 24))
    assert "candidate 2" in shown and "candidate 3" in shown


def test_it_says_how_many_candidates_are_on_either_side() -> None:
    def rows(at: int, count: int = 5) -> list[str]:
        chooser = Chooser(CARDS[:count])
        chooser.move(at)
        return "".join(text for _, text, *_ in chooser.fragments(80, 24)).split("\n")

    assert [rows(at)[-2] for at in (0, 2, 4)] == ["3 more →", "← 2 more · 1 more →", "← 3 more"]
    assert not any("more" in row for row in rows(0, 2))
    assert len(rows(0)) <= 24


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ("\r", 0),
        ("\x1b[C\r", 1),
        ("\x1b[D\r", 0),
        ("ll\x1b[Dl\r", 2),
        ("5\r", 4),
        ("9\r", 0),
        ("5\x1b[C\r", 4),
        ("3x\r", 2),
        ("3q", None),
        ("3\x03", None),
        ("\x04", None),
    ],
)
def test_keys(keys: str, taken: int | None) -> None:
    with create_pipe_input() as pipe:
        pipe.send_text(keys)
        assert choose_card(CARDS, input=pipe, output=DummyOutput()) == taken


def test_the_first_look_is_at_the_one_that_stands() -> None:
    with create_pipe_input() as pipe:
        pipe.send_text("\r")
        assert (
            choose_card([*CARDS, CandidateCard("six", "", "x", accepted=True)], input=pipe, output=DummyOutput()) == 5
        )


def test_facts_that_are_too_long_for_a_line_have_two() -> None:
    card = CandidateCard("1 of 2", "log-probability -0.52, parses, run: passed", "x = 1\n")
    one_two = ["1 of 2", "log-probability -0.52, parses, run:", "passed", "x = 1"]
    assert [line.split(" │ ")[0].rstrip() for line in side_by_side([card, card], 80)] == one_two
    shown = "".join(text for _, text, *_ in Chooser([card, card]).fragments(80, 24))
    assert [line.split(" │ ")[0].rstrip() for line in shown.split("\n")][:-1] == one_two


def test_a_wide_line_of_code_continues_in_the_next_row() -> None:
    """So that candidates are told apart which differ there only."""
    codes = [f'print(f"the largest of all values is {{max({name})}}")\n\ty = 1\n' for name in ("numbers", "values")]
    cards = [CandidateCard(f"{n} of 2", "", code) for n, code in enumerate(codes, 1)]
    shown = "".join(text for _, text, *_ in Chooser(cards).fragments(80, 24)).split("\n")
    for lines in (side_by_side(cards, 80), shown[:-1]):
        first, second = zip(*((part.rstrip() for part in f"{line} │ ".split(" │ ")[:2]) for line in lines), strict=True)
        assert first == ("1 of 2", 'print(f"the largest of all values is {', '· max(numbers)}")', "        y = 1")
        assert second == ("2 of 2", 'print(f"the largest of all values is {', '· max(values)}")', "        y = 1")


@given(st.text(st.sampled_from("ab 日\t"), max_size=120), st.integers(1, 60))
def test_nothing_of_a_line_of_code_is_cut(line: str, width: int) -> None:
    rows = [row.removeprefix("·") for row in side_by_side([CandidateCard("1", "", f"x{line}x")], max(width, 2))[1:]]
    assert "".join(rows).replace(" ", "") == f"x{line}x".expandtabs().replace(" ", "")


def test_a_candidate_is_taken_by_its_number_where_others_are_alike() -> None:
    cards = [
        CandidateCard("1", "", "x", number=1),
        CandidateCard("2, generated twice", "", "y", number=2),
        CandidateCard("4", "", "z", number=4),
    ]
    for keys, taken in (("4\r", 2), ("2\r", 1), ("3\r", 0), ("23\r", 1)):
        with create_pipe_input() as pipe:
            pipe.send_text(keys)
            assert choose_card(cards, input=pipe, output=DummyOutput()) == taken


@pytest.mark.parametrize("width", [20, 30, 38, 80])
def test_what_a_candidate_did_is_never_cut(width: int) -> None:
    told = "run: ModuleNotFoundError: " + "no_module_of_this_name_here " * 2 + "line 7, "
    assert len(told) < 100
    cards = [CandidateCard("1 of 2", told + "log-probability -0.52, parses, and more " * 9, "x = 1\n")] * 2
    for lines in (
        side_by_side(cards, width),
        "".join(text for _, text, *_ in Chooser(cards).fragments(width, 40)).split("\n"),
    ):
        text = "".join(line.split(" │ ")[0].strip() for line in lines)
        assert told.replace(" ", "") in text.replace(" ", "")


def test_facts_leave_room_for_the_code() -> None:
    cards = [CandidateCard("1 of 2", "log-probability -0.52, prints " + "z" * 3000, "x = 1\n"), CARDS[0]]
    shown = "".join(text for _, text, *_ in Chooser(cards).fragments(80, 24)).split("\n")
    assert len(shown) == 6
    assert shown[3].rstrip(" │").endswith("…")
    assert shown[4].startswith("x = 1")
    assert len(side_by_side(cards, 80)) == 5


def test_escape_leaves_and_so_does_the_end_of_input() -> None:
    with create_pipe_input() as pipe:
        pipe.send_text("3\x1b")
        assert choose_card(CARDS, input=pipe, output=DummyOutput()) is None
    with create_pipe_input() as pipe:
        pipe.send_text("3")
        pipe.close()
        assert choose_card(CARDS, input=pipe, output=DummyOutput()) is None


def test_long_code_scrolls_and_says_what_is_left() -> None:
    chooser = Chooser([CandidateCard("one", "", "".join(f"line {n}\n" for n in range(50)))])

    def seen() -> str:
        return "".join(text for _, text, *_ in chooser.fragments(100, 24))

    assert "line 20" in seen() and "line 21" not in seen() and "29 more lines" in seen()
    chooser.scroll(10)
    assert "line 9\n" not in seen() and "line 30" in seen() and "19 more lines" in seen()
    chooser.scroll(1000)
    assert "line 49" in seen() and "more" not in seen()
    chooser.scroll(-1000)
    assert "line 0\n" in seen()
    assert seen().count("\n") < Size(rows=24, columns=100).rows
