"""Packing, token by token; the file; and batches: every record once an epoch, from any position."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import CgcliError
from cgcli.train.records import SHORTEST, Batches, Records, RecordWriter

END = 7


def packed(path: Path, context: int, texts: list[list[int]], rows: int = 100) -> tuple[list[list[int]], int]:
    with RecordWriter(path, context, rows, END) as writer:
        for ids in texts:
            writer.add(ids)
    records = Records(path)
    assert (len(records), records.context) == (writer.records, context)
    assert writer.tokens == len(records) * context
    return [records[index].tolist() for index in range(len(records))], writer.dropped


def test_a_text_is_cut_and_what_is_left_is_joined(tmp_path: Path) -> None:
    context = 2 * SHORTEST
    first, second, third = (
        [number] * length for number, length in ((1, 5 * SHORTEST), (2, SHORTEST - 1), (3, SHORTEST + 9))
    )
    records, dropped = packed(tmp_path / "r.npy", context, [first, second, third])
    assert records == [[1] * context, [1] * context, [1] * SHORTEST + [END] + [2] * (SHORTEST - 1)]
    # What is left: of the second its end, and the third.
    assert dropped == 1 + SHORTEST + 10


def test_remainders_that_are_too_short_go(tmp_path: Path) -> None:
    records, dropped = packed(tmp_path / "r.npy", 100, [[1] * 99, [2] * (SHORTEST - 2), [3] * (99 + SHORTEST - 1)])
    assert records == [[1] * 99 + [END], [3] * 100]
    assert dropped == SHORTEST - 1 + SHORTEST - 1


def test_every_token_is_written_or_counted(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    texts = [[1] * int(length) for length in draw.integers(0, 700, 300)]
    records, dropped = packed(tmp_path / "r.npy", 128, texts)
    assert len(records) * 128 + dropped == sum(map(len, texts)) + len(texts)


@pytest.mark.parametrize(("rows", "dtype"), [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_two_bytes_an_id_where_they_do(tmp_path: Path, rows: int, dtype: str) -> None:
    records, _ = packed(tmp_path / "r.npy", 64, [[rows - 1] * 64], rows)
    assert records == [[rows - 1] * 64]
    assert Records(tmp_path / "r.npy").rows.dtype == dtype
    assert Records(tmp_path / "r.npy")[0].dtype == np.int32


def test_the_header_grows_with_the_records(tmp_path: Path) -> None:
    """From none to hundreds of thousands: no record moves."""
    with RecordWriter(tmp_path / "r.npy", 1, 10, END) as writer:
        writer.add(list(range(5)) * 60_000)
    records = Records(tmp_path / "r.npy")
    assert len(records) == 300_001
    assert records.gather([0, 4, 299_999, 300_000]).tolist() == [[0], [4], [4], [END]]


def test_what_is_no_file_of_records(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", np.zeros((2, 2)))
    (tmp_path / "text.npy").write_text("records")
    with (tmp_path / "cut.npy").open("wb") as file:
        np.save(file, np.zeros((9, 9), np.uint16))
        file.truncate(200)
    for name in ("floats.npy", "text.npy", "cut.npy", "none.npy"):
        with pytest.raises(CgcliError, match="is not a file of records"):
            Records(tmp_path / name)


def numbered(path: Path, count: int = 10) -> Records:
    """Record i is [100 i, 100 i + 1, 100 i + 2]."""
    np.save(path, (100 * np.arange(count)[:, None] + np.arange(3)).astype(np.uint16))
    return Records(path)


def taken(batches: Iterable[np.ndarray], count: int) -> list[list[list[int]]]:
    return [batch.tolist() for batch in islice(batches, count)]


def test_every_record_once_an_epoch_and_each_epoch_in_another_order(tmp_path: Path) -> None:
    batches = Batches(numbered(tmp_path / "r.npy"), 4, 1)
    first = next(batches)
    assert first.shape == (4, 3) and first.dtype == np.int32
    order = [row for batch in [first.tolist(), *taken(batches, 4)] for row in batch]
    assert all(row == [row[0], row[0] + 1, row[0] + 2] for row in order)
    epochs = [[row[0] // 100 for row in order[:10]], [row[0] // 100 for row in order[10:]]]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1] and epochs[0] != list(range(10))


def test_the_seed_is_the_order(tmp_path: Path) -> None:
    one = numbered(tmp_path / "r.npy")
    orders = [taken(Batches(one, 4, seed), 6) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_processes_share_the_batches_of_one(tmp_path: Path) -> None:
    one = numbered(tmp_path / "r.npy")
    whole = taken(Batches(one, 6, 0), 5)
    shares = [taken(Batches(one, 6, 0, process=process, processes=3), 5) for process in range(3)]
    assert [[row for part in parts for row in part] for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("before", [0, 1, 4, 7])
def test_on_from_where_it_stood(tmp_path: Path, before: int) -> None:
    """Also across epochs, and however far Grain has read ahead."""
    batches = Batches(numbered(tmp_path / "r.npy"), 4, 3)
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
    one = numbered(tmp_path / "r.npy")
    state = Batches(one, 4, 0).state()
    changed = one.rows.copy()
    changed[3, 1] += 1
    np.save(tmp_path / "changed.npy", changed)
    for batches, told in [
        (Batches(Records(tmp_path / "changed.npy"), 4, 0), "records"),
        (Batches(numbered(tmp_path / "more.npy", 11), 4, 0), "records"),
        (Batches(one, 2, 0), "sequences was 4, now 2"),
        (Batches(one, 4, 1), "seed was 0, now 1"),
    ]:
        with pytest.raises(CgcliError, match=f"belongs to other data: {told}"):
            batches.restore(state)


def test_fewer_records_than_a_batch(tmp_path: Path) -> None:
    (batch,) = taken(Batches(numbered(tmp_path / "r.npy", 2), 6, 0), 1)
    assert sorted(row[0] for row in batch) == [0, 0, 0, 100, 100, 100]


def test_what_cannot_be_batched(tmp_path: Path) -> None:
    one = numbered(tmp_path / "r.npy")
    with pytest.raises(CgcliError, match="sequences 4 cannot be divided among 3 processes"):
        Batches(one, 4, 0, processes=3)
    with pytest.raises(CgcliError, match="sequences 1 cannot be divided among 2 processes"):
        Batches(one, 1, 0, processes=2)
    np.save(tmp_path / "none.npy", np.zeros((0, 3), np.uint16))
    with pytest.raises(CgcliError, match="no records to train on"):
        Batches(Records(tmp_path / "none.npy"), 4, 0)
