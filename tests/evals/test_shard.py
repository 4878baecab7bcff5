"""Parts of a benchmark: together they are all of it, and none has what another has."""

from __future__ import annotations

import pytest

from cgcli.core.errors import UsageError
from cgcli.evals.shard import Shard


@pytest.mark.parametrize("count", [1, 2, 3, 7, 200])
def test_parts_are_all_tasks_each_once(count: int) -> None:
    tasks = list(range(164))
    parts = [Shard.parse(f"{number}/{count}").part(tasks) for number in range(1, count + 1)]
    assert sorted(task for part in parts for task in part) == tasks
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_is_every_nth() -> None:
    shard = Shard.parse("2/3")
    assert (shard.part("abcdefgh"), str(shard), shard.suffix) == (["b", "e", "h"], "2/3", ".2-of-3")


@pytest.mark.parametrize(
    "words", ["", "1", "1/", "/3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "1 / 3", "a/b", "1/3\n", "१/३"]
)
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(UsageError, match="--shard is"):
        Shard.parse(words)
