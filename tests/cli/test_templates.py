"""Templates of programs, and what a project's own file may set, and may not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cgcli.core.config import Environment, Settings
from cgcli.core.errors import UsageError
from tests.support.cli import run
from tests.support.process import Ran

SHORT = ("--seed", "3", "--max-tokens", "8", "-t", "1", "--guard", "off", "--no-stdin")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    monkeypatch.chdir(root / "sub")
    return root


def gen(model: Path, *arguments: str) -> Ran:
    return run("gen", "-m", str(model), "a", *arguments)


def refused(project: Path, toml: str) -> str:
    (project / ".cgcli.toml").write_text(toml)
    ran = run("gen", "x", "--no-stdin", "-m", "none")
    assert ran.status == 2 and ran.out == b""
    return ran.err


def settings() -> Settings:
    return Settings.load(Environment.from_process())


CLI = """
temperature = 0.3
[templates.cli]
prefix = "import argparse\\n"
temperature = 0.7
top_k = 5
checks = ["True", "1 == 2"]
[templates.from_file]
prefix_file = "begin.py"
"""


def test_a_template_sets_what_no_flag_sets(tiny_model: Path, home: Path) -> None:
    (home / "config.toml").write_text(CLI)
    environment = Environment.from_process()
    found = Settings.load(environment, {"top_k": 9}, template="cli")
    assert (found.prefix, found.temperature, found.top_k) == ("import argparse\n", 0.7, 9)
    assert Settings.load(environment).temperature == 0.3
    with_variable = Environment.from_process({**os.environ, "CGCLI_TEMPERATURE": "0.9"})
    assert Settings.load(with_variable, template="cli").temperature == 0.7
    missing = gen(tiny_model, "-T", "from_file", *SHORT)
    assert missing.status == 2 and "templates.from_file.prefix_file: cannot read" in missing.err
    (home / "begin.py").write_text("import re\n")
    assert gen(tiny_model, "-T", "from_file", *SHORT).out.startswith(b"import re\n\n# a\n")


def test_a_template_checks(tiny_model: Path, home: Path, sandbox: None) -> None:
    (home / "config.toml").write_text(CLI)
    assert gen(tiny_model, "-T", "cli", *SHORT, "--start", "x = 1\n# ").status == 8
    (home / "config.toml").write_text(CLI.replace(', "1 == 2"', ""))
    assert gen(tiny_model, "-T", "cli", *SHORT, "--start", "x = 1\n# ", "--stop", "\n").status == 0


def test_templates_are_listed(home: Path, project: Path) -> None:
    none = run("templates")
    assert none.out == b"" and str(home / "config.toml") in none.err
    (home / "config.toml").write_text(CLI)
    (project / ".cgcli.toml").write_text("[templates.web]\ntemperature = 0.1\n[templates.cli]\ntop_k = 1\n")
    listed = {one["name"]: one for one in json.loads(run("templates", "--json").out)}
    assert listed["cli"]["checks"] == ["True", "1 == 2"]  # the user's own, not the project's
    assert listed["web"]["file"] == str(project / ".cgcli.toml")
    table = run("templates").out.decode()
    assert "temperature 0.7, top_k 5, check True, check 1 == 2" in table and f"prefix_file {home}/begin.py" in table
    wrong = run("gen", "x", "-T", "clo", "--no-stdin")
    assert wrong.status == 2 and "no template 'clo', did you mean cli?" in wrong.err


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[templates.a]\ncolour = 1\n", "templates.a: unknown setting 'colour', did you mean color?"),
        ("[templates.a]\ntop_k = -1\n", "templates.a.top_k is -1, not an integer"),
        ("[templates.a]\nchecks = [1]\n", "templates.a.checks is no list"),
        ("templates = 3\n", "templates is 3, not a table"),
        ("templates.a = 3\n", "templates.a is 3, not a table"),
        ('[templates.a]\nprefix_file = ""\n', "templates.a.prefix_file is '', not a file"),
    ],
)
def test_a_wrong_template_is_named(home: Path, toml: str, words: str) -> None:
    (home / "config.toml").write_text(toml)
    ran = run("templates")
    assert ran.status == 2 and words in ran.err


def test_a_project_sets_the_prefix_and_where_to_guess_from(home: Path, project: Path) -> None:
    (home / "config.toml").write_text('prefix = "mine\\n"\n')
    (project / "begin.py").write_text("import re\n")
    (project / ".cgcli.toml").write_text('prefix_file = "begin.py"\ndraft_from = "sub"\n')
    found = settings()
    assert (found.prefix, found.draft_from) == ("import re\n", str(project / "sub"))
    assert Settings.load(Environment.from_process(), {"prefix": ""}).prefix == ""
    (project / ".cgcli.toml").write_text("[templates.hot]\ntemperature = 0.9\n")
    assert Settings.load(Environment.from_process(), template="hot").temperature == 0.9


@pytest.mark.parametrize(
    "line",
    [
        'model = "evil.gguf"',
        'draft = "evil.gguf"',
        'log = "off"',
        "threads = 1",
        "temperature = 0.1",
        'color = "never"',
        'checks = ["1"]',
        "[templates.a]\nchecks = [\"__import__('os').system('x')\"]",
        '[templates.a]\nmodel = "evil.gguf"',
        '[templates.a]\ndraft = "evil.gguf"',
        '[templates.a]\nlog = "off"',
        '[templates.a]\ndraft_from = "."',
    ],
)
def test_a_project_sets_nothing_that_runs_loads_or_stores(project: Path, line: str) -> None:
    toml = f"{line}\n"
    if line.startswith("["):
        (project / ".cgcli.toml").write_text(toml)
        ran = run("gen", "x", "-T", "a", "--no-stdin", "-m", "none")
        assert ran.status == 2 and "a project may not set" in ran.err
    else:
        assert "a project may not set" in refused(project, toml)


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "sub/../../secret", "link"])
def test_a_project_reads_nothing_outside_of_it(project: Path, place: str) -> None:
    (project.parent / "secret").write_text("mine")
    (project / "link").symlink_to(project.parent / "secret")
    assert "which is outside of" in refused(project, f'prefix_file = "{place}"\n')
    assert "which is outside of" in refused(project, f'draft_from = "{place}"\n')


@pytest.mark.parametrize("place", [r"a\u0000", "loop/x"])
def test_a_path_that_cannot_be_is_refused(project: Path, home: Path, place: str) -> None:
    (project / "loop").symlink_to("loop")
    assert "prefix_file is " in refused(project, f'prefix_file = "{place}"\n')
    assert "draft_from is " in refused(project, f'draft_from = "{place}"\n')
    (project / ".cgcli.toml").write_text(f'[templates.a]\nprefix_file = "{place}"\n')
    ran = run("gen", "x", "-T", "a", "--no-stdin", "-m", "none")
    assert ran.status == 2 and "templates.a.prefix_file is " in ran.err


def test_a_template_of_nobodys_file_is_refused(home: Path) -> None:
    for place, words in ((r"a\u0000", "prefix_file is "), ("~nobody-here/x", "prefix_file: cannot read")):
        (home / "config.toml").write_text(f'[templates.a]\nprefix_file = "{place}"\n')
        assert words in run("gen", "x", "-T", "a", "--no-stdin", "-m", "none").err


def test_a_project_ends_where_git_says(project: Path, tmp_path: Path) -> None:
    (tmp_path / ".cgcli.toml").write_text('prefix = "outer\\n"\n')
    assert settings().prefix == "outer\n"
    (project / ".git").mkdir()
    assert settings().prefix is None
    (project / ".cgcli.toml").write_text('prefix = "inner\\n"\n')
    assert settings().prefix == "inner\n"


def test_a_file_in_the_users_home_is_no_project(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".cgcli.toml").write_text('prefix = "outer\\n"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings().prefix is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_somebody_elses_file_is_not_read(project: Path) -> None:
    file = project / ".cgcli.toml"
    file.write_text('prefix = "x\\n"\n')
    os.chown(file, 12345, 12345)
    assert settings().prefix is None


def test_a_damaged_file_is_named(project: Path) -> None:
    assert ".cgcli.toml: not TOML" in refused(project, "prefix = ")
    assert "unknown setting 'prefx', did you mean prefix?" in refused(project, 'prefx = ""\n')
    with pytest.raises(UsageError):
        settings()
    assert run("doctor").status != 2  # what needs no project does not read it
