"""`cgcli eval mtpb`: drawing, judging, going on, and what it says."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.evals.tiny_humaneval import samples
from tests.support.cli import run as cgcli
from tests.support.patience import eventually
from tests.support.process import CGCLI, Ran

PREFIX = "# Import libraries.\n\nimport numpy as np\n\n"


pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two problems of two inputs."""
    file = tmp_path / "problems.jsonl"
    problem: dict[str, Any] = {"category": "math", "prompts": ["Let x be {x}.", "Print it."], "max_gen_length": 8}
    problem |= {"inputs": [{"x": 3}, {"x": 4}], "outputs": [3, 4]}
    file.write_text("".join(json.dumps({"id": number, **problem}) + "\n" for number in ("1", "89")))
    return file


def told(done: Ran) -> dict[str, Any]:
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def paper_rows(file: Path) -> Path:
    """As the paper's own sampler writes them: three of four pass by its rules, two strictly."""
    programs = {"x = 3\n\n\nx\n\n": 3, "print('4')\n\n": 4, "print(3)\n1 / 0\n\n": 4, "print([(1, 2)])\n\n": [[1, 2]]}
    with file.open("w") as out:
        for program, expected in programs.items():
            parts = [PREFIX, "# Say it.\n", program]
            row = {"id": "1", "input": {"x": 3}, "gold_output": expected}
            out.write(json.dumps({**row, "completions": "".join(parts), "prompts_completions": parts}) + "\n")
    return file


def test_rows_of_the_papers_sampler_get_a_verdict_each(tmp_path: Path, data: Path) -> None:
    file = paper_rows(tmp_path / "rows.jsonl")
    found = told(cgcli("eval", "mtpb", "--data", str(data), "--judge", str(file), "--json"))
    assert (found["pass@1"], found["n_problems"], found["n_samples"]) == (0.75, 1, 4)
    assert found["verdicts"] == {"passed": 3, "exception": 1} and found["rules"] == "paper"
    judged = sorted(rows(Path(found["results"])), key=lambda row: int(row["sample"]))
    assert [row["passed"] for row in judged] == [True, True, False, True]
    assert [row["completions"] for row in judged] == [row["completions"] for row in rows(file)]
    strict = told(cgcli("eval", "mtpb", "--data", str(data), "--judge", str(file), "--rules", "strict", "--json"))
    assert strict["pass@1"] == 0.5 and strict["verdicts"]["wrong answer"] == 1


def test_draws_and_judges_and_goes_on_with_more(tmp_path: Path, data: Path, tiny_model: Path) -> None:
    file = tmp_path / "samples.jsonl"
    words = ("eval", "mtpb", "--data", str(data), "-m", str(tiny_model), "-o", str(file), "--json")
    found = told(cgcli(*words))
    assert (found["n_problems"], found["n_samples"], len(rows(file))) == (2, 8, 8)
    assert set(found["turns"]) == {"multi", "single"} and found["turns"]["multi"]["n_samples"] == 4
    assert list(found["oddities"]) == ["89"]
    assert 0 <= found["pass@1"] <= 1 and sum(found["verdicts"].values()) == 8
    before = file.read_bytes()
    again = cgcli(*words, CGCLI_MAX_TOKENS="7")
    assert told(again)["verdicts"] == found["verdicts"] and file.read_bytes() == before
    assert "max_tokens is not used: each MTPB problem has its own limit\n" in again.err and "prefix is" not in again.err
    more = told(cgcli(*words, "-n", "2", "--turns", "multi"))
    assert more["n_samples"] == 8 and len(rows(file)) == 12 and file.read_bytes().startswith(before)
    keys = {(row["id"], row["case"], row["turns"], row["index"]) for row in rows(file)}
    assert len(keys) == 12


def test_drawing_and_judging_apart_is_the_same(tmp_path: Path, data: Path, tiny_model: Path) -> None:
    file = tmp_path / "samples.jsonl"
    words = ("eval", "mtpb", "--data", str(data), "--json")
    drawn = told(cgcli(*words, "-m", str(tiny_model), "--generate", str(file)))
    letter = told(cgcli(*words, "-m", str(tiny_model), "--generate", str(tmp_path / "letter.jsonl"), "--to-the-letter"))
    assert (drawn["end_bars"], letter["end_bars"]) == (True, False)
    assert drawn["n_samples"] == 8 and "pass@1" not in drawn and all("passed" not in row for row in rows(file))
    assert told(cgcli(*words, "--judge", str(file)))["n_samples"] == 8


