"""Words of a line that is not typed to its end."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from cgcli.repl.quoting import quoted, unfinished

words = st.text(alphabet="ab '\"\\~/\t\n", max_size=8)


@given(st.lists(words.filter(bool), max_size=3), words.filter(bool))
def test_a_word_in_quotes_is_that_word(before: list[str], word: str) -> None:
    begun = "".join(f"{quoted(one)} " for one in before)
    assert shlex.split(quoted(word)) == [word]
    assert unfinished(begun + quoted(word)) == (len(before), len(begun), word)
    assert unfinished(begun) == (len(before), len(begun), "")


@given(words)
def test_what_is_typed_next_goes_behind_the_beginning_of_the_last_word(line: str) -> None:
    count, begin, _ = unfinished(line)
    assert len(shlex.split(line[:begin])) == count
    assert not begin or line[begin - 1].isspace()
