"""`cgcli eval humaneval`: streams, files, what goes on after an end, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.extras import packages
from tests.evals.tiny_humaneval import samples, write_samples, write_tasks
from tests.support.cli import run as cgcli
from tests.support.patience import PATIENCE_S, eventually
from tests.support.process import CGCLI, Ran

RIGHT, WRONG = ("S/one", "    return 1\n"), ("S/one", "    return 2\n")


pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two tasks, where the commands run."""
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path / "tasks.jsonl")
    return tmp_path


def evaluated(*words: str) -> Ran:
    return cgcli("eval", "humaneval", "--data", "tasks.jsonl", *words)


def drawn(model: Path, *words: str) -> Ran:
    return evaluated("-m", str(model), "--max-tokens", "8", "--exact", "--threads", "1", *words)


def totals(done: Ran) -> Any:
    assert done.status == 0, done.err
    return json.loads(done.out)


def test_samples_of_any_tool_are_judged(here: Path) -> None:
    write_samples(here / "s.jsonl", RIGHT, WRONG, RIGHT, ("S/twice", "    return 2 * x\n"))
    done = evaluated("--judge", "s.jsonl")
    assert (done.status, done.out.decode().split("\n")) == (
        0,
        ["TEMPERATURE  SAMPLES  PASS@1", "-            4        83.3 % (66.7 to 100.0)", ""],
    )
    assert done.err.endswith("2 of 2 tasks, 4 samples: 3 passed, 1 wrong answer\nverdicts in s.jsonl_results.jsonl\n")
    facts = totals(evaluated("--judge", "s.jsonl", "--json", "-q"))
    assert facts["pass@1"] == pytest.approx(5 / 6) and facts["verdicts"] == {"passed": 3, "wrong answer": 1}
    assert (facts["n_problems"], facts["n_samples"], facts["sandbox"]) == (2, 4, True)
    assert "model" not in facts and facts["machine"] and len(facts["data_sha256"]) == 64
    assert totals(evaluated("--judge", "s.jsonl", "--json", "--unsafe", "--limit", "1"))["n_problems"] == 1


def test_to_draw_and_to_judge_apart_is_the_same_as_together(here: Path, tiny_model: Path) -> None:
    words = ("-n", "3", "-t", "0.2", "-t", "0.8")
    together = totals(drawn(tiny_model, *words, "-o", "together.jsonl", "--json"))
    assert totals(drawn(tiny_model, *words, "--generate", "apart.jsonl", "--json"))["n_samples"] == 12
    apart = totals(evaluated("--judge", "apart.jsonl", "--json"))
    for name in ("n_problems", "n_samples", "pass@1", "verdicts", "temperatures", "model", "sha256"):
        assert apart[name] == together[name]
    assert (together["seed"], together["n"], len(together["temperatures"])) == (0, 3, 2)
    assert samples((here / "apart.jsonl").read_bytes()) == samples((here / "together.jsonl").read_bytes())


def test_the_same_command_goes_on_and_more_samples_are_added(here: Path, tiny_model: Path) -> None:
    first = drawn(tiny_model, "-n", "2", "--json")
    path = Path(totals(first)["samples"])
    assert path == here / "home" / "data" / "evals" / "humaneval-tiny-f16.jsonl"
    before = path.read_bytes()
    again = drawn(tiny_model, "-n", "2", "--json", "-v")
    assert totals(first)["ran_on"]["gpu_layers"] == 0 and totals(again)["ran_on"] is None  # which drew nothing
    assert totals(again) == totals(first) | {"ran_on": None} and path.read_bytes() == before
    assert "loaded in" not in again.err  # no model is needed
    assert "samples: 4, " in again.err  # all of them there before
    more = totals(drawn(tiny_model, "-n", "5", "--json"))
    assert more["n_samples"] == 10 and path.read_bytes().startswith(before)
    # Fewer than there are: those of the smaller run alone.
    assert totals(drawn(tiny_model, "-n", "2", "--json")) == totals(again)


