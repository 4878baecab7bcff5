"""`cgcli eval report` as a process: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cgcli.core.extras import packages
from tests.evals.run_files import humaneval, mtpb
from tests.evals.tiny_humaneval import write_tasks
from tests.support.cli import run as cgcli
from tests.support.patience import PATIENCE_S

WITHOUT = """
import sys
sys.modules["matplotlib"] = None
from cgcli.__main__ import main
sys.argv = ["cgcli", *sys.argv[1:]]
sys.exit(main())
"""


def test_tables_on_stdout(tmp_path: Path) -> None:
    done = cgcli("eval", "report", str(humaneval(tmp_path / "h.jsonl")), str(mtpb(tmp_path / "m.jsonl")))
    out = done.out.decode()
    assert done.status == 0 and done.err == ""
    titles = [line for line in out.splitlines() if line.isupper() and "  " not in line and not line.startswith("[")]
    assert titles == [
        "RUNS",
        "HUMANEVAL",
        "MTPB",
        "MTPB, CODEGEN-350M-MONO Q4_0, T 0.2",
        "VERDICTS",
        "SPEED",
        "HOW TO REPEAT IT",
        "SOURCES",
    ]
    rows = [line.split() for line in out.splitlines()]
    assert ["codegen-350m-mono", "q4_0", "0.2", "3", "12", "50.0", "(0.0–100.0)"] in rows
    assert ["codegen-350m-mono", "published", "[1]", "12.8"] in rows


def test_what_rows_say_does_not_drive_the_terminal(tmp_path: Path) -> None:
    done = cgcli("eval", "report", str(humaneval(tmp_path / "h.jsonl", model="\x1b[2Jname", machine="\x1b]0;x\x07")))
    assert done.status == 0 and b"\x1b" not in done.out and b"\\x1b[2Jname" in done.out


def test_page_and_csv_and_json(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'cgcli[report]'")
    file, html, table = humaneval(tmp_path / "h.jsonl"), tmp_path / "r.html", tmp_path / "r.csv"
    done = cgcli("eval", "report", str(file), "-o", str(html), "--csv", str(table), "--json")
    assert done.status == 0 and done.err.splitlines() == [f"{html}: 1 run", f"{table}: 1 run"]
    assert html.read_text().startswith("<!DOCTYPE html>")
    found = json.loads(done.out)
    assert [run["samples"] for run in found["runs"]] == [[str(file)]]
    assert len(found["numbers"]) + 1 == len(table.read_text().splitlines())
    quiet = cgcli("eval", "report", str(file), "-o", str(html), "-q")
    assert (quiet.status, quiet.out, quiet.err) == (0, b"", "")


def test_mtpbs_data_gives_the_categories(tmp_path: Path) -> None:
    file, data = mtpb(tmp_path / "m.jsonl"), tmp_path / "data.jsonl"
    problem = {"prompts": ["a", "b", "c"], "inputs": [{}], "outputs": [1]}
    data.write_text("".join(json.dumps({"id": name, "category": "sums", **problem}) + "\n" for name in ("10", "17")))
    out = cgcli("eval", "report", str(file), "--data", str(data)).out.decode()
    assert "\nsums " in out and "--data FILE" not in out
    assert "--data FILE" in cgcli("eval", "report", str(file)).out.decode()
    # What was fetched for an evaluation is found again.
    kept = tmp_path / "home" / "data" / "evals" / "mtpb.jsonl"
    kept.parent.mkdir(parents=True)
    data.rename(kept)
    assert "\nsums " in cgcli("eval", "report", str(file)).out.decode()


def test_a_page_without_matplotlib_is_one_line(tmp_path: Path) -> None:
    words = ["eval", "report", str(humaneval(tmp_path / "h.jsonl")), "-o", str(tmp_path / "r.html")]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1 and not (tmp_path / "r.html").exists()
    assert (
        done.stderr.decode() == f"cgcli: plots need matplotlib; {sys.executable} -m pip install {packages('report')}\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words[:3]], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert plain.returncode == 0 and b"HumanEval: pass@k, %" in plain.stdout


@pytest.mark.parametrize("option", ["-o", "--csv"])
@pytest.mark.parametrize("suffix", ["", "_results.jsonl"])
def test_a_run_is_not_written_over(tmp_path: Path, option: str, suffix: str) -> None:
    file = humaneval(tmp_path / "h.jsonl")
    target = Path(f"{file}{suffix}")
    before = target.read_bytes()
    done = cgcli("eval", "report", str(file), option, str(target))
    assert done.status == 2 and "is one of the runs" in done.err and target.read_bytes() == before


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    target = str(tmp_path / "r")
    done = cgcli("eval", "report", str(humaneval(tmp_path / "h.jsonl")), "-o", target, "--csv", target)
    assert done.status == 2 and "both name" in done.err


def test_a_run_without_verdicts(tmp_path: Path) -> None:
    file = humaneval(tmp_path / "h.jsonl")
    Path(f"{file}_results.jsonl").unlink()
    done = cgcli("eval", "report", str(file))
    hint = f"the samples in {file} have not been judged; type: cgcli eval humaneval --judge {file}"
    assert (done.status, done.err) == (1, f"cgcli: {hint}\n")
    assert cgcli("eval", "report", str(tmp_path / "none")).status == 2


@pytest.mark.usefixtures("sandbox")
def test_what_a_report_says_to_type_draws_the_same_samples(tmp_path: Path, tiny_model: Path) -> None:
    data, first, second = write_tasks(tmp_path / "tasks.jsonl"), tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    words = ("-m", str(tiny_model), "-n", "2", "-t", "0.4", "-t", "0", "--max-tokens", "6", "--seed", "3")
    drawn = cgcli("eval", "humaneval", "--data", str(data), *words, "-o", str(first), "--json")
    assert drawn.status == 0, drawn.err
    (run,) = json.loads(cgcli("eval", "report", str(first), "--json").out)["runs"]
    program, *again = shlex.split(run["commands"][0])
    assert program == "cgcli" and cgcli(*again, "--data", str(data), "-o", str(second)).status == 0
    kept = ("task_id", "temperature", "seed", "index", "completion", "sha256", "top_p", "max_tokens")
    drawn_by = [
        sorted(json.dumps([row[name] for name in kept]) for row in map(json.loads, file.read_text().splitlines()))
        for file in (first, second)
    ]
    assert drawn_by[0] == drawn_by[1] and len(drawn_by[0]) == 8
