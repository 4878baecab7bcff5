"""Risky calls are found by their full names; ordinary programs have none."""

from __future__ import annotations

import pytest

from cgcli.sandbox.risks import Risk, risks


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os\nos.remove('x')", "deletes files: os.remove"),
        ("import os as o\no.unlink('x')", "deletes files: os.unlink"),
        ("from os import remove as gone\ngone('x')", "deletes files: os.remove"),
        ("from shutil import rmtree\nrmtree('x')", "deletes files: shutil.rmtree"),
        ("from pathlib import Path\nPath('x').unlink()", "deletes files: .unlink"),
        ("import shutil\nshutil.move('a', 'b')", "moves or overwrites files: shutil.move"),
        ("x = 1\nopen('x', 'w')", "writes files: open"),
        ("x = 1\nopen('x', mode='ab')", "writes files: open"),
        ("from pathlib import Path\nPath('x').write_text('y')", "writes files: .write_text"),
        ("import subprocess\nsubprocess.run(['ls'])", "runs other programs: subprocess.run"),
        ("import os\nos.system('ls')", "runs other programs: os.system"),
        ("import os\nos.execvp('ls', [])", "runs other programs: os.execvp"),
        ("import socket\nsocket.socket()", "uses the network: socket.socket"),
        ("import urllib.request\nurllib.request.urlopen('x')", "uses the network: urllib.request.urlopen"),
        ("from urllib import request\nrequest.urlopen('x')", "uses the network: urllib.request.urlopen"),
        ("x = 1\neval('1')", "runs generated code: eval"),
        ("import pickle\npickle.loads(b'')", "runs generated code: pickle.loads"),
        ("import ctypes\nctypes.CDLL(None)", "calls native code: ctypes.CDLL"),
        ("import os\nos.kill(1, 9)", "changes permissions, users or processes: os.kill"),
    ],
)
def test_a_risky_call_is_found(source: str, what: str) -> None:
    assert risks(source.encode()) == [Risk(2, what)]


@pytest.mark.parametrize(
    "source",
    [
        "import os, sys, json\nprint(os.path.join('a', 'b'), os.getcwd())",
        "open('x'); open('x', 'r'); open('x', encoding='utf-8')",
        "evaluate(1); re.compile('x'); model.eval(); removed = [].remove",
        "import os\nos.environ['x'] = 'y'\nnames.remove('x')",
        "def f(:",
        "\0",
        "(" * 5000,
    ],
)
def test_an_ordinary_program_has_none(source: str) -> None:
    assert risks(source.encode()) == []


def test_risks_are_listed_once_in_the_order_of_their_lines() -> None:
    source = b"def f():\n    eval('1'); eval('2')\nimport os\nf(os.remove('x'), exec(''))"
    assert [(risk.line, risk.what.split(": ")[1]) for risk in risks(source)] == [
        (2, "eval"),
        (4, "os.remove"),
        (4, "exec"),
    ]