def test_parts_joined_are_the_run_at_once(tmp_path: Path, data: Path, tiny_model: Path) -> None:
    words = ("eval", "mtpb", "--data", str(data), "--json")
    how = ("-m", str(tiny_model), "--exact", "--threads", "1")
    whole = told(cgcli(*words, *how, "-o", str(tmp_path / "whole.jsonl")))
    parts = [told(cgcli(*words, *how, "--shard", f"{number}/2")) for number in (1, 2)]
    assert [(part["n_problems"], part["n_samples"], part["shard"]) for part in parts] == [(1, 4, "1/2"), (1, 4, "2/2")]
    joined = tmp_path / "joined.jsonl"
    joined.write_bytes(b"".join(Path(part["samples"]).read_bytes() for part in parts))
    assert samples(joined.read_bytes()) == samples((tmp_path / "whole.jsonl").read_bytes())
    found = told(cgcli(*words, "--judge", str(joined)))
    for name in ("n_problems", "n_samples", "pass@1", "verdicts", "turns"):
        assert found[name] == whole[name]


@pytest.mark.long
def test_a_run_that_was_killed_goes_on(tmp_path: Path, data: Path, tiny_model: Path) -> None:
    file = tmp_path / "samples.jsonl"
    words = ["eval", "mtpb", "--data", str(data), "-m", str(tiny_model), "-n", "60", "--generate", str(file)]
    killed = subprocess.Popen([*CGCLI, *words], stderr=subprocess.DEVNULL)
    eventually(lambda: killed.poll() is not None or (file.exists() and file.stat().st_size >= 20_000))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with file.open("ab") as out:
        out.write(b'{"id": "1", "com')
    there = file.read_bytes().rpartition(b"\n")[0]
    assert 0 < there.count(b"\n") < 479
    assert cgcli(*words).status == 0
    assert file.read_bytes().startswith(there) and len(rows(file)) == 480
    assert len({(row["id"], row["case"], row["turns"], row["index"]) for row in rows(file)}) == 480


def test_a_table_for_a_person(tmp_path: Path, data: Path) -> None:
    done = cgcli("eval", "mtpb", "--data", str(data), "--judge", str(paper_rows(tmp_path / "rows.jsonl")))
    lines = done.out.decode().splitlines()
    assert lines[0].split() == ["PASS", "RATE", "MULTI"] and lines[1].startswith("all") and "75.0 %" in lines[1]
    assert any(line.startswith("math ") for line in lines) and any(line.startswith("2 turns ") for line in lines)
    assert "1 problem, 4 samples, rules paper: 3 passed, 1 exception" in done.err


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (("--turns", "many"), 2, "'--turns': 'many' is not multi, single or both"),
        (("--shard", "4/3"), 2, "invalid value '4/3' for --shard; use 1/3, 2/3 and 3/3 for three shards"),
        (("--rules", "papre"), 2, "'papre' is not paper or strict"),
        (("--judge", "nothing.jsonl"), 2, "nothing.jsonl does not exist"),
        (("--judge", "a", "--generate", "b"), 2, "--output, --generate and --judge cannot be used together"),
        (("--data", "nothing.jsonl"), 2, "nothing.jsonl does not exist"),
    ],
)
def test_wrong_words(words: tuple[str, ...], status: int, line: str, data: Path) -> None:
    done = cgcli("eval", "mtpb", "--data", str(data), *words)
    assert done.status == status and line.partition(",")[0] in done.err.splitlines()[-1]


def test_a_row_that_is_no_sample_is_named_and_nothing_is_written(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text('{"task_id": "HumanEval/0", "completion": ""}\n')
    done = cgcli("eval", "mtpb", "--data", str(data), "--judge", str(file))
    assert done.status == 1 and f"type: cgcli eval humaneval --judge {file}" in done.err
    assert not list(tmp_path.glob("*_results.jsonl"))