@pytest.mark.long
def test_a_killed_run_goes_on(here: Path, tiny_model: Path) -> None:
    words = ("-n", "20", "-t", "0.8", "-o", "s.jsonl", "-m", str(tiny_model), "--max-tokens", "60", "--exact")
    command = [*CGCLI, "eval", "humaneval", "--data", "tasks.jsonl", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = here / "s.jsonl"
    eventually(lambda: path.exists() and path.read_bytes().count(b"\n") >= 5)
    process.kill()
    process.wait()
    there = path.read_bytes()
    assert 5 <= there.count(b"\n") < 40
    facts = totals(evaluated(*words, "--json"))
    assert facts["n_samples"] == 40 and path.read_bytes().startswith(there[: there.rindex(b"\n") + 1])
    whole = totals(evaluated(*words[:4], "-o", "whole.jsonl", *words[6:], "--json"))
    assert whole["verdicts"] == facts["verdicts"]
    assert samples(path.read_bytes()) == samples((here / "whole.jsonl").read_bytes())


def test_ctrl_c_ends_it_in_a_line_and_what_was_done_is_kept(here: Path, tiny_model: Path) -> None:
    words = ("-n", "500", "-t", "0.8", "-o", "s.jsonl", "-m", str(tiny_model), "--max-tokens", "60")
    command = [*CGCLI, "eval", "humaneval", "--data", "tasks.jsonl", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    path = here / "s.jsonl"
    eventually(lambda: path.exists() and path.read_bytes().count(b"\n") >= 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().splitlines()[-1] == "cgcli: interrupted; run the same command again to resume"
    assert b"Traceback" not in err and path.read_bytes().endswith(b"}\n")


def test_three_parts_joined_are_the_run_at_once(here: Path, tiny_model: Path) -> None:
    words = ("-n", "4", "-t", "0.8")
    whole = totals(drawn(tiny_model, *words, "-o", "whole.jsonl", "--json"))
    parts = [totals(drawn(tiny_model, *words, "--shard", f"{number}/3", "--json")) for number in (1, 2)]
    assert [(part["n_problems"], part["n_samples"], part["shard"]) for part in parts] == [(1, 4, "1/3"), (1, 4, "2/3")]
    paths = [Path(part["samples"]) for part in parts]
    assert [path.name for path in paths] == ["humaneval-tiny-f16.1-of-3.jsonl", "humaneval-tiny-f16.2-of-3.jsonl"]
    assert drawn(tiny_model, *words, "--shard", "3/3", "--generate", "3.jsonl").status == 0  # there are two tasks
    joined = b"".join(path.read_bytes() for path in (*paths, here / "3.jsonl"))
    (here / "joined.jsonl").write_bytes(joined)
    assert samples(joined) == samples((here / "whole.jsonl").read_bytes())
    for found in (
        totals(evaluated("--judge", "joined.jsonl", "--json")),
        totals(drawn(tiny_model, *words, "-o", "joined.jsonl", "--json")),
    ):
        for name in ("n_problems", "n_samples", "pass@1", "verdicts", "temperatures", "sha256"):
            assert found[name] == whole[name]
    assert (here / "joined.jsonl").read_bytes() == joined  # nothing was left to draw
    assert totals(evaluated("--judge", "joined.jsonl", "--shard", "2/2", "--json"))["n_problems"] == 1


def test_parts_that_share_a_task_are_not_joined(here: Path, tiny_model: Path) -> None:
    assert drawn(tiny_model, "--shard", "1/2", "--generate", "one.jsonl").status == 0
    (here / "joined.jsonl").write_bytes(2 * (here / "one.jsonl").read_bytes())
    done = evaluated("--judge", "joined.jsonl")
    assert done.status == 1 and "joined.jsonl has a sample twice: task_id S/one, temperature 0.2, seed 0, " in done.err
    assert drawn(tiny_model, "-o", "joined.jsonl").status == 1


def test_a_cluster_needs_ray_and_has_to_be_there(here: Path, tiny_model: Path) -> None:
    program = "import sys; sys.modules['ray'] = None\n"
    program += "from cgcli.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["eval", "humaneval", "--data", "tasks.jsonl", "-m", str(tiny_model), "--generate", "s.jsonl"]
    command = [sys.executable, "-c", program, *words, "--ray", "local"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, b"")
    assert (
        done.stderr.decode().splitlines()[-1]
        == f"cgcli: --ray needs the ray package; {sys.executable} -m pip install {packages('ray')}"
    )
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    none = evaluated("-m", str(tiny_model), "--generate", "s.jsonl", "--ray", address)
    assert none.status == 4 and f"cgcli: no Ray cluster at {address}: Connection refused" in none.err


def test_presets_and_what_overrides_them(here: Path, tiny_model: Path) -> None:
    paper = totals(drawn(tiny_model, "--preset", "paper", "-n", "1", "--limit", "1", "--json"))
    assert [one["temperature"] for one in paper["temperatures"]] == [0.2, 0.6, 0.8] and paper["top_p"] == 0.95
    greedy = totals(drawn(tiny_model, "--preset", "greedy", "--json", "-o", "g.jsonl"))
    assert (greedy["n_samples"], greedy["temperatures"][0]["temperature"], greedy["n_problems"]) == (2, 0.0, 2)
    table = drawn(tiny_model, "--preset", "paper", "-n", "1", "--limit", "1").out.decode().splitlines()
    assert [line.split()[0] for line in table] == ["TEMPERATURE", "0.2", "0.6", "0.8", "best"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--judge", "none.jsonl"], "none.jsonl does not exist"),
        (["--judge", "a", "--generate", "b"], "--output, --generate and --judge cannot be used together"),
        (["--preset", "papr"], "'papr' is not paper or greedy"),
        (["-t", "nan"], "temperature must be 0 or more, but is nan"),
        (["-n", "0"], "'0' is less than 1"),
        (["--data", "none"], "none does not exist"),
        (["--shard", "0/3"], "invalid value '0/3' for --shard; use 1/3, 2/3 and 3/3 for three shards"),
        (["--judge", "empty.jsonl", "--ray", "auto"], "--judge generates no samples, so --ray has no effect"),
        (["--judge", "empty.jsonl"], "empty.jsonl has no samples of these tasks"),
    ],
)
def test_wrong_words(here: Path, tiny_model: Path, words: list[str], message: str) -> None:
    (here / "empty.jsonl").write_text("")
    done = evaluated("-m", str(tiny_model), *words)
    assert done.status == 2 and message in done.err and done.out == b""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            '{"id": "1", "completions": "", "gold_output": 1}',
            "a row has no task_id; type: cgcli eval mtpb --judge s.jsonl",
        ),
        (
            '{"task_id": "S/none", "completion": ""}',
            "s.jsonl has a sample of 'S/none', which is not in the data",
        ),
    ],
)
def test_a_row_that_is_no_sample_is_named_and_nothing_is_written(here: Path, row: str, message: str) -> None:
    write_samples(here / "s.jsonl", RIGHT)
    with (here / "s.jsonl").open("a") as file:
        file.write(row + "\n")
    before = set(here.iterdir())
    done = evaluated("--judge", "s.jsonl", "--limit", "1")
    assert done.status == 1 and message in done.err
    assert {path.name for path in set(here.iterdir()) - before} <= {"home"}


