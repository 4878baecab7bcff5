"""Whose fault a failure is: the program's, or that of the place where it runs. Each program really runs."""

from __future__ import annotations

import pytest

from cgcli.sandbox.hint import sandbox_hint
from cgcli.sandbox.lack import Lack, lack
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run

pytestmark = pytest.mark.usefixtures("sandbox")

FAILURES: list[tuple[str, Lack | None]] = [
    ("name = input('who? ')\n", "input"),
    ("def ask():\n    return int(\n        input()\n    )\nask()\n", "input"),
    ("import sys\nn = int(sys.stdin.readline())\n", "input"),
    ("import pickle, io\npickle.load(io.BytesIO())\n", None),
    ("n = int('')\n", None),
    ("import sys\nprint(sys.argv[1])\n", "arguments"),
    ("import sys\n_, name = sys.argv\n", "arguments"),
    ("import sys\nif len(sys.argv) < 2:\n    print('usage')\n    sys.exit(1)\n", "arguments"),
    ("import sys\nif 1 > 0:\n    sys.exit(1)\n", None),
    ("import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\nprint(p.parse_args().x)\n", "arguments"),
    ("print([][1])\n", None),
    ("open('data.csv')\n", "file"),
    ("open('notes.txt', 'w').close()\nopen('note.txt')\n", "file"),
    ("open('no/such/out.txt', 'w')\n", None),
    ("import os\nopen('a.txt', 'w').close()\nos.remove('a.txt')\nopen('a.txt')\n", None),
    ("import requests_of_nobody\n", "package"),
    ("import json.nothing\n", None),
    ("from json import nothing\n", None),
    ("import urllib.request as u\nu.urlopen('http://a.example')\n", "network"),
    ("import socket\nsocket.create_connection(('127.0.0.1', 80))\n", "network"),
    ("open('/usr/x', 'w')\n", "permission"),
    ("import os\nos.setuid(0)\n", "permission"),
    ("import winreg\n", None),
    ("import os\nos.get_terminal_size()\n", "display"),
    (
        "class TclError(Exception): pass\nTclError.__module__ = '_tkinter'\nraise TclError('no display name')\n",
        "display",
    ),
    ("1 / 0\n", None),
    ("x = (\n", None),
    ("import os\nos._exit(3)\n", None),
    ("pass\n", None),
]


@pytest.mark.parametrize(("source", "what"), FAILURES)
def test_what_a_program_lacked(source: str, what: Lack | None) -> None:
    policy = Policy()
    verdict = run(source.encode(), policy=policy)
    assert (lack(verdict, source.encode(), policy), verdict.outcome == "passed") == (what, source == "pass\n")


@pytest.mark.parametrize(
    ("source", "what"), [("import time\ntime.sleep(9)\n", "time"), ("while True:\n    pass\n", None)]
)
def test_who_sleeps_at_the_end_of_its_time_lacked_time(source: str, what: Lack | None) -> None:
    policy = Policy(wall_s=0.6)
    verdict = run(source.encode(), policy=policy)
    assert verdict.outcome == "wall time"
    assert lack(verdict, source.encode(), policy) == what


@pytest.mark.parametrize(
    ("source", "what"),
    [("input()\n", "input"), ("open('data.csv')\n", None), ("import requests_of_nobody\n", "package")],
)
def test_without_a_sandbox_no_sandbox_is_to_blame(source: str, what: Lack | None) -> None:
    policy = Policy(unsafe=True)
    verdict = run(source.encode(), policy=policy)
    assert lack(verdict, source.encode(), policy) == what


@pytest.mark.parametrize(
    ("source", "line", "statement"),
    [
        ("x = 1\n\nx / 0\n", 3, 3),
        ("def f(x):\n    return 1 / x\n\nf(1)\nfor n in (1, 0):\n    y = n\n    f(y)\n", 2, 7),
        ("import json\njson.loads('{')\n", 2, 2),
        ("x = 1\ndef f(:\n", 2, 2),
        ("import sys\ndef leave():\n    sys.exit(3)\nleave()\n", 3, 4),
        ("import os\nos._exit(3)\n", 0, 0),
        ("pass\n", 0, 0),
    ],
)
def test_the_lines_where_a_program_was_left(source: str, line: int, statement: int) -> None:
    verdict = run(source.encode(), policy=Policy())
    assert (verdict.line, verdict.statement) == (line, statement)


def test_files_are_opened_where_they_can_be() -> None:
    policy, source = Policy(), b"open('/usr/x', 'w')\n"
    verdict = run(source, policy=policy)
    hint = sandbox_hint(verdict, policy, source, command="run {} f.py")
    assert hint == "open what it needs: run --read PATH or --write PATH f.py"
    hint = sandbox_hint(verdict, policy, source, command="run {} f.py", opening=lambda options: f"set {options}")
    assert hint == "open what it needs: set --read PATH or --write PATH"
