"""Files of samples: appended rows persist, keys are unique, a killed run resumes; and shards of a benchmark."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.core.errors import CgcliError, UsageError
from cgcli.evals.samples import Samples, Shard, read_rows, written
from tests.support.patience import eventually

KEY = ("task_id", "index")


def row(task: str, index: int, completion: str = "pass\n") -> dict[str, object]:
    return {"task_id": task, "index": index, "completion": completion}


def test_appended_rows_are_read_back_and_found_by_key(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "samples.jsonl"
    rows = [row("a", 0, "é\u2028\n"), row("a", 1, "\ud800"), row("b", 0)]
    with Samples(path, KEY) as samples:
        for one in rows:
            samples.append(one)
        assert list(read_rows(path)) == rows  # before it is closed
    with Samples(path, KEY) as samples:
        assert len(samples) == 3 and ("a", 1) in samples and ("b", 1) not in samples
        with pytest.raises(ValueError, match="already has a row"):
            samples.append(row("b", 0, "other"))
        samples.append(row("b", 1))
    assert list(read_rows(path)) == [*rows, row("b", 1)]


def test_rows_of_other_tools_are_kept_and_have_no_key(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"task_id": "a", "completion": "x"}\n\n{"task_id": "a", "completion": "x"}')
    with Samples(path, KEY) as samples:
        assert len(samples) == 0
        samples.append(row("a", 0))
        with pytest.raises(KeyError):
            samples.append({"task_id": "a"})
    assert [one["completion"] for one in read_rows(path)] == ["x", "x", "pass\n"]


@given(st.integers(1, 60))
def test_a_partial_last_line_is_removed(cut: int) -> None:
    import tempfile

    whole, last = written(row("a", 0)), written(row("a", 1, "x" * 20))
    cut = min(cut, len(last))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.jsonl"
        path.write_bytes(whole + last[:-cut])
        there = len(list(read_rows(path)))
        assert there == (2 if cut == 1 else 1)  # without its line end alone, it is whole
        with Samples(path, KEY) as samples:
            assert len(samples) == there
            samples.append(row("a", 2))
        assert [one["index"] for one in read_rows(path)] == ([0, 1, 2] if cut == 1 else [0, 2])


def test_a_partial_last_line_longer_than_a_block_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(written(row("a", 0)) + b'{"completion": "' + b"x" * 200_000)
    with Samples(path, KEY):
        pass
    assert path.read_bytes() == written(row("a", 0))


def test_a_file_with_only_a_partial_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"task')
    with Samples(path, KEY) as samples:
        assert len(samples) == 0
    assert path.read_bytes() == b""


def test_a_bad_line_is_an_error_with_its_number_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(written(row("a", 0)) + b"[1]\n")
    for opening in (lambda: list(read_rows(path)), lambda: Samples(path, KEY)):
        with pytest.raises(CgcliError, match="line 2 is not a JSON object"):
            opening()
    assert path.read_bytes().endswith(b"[1]\n")
    with pytest.raises(UsageError, match="does not exist"):
        list(read_rows(tmp_path / "none"))


def test_gzip_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(written(row("a", 0))))
    assert list(read_rows(path)) == [row("a", 0)]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CgcliError, match="cannot read"):
        list(read_rows(path))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        Samples(tmp_path / "samples.jsonl", KEY),
        pytest.raises(CgcliError, match="another cgcli is writing"),
    ):
        Samples(tmp_path / "samples.jsonl", KEY)
    Samples(tmp_path / "samples.jsonl", KEY).close()


def test_a_folder_or_a_full_disk_is_an_error_and_what_was_written_stays(
    tmp_path: Path, mount: Callable[..., Path]
) -> None:
    with pytest.raises(CgcliError, match="it is a folder"):
        Samples(tmp_path, KEY)
    path = mount("size=64k") / "samples.jsonl"
    with Samples(path, KEY) as samples:
        samples.append(row("a", 0))
        with pytest.raises(CgcliError, match="no space left"):
            for index in range(1, 100):
                samples.append(row("a", index, "x" * 5000))
        there = len(samples)
    assert len(list(read_rows(path))) == there


WRITER = """
import sys
from pathlib import Path
from cgcli.evals.samples import Samples
with Samples(Path(sys.argv[1]), ("index",)) as samples:
    for index in range(10**6):
        if (index,) not in samples:
            samples.append({"index": index, "text": "x" * 500})
"""


def test_a_killed_writer_leaves_whole_lines_and_the_next_one_resumes(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    for least in (50, 200):
        process = subprocess.Popen([sys.executable, "-c", WRITER, path])
        eventually(lambda: path.exists() and path.stat().st_size >= least * 600)  # noqa: B023 (at once)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = [one["index"] for one in read_rows(path)]
        assert len(found) >= least and found == list(range(len(found)))
    assert all(json.loads(line) for line in path.read_text().splitlines()[:-1])


# --- shards


@pytest.mark.parametrize("count", [1, 2, 3, 7, 200])
def test_shards_have_every_task_once(count: int) -> None:
    tasks = list(range(164))
    parts = [Shard.parse(f"{number}/{count}").part(tasks) for number in range(1, count + 1)]
    assert sorted(task for part in parts for task in part) == tasks
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_has_every_nth_task() -> None:
    shard = Shard.parse("2/3")
    assert (shard.part("abcdefgh"), str(shard), shard.suffix) == (["b", "e", "h"], "2/3", ".2-of-3")


@pytest.mark.parametrize(
    "words", ["", "1", "1/", "/3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "1 / 3", "a/b", "1/3\n", "१/३"]
)
def test_bad_shards_are_refused(words: str) -> None:
    with pytest.raises(UsageError, match="invalid value"):
        Shard.parse(words)