def test_samples_of_another_seed_stay_and_are_told(here: Path, tiny_model: Path) -> None:
    first = drawn(tiny_model, "-o", "s.jsonl", "--seed", "1")
    assert "also holds" not in first.err
    second = drawn(tiny_model, "-o", "s.jsonl", "--seed", "2")
    assert "s.jsonl also holds 2 samples of seed 1; they are kept but not counted" in second.err
    assert "2 of 2 tasks, 2 samples" in second.err and len((here / "s.jsonl").read_text().splitlines()) == 4


def test_samples_of_another_model_or_other_settings_are_not_mixed(here: Path, tiny_model: Path) -> None:
    assert drawn(tiny_model, "--generate", "s.jsonl").status == 0
    done = drawn(tiny_model, "--generate", "s.jsonl", "--top-p", "0.5")
    assert done.status == 2 and "s.jsonl has samples with top_p 0.95, not 0.5; choose another file" in done.err


def test_completions_end_at_bars_unless_drawn_to_the_letter(here: Path, tiny_model: Path) -> None:
    usual, letter = (totals(drawn(tiny_model, *words, "--json")) for words in ((), ("--to-the-letter",)))
    assert (usual["end_bars"], letter["end_bars"]) == (True, False)
    assert Path(letter["samples"]).name == "humaneval-to-the-letter-tiny-f16.jsonl"
    done = drawn(tiny_model, "--to-the-letter", "-o", usual["samples"])
    assert done.status == 2 and "has samples with end_bars True, not False; choose another file" in done.err


def test_without_a_sandbox_nothing_is_drawn_and_nothing_is_run(here: Path, tiny_model: Path) -> None:
    program = "import sys; from cgcli.sandbox import bubblewrap; bubblewrap._WHERE = '/none'\n"
    program += "from cgcli.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["eval", "humaneval", "--data", "tasks.jsonl", "-m", str(tiny_model), "-o", "s.jsonl"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 7 and b"bubblewrap is not installed" in done.stderr
    assert not (here / "s.jsonl").exists()


def test_a_terminal_sees_the_score_so_far(here: Path) -> None:
    import pexpect

    write_samples(here / "s.jsonl", *[("S/one", f"    return {number % 2}  # {number}\n") for number in range(40)])
    command = ["-m", "cgcli", "eval", "humaneval", "--data", "tasks.jsonl", "--judge", "s.jsonl"]
    child = pexpect.spawn(sys.executable, command, encoding="utf-8", dimensions=(24, 100), timeout=PATIENCE_S)
    child.expect(r"\d+ of 40, \d+\.\d/s, \d:\d\d left, \d+\.\d % pass")
    child.expect("50.0 % pass, took")
    child.expect("40 samples: 20 passed, 20 wrong answer")
    child.expect(pexpect.EOF)


def test_the_group_says_what_there_is() -> None:
    done = cgcli("eval")
    assert done.status == 0 and b"humaneval" in done.out


@pytest.mark.slow
def test_tasks_with_the_embedded_model(here: Path, shared: Path, embedded_home: Path) -> None:
    data = str(shared / "data" / "HumanEval.jsonl.gz")
    words = ("--data", data, "-m", "smollm2-135m", "--limit", "3", "--max-tokens", "16", "-o", "s.jsonl", "--json")
    done = cgcli("eval", "humaneval", *words, CGCLI_HOME=str(embedded_home))
    facts = totals(done)
    assert (facts["n_problems"], facts["n_samples"], facts["model"]) == (3, 3, "smollm2-135m")
    assert sum(facts["verdicts"].values()) == 3 and 0 <= facts["pass@1"] <= 1
    rows = [json.loads(line) for line in (here / "s.jsonl_results.jsonl").read_text().splitlines()]
    # It goes on with the body of the function, and does not begin to talk.
    assert all(row["completion"].startswith("    ") for row in rows)
    assert "3 of 164 tasks, 3 samples" in done.err
