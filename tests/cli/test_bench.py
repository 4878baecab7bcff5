"""`cgcli bench`: the table, the JSON, and the costs of passes that later runs go by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cgcli.cli.bench import BAR
from cgcli.core.machine import processor_name
from cgcli.engine import pass_costs
from cgcli.engine.drafting import PassCosts
from cgcli.hub.store import Store
from tests.support.cli import run as cgcli
from tests.support.patience import PATIENCE_S
from tests.support.process import CGCLI


@pytest.fixture
def pulled(tiny_model: Path, tmp_path: Path) -> Path:
    """The model under the name `mine`; the file of its costs."""
    assert cgcli("models", "add", str(tiny_model), "--name", "mine").status == 0
    store = Store(tmp_path / "home" / "store")
    return store.passes(store.find("mine"))


def drafted(*options: str) -> tuple[int, str]:
    """Tokens guessed in a completion that repeats itself, and what -v said."""
    ran = cgcli("gen", "--raw", "-m", "mine", "-v", "--json", "--threads", "1", "-t", "0", *options, stdin=b"ab" * 40)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found["timings"]["drafted"], ran.err


def test_json_of_a_pulled_model_and_what_later_runs_make_of_it(pulled: Path) -> None:
    ran = cgcli("bench", "-m", "mine", "--quick", "--json", "--threads", "1")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert (found["model"], found["quant"]) == ("mine", "f16")
    assert (found["ran_on"]["threads"], found["ran_on"]["gpu_layers"], found["ran_on"]["gpu"]) == (1, 0, "")
    assert len(found["sha256"]) == 64 and found["prefill_tokens"] == 512
    assert [one["streams"] for one in found["together"]] == [1, 4, 16]
    assert found["decode_tokens_per_s"] == found["together"][0]["tokens_per_s"] > 0
    assert found["limit"]["bandwidth"] > 1e8 and 0 < found["limit"]["share"] < 2
    assert [one["context"] for one in found["over_context"]] == [0, 256, 512]
    assert found["guessing"]["speedup"] > 0 and found["load_s"] > 0 and found["peak_bytes"] > 1e6
    kept = pass_costs.load_costs(pulled, pass_costs.place(processor_name(), 1, None, own_products=True))
    assert kept and kept.measured == pytest.approx(
        {int(rows): cost for rows, cost in found["pass_costs"].items()}, abs=0.001
    )
    assert "tiny" not in ran.err and "\nmine f16, all layers on the CPU, 1 thread; products: " in ran.err
    assert "that `cgcli bench` measured" in drafted()[1]


def test_costs_that_cannot_be_saved_are_shown(pulled: Path) -> None:
    pulled.mkdir()
    ran = cgcli("bench", "-m", "mine", "--quick", "--threads", "1")
    assert ran.status == 0 and b"prefill of 512 tokens" in ran.out
    assert f"pass costs not stored: cannot write {pulled}" in ran.err


def test_how_much_is_guessed_follows_what_was_measured(pulled: Path) -> None:
    place = pass_costs.place(processor_name(), 1, None, own_products=True)
    pass_costs.store_costs(pulled, place, PassCosts({1: 1.0, 2: 900.0, 16: 900.0}))
    none, said = drafted()
    assert none == 0 and "that `cgcli bench` measured" in said
    pass_costs.store_costs(pulled, place, PassCosts({1: 1.0, 2: 1.0, 16: 1.0}))
    assert drafted()[0] > 100
    pass_costs.store_costs(pulled, place, PassCosts({1: 1.0, 2: 900.0, 16: 900.0}))
    for options in (["--gpu-layers", "0"], ["--threads", "2"]):  # another place
        many, said = drafted(*options)
        assert many > 0 and "cgcli bench" not in said


def test_a_damaged_file_is_not_used(pulled: Path) -> None:
    pulled.write_bytes(b"{}}")
    many, said = drafted()
    assert many > 0 and f"{pulled} is damaged: " in said and said.count("not used") == 1
    ran = cgcli("gen", "--raw", "-m", "mine", "--seed", "1", "--max-tokens", "2", stdin=b"ab")
    assert ran.status == 0 and "damaged" not in ran.err


def test_a_table_of_a_file_that_is_not_pulled(tiny_model: Path, tmp_path: Path) -> None:
    ran = cgcli("bench", "-m", str(tiny_model), "--quick", "-q")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.decode().splitlines()
    names = ["WHAT", "load", "prefill of 512 tokens", "decode", "of memory bandwidth", "time in sampling"]
    names += ["decode, batch of 4", "decode, batch of 16"]
    names += [f"decode after {tokens} tokens" for tokens in (0, 256, 512)]
    names += ["relative cost of a pass", "guessing ahead", "peak memory"]
    assert [line.strip().split("  ")[0] for line in lines] == names
    bars = [line.count("█") for line in lines if "decode after" in line]
    assert max(bars) == BAR and min(bars) > 0
    assert not list(tmp_path.rglob("*.passes")) and not list(tiny_model.parent.glob("*.passes"))


def test_a_removed_model_leaves_no_costs(pulled: Path) -> None:
    pass_costs.store_costs(pulled, "here", PassCosts({1: 1.0, 2: 1.0}))
    assert cgcli("models").status == 0 and cgcli("models", "verify", "mine").status == 0
    assert cgcli("models", "rm", "mine:f16").status == 0
    assert not pulled.parent.exists()


def test_ctrl_c_ends_it_with_130(embedded_model: Path) -> None:
    command = [*CGCLI, "bench", "-m", str(embedded_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout and process.stderr
        assert process.stderr.readline() == b"measuring \xe2\x80\xa6\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 130
        assert process.stdout.read() == b"" and process.stderr.read() == b"cgcli: interrupted\n"


def test_no_such_model_is_status_3() -> None:
    ran = cgcli("bench", "-m", "nothing")
    assert (ran.status, ran.out, ran.err.count("\n")) == (3, b"", 1)
