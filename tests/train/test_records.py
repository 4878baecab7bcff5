"""Packing, token by token; and the file that comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import CgcliError
from cgcli.train.records import SHORTEST, Records, RecordWriter

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
        with pytest.raises(CgcliError, match="is no file of records"):
            Records(tmp_path / name)
