"""Batches: every record once an epoch, the same order for any number of processes, and on from any place."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import CgcliError

pytest.importorskip("grain")

from cgcli.train.pipeline import Batches
from cgcli.train.records import Records


def records(path: Path, count: int = 10) -> Records:
    """Record i is [100 i, 100 i + 1, 100 i + 2]."""
    np.save(path, (100 * np.arange(count)[:, None] + np.arange(3)).astype(np.uint16))
    return Records(path)


def taken(batches: Iterable[np.ndarray], count: int) -> list[list[list[int]]]:
    return [batch.tolist() for batch in islice(batches, count)]


def test_every_record_once_an_epoch_and_each_epoch_in_another_order(tmp_path: Path) -> None:
    batches = Batches(records(tmp_path / "r.npy"), 4, 1)
    first = next(batches)
    assert first.shape == (4, 3) and first.dtype == np.int32
    order = [row for batch in [first.tolist(), *taken(batches, 4)] for row in batch]
    assert all(row == [row[0], row[0] + 1, row[0] + 2] for row in order)
    epochs = [[row[0] // 100 for row in order[:10]], [row[0] // 100 for row in order[10:]]]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1] and epochs[0] != list(range(10))


def test_the_seed_is_the_order(tmp_path: Path) -> None:
    one = records(tmp_path / "r.npy")
    orders = [taken(Batches(one, 4, seed), 6) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_processes_share_the_batches_of_one(tmp_path: Path) -> None:
    one = records(tmp_path / "r.npy")
    whole = taken(Batches(one, 6, 0), 5)
    shares = [taken(Batches(one, 6, 0, process=process, processes=3), 5) for process in range(3)]
    assert [[row for part in parts for row in part] for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("before", [0, 1, 4, 7])
def test_on_from_where_it_stood(tmp_path: Path, before: int) -> None:
    """Also across epochs, and however far Grain has read ahead."""
    batches = Batches(records(tmp_path / "r.npy"), 4, 3)
    taken(batches, before)
    state = batches.state()
    after = taken(batches, 6)
    again = Batches(Records(tmp_path / "r.npy"), 4, 3)
    taken(again, 2)
    again.restore(state)
    assert again.state() == state
    assert taken(again, 6) == after
    other = Batches(Records(tmp_path / "r.npy"), 4, 3, process=1, processes=2)
    other.restore(state)
    assert taken(other, 6) == [batch[2:] for batch in after]


def test_another_place_is_refused(tmp_path: Path) -> None:
    one = records(tmp_path / "r.npy")
    state = Batches(one, 4, 0).state()
    changed = one.rows.copy()
    changed[3, 1] += 1
    np.save(tmp_path / "changed.npy", changed)
    for batches, told in [
        (Batches(Records(tmp_path / "changed.npy"), 4, 0), "records"),
        (Batches(records(tmp_path / "more.npy", 11), 4, 0), "records"),
        (Batches(one, 2, 0), "sequences 4, now 2"),
        (Batches(one, 4, 1), "seed 0, now 1"),
    ]:
        with pytest.raises(CgcliError, match=f"made of other data: {told}"):
            batches.restore(state)


def test_fewer_records_than_a_batch(tmp_path: Path) -> None:
    (batch,) = taken(Batches(records(tmp_path / "r.npy", 2), 6, 0), 1)
    assert sorted(row[0] for row in batch) == [0, 0, 0, 100, 100, 100]


def test_what_cannot_be_batched(tmp_path: Path) -> None:
    one = records(tmp_path / "r.npy")
    with pytest.raises(CgcliError, match="sequences 4 cannot be shared out to 3 processes"):
        Batches(one, 4, 0, processes=3)
    with pytest.raises(CgcliError, match="sequences 1 cannot be shared out to 2 processes"):
        Batches(one, 1, 0, processes=2)
    np.save(tmp_path / "none.npy", np.zeros((0, 3), np.uint16))
    with pytest.raises(CgcliError, match="no records to train on"):
        Batches(Records(tmp_path / "none.npy"), 4, 0)
