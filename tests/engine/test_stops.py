"""Stop strings across piece borders: the result does not depend on the split, and no more is held than necessary."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import UsageError
from cgcli.engine.stops import Chain, Cutter, Stops

# Few letters, so that stops overlap themselves, each other and the text.
texts = st.text("ab\n", max_size=14)
stop_lists = st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=4)
pieces = st.lists(texts, max_size=6)


def kept(text: str, stops: Sequence[str]) -> str:
    """The rule itself, on a finished text."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def run(cutter: Cutter, pieces: Sequence[str]) -> str:
    return "".join([cutter.feed(piece) for piece in pieces]) + cutter.finish()


@given(pieces, stop_lists)
def test_any_split_keeps_what_comes_before_the_earliest_stop(pieces: list[str], stops: list[str]) -> None:
    cutter = Stops(stops)
    assert run(cutter, pieces) == kept("".join(pieces), stops)
    assert cutter.finished
    assert cutter.feed("more") + cutter.finish() == ""


@given(texts, stop_lists, texts)
def test_nothing_is_taken_back_and_no_more_is_held_than_must_be(text: str, stops: list[str], more: str) -> None:
    cutter = Stops(stops)
    given_text = cutter.feed(text)
    assert kept(text + more, stops).startswith(given_text)
    endings = [stop[at:] for stop in stops for at in range(len(stop))]
    futures = {kept(text + ending + last, stops) for ending in ["", *endings] for last in "xy"}
    if cutter.finished:
        assert futures == {given_text}
    else:
        assert len(futures) > 1, "the cut is certain, so it should have been reported"
        held = text[len(given_text) :]
        assert not held or given_text in futures, f"{held!r} cannot be cut any more"


@given(pieces, stop_lists, stop_lists)
def test_of_several_cutters_the_earliest_cut_wins(pieces: list[str], first: list[str], second: list[str]) -> None:
    assert run(Chain(Stops(first), Stops(second)), pieces) == kept("".join(pieces), first + second)


def test_a_chain_reports_a_cut_as_soon_as_no_cutter_can_cut_earlier() -> None:
    chain = Chain(Stops(["b"]), Stops(["abc"]))
    assert (chain.feed("xab"), chain.finished) == ("x", False)  # the second may still cut before the a
    assert (chain.feed("d"), chain.finished) == ("a", True)


def test_a_stop_is_found_across_pieces_and_dropped() -> None:
    cutter = Stops(["```"])
    assert [cutter.feed(piece) for piece in ("x = 1\n`", "`", "`\nmore")] == ["x = 1\n", "", ""]
    assert cutter.finished and cutter.finish() == ""


def test_what_looked_like_a_stop_is_given_when_it_is_none() -> None:
    cutter = Stops(["```"])
    assert [cutter.feed(piece) for piece in ("`", "`", "a")] == ["", "", "``a"]
    assert (cutter.feed("``"), cutter.finish()) == ("", "``")


def test_no_stops_keep_everything_at_once() -> None:
    assert Stops().feed("anything\n") == "anything\n"
    assert Chain().feed("anything\n") == "anything\n"


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        Stops(["a", ""])
