"""Options: choices that are completed and checked, and arguments that reach what a command does."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from cgcli.app.evaluation import ReportArguments
from cgcli.app.execute import RunArguments
from cgcli.app.gen_arguments import GenArguments
from cgcli.app.humaneval import HumanEvalArguments
from cgcli.app.mtpb import MTPBArguments
from cgcli.app.recipes import TrainArguments
from cgcli.app.run import given_settings
from cgcli.app.score import ScoreArguments
from cgcli.app.stores import ConvertArguments
from cgcli.cli import eval, gen, pull, score, train
from cgcli.cli import run as run_command
from cgcli.cli.main import build
from cgcli.core.config import Settings
from tests.support.cli import run


def commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path, the application itself first."""
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, *path, name)


COMMANDS = list(commands(typer.main.get_command(build())))
CHOICES = [
    (("gen", "x"), "--pick", ("auto", "tests", "run", "reviewer", "probable")),
    (("gen", "x"), "--fold", ("on", "off")),
    (("repl",), "--fold", ("on", "off")),
    (("eval", "humaneval"), "--preset", ("paper", "greedy")),
    (("eval", "mtpb"), "--turns", ("multi", "single", "both")),
    (("eval", "mtpb"), "--rules", ("paper", "strict")),
]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_an_option_without_its_value_or_with_a_wrong_one_leads_to_the_help_of_its_command(
    path: tuple[str, ...], command: Any
) -> None:
    """One option that takes a value and one flag of each: Typer reads all of a kind in the same way."""
    options = [one for one in command.get_params(typer.Context(command)) if one.param_type_name == "option"]
    kinds = {one.is_flag: one.opts[-1] for one in options}
    for flag, name in kinds.items():
        ran = run(*path, f"{name}=x" if flag else name)
        assert ran.status == 2 and ran.err.endswith(f"; type: {' '.join(['cgcli', *path])} --help\n"), (name, ran)
    ran = run(*path, "--no-such-option")
    assert ran.status == 2 and ran.err.endswith(f"; type: {' '.join(['cgcli', *path])} --help\n")


@pytest.mark.parametrize("option", ["temperature", "top-p", "top-k", "max-tokens", "seed", "ctx", "threads"])
@pytest.mark.parametrize("path", ["gen", "repl", "eval humaneval"])
def test_a_wrong_value_leads_to_the_help_of_its_command(path: str, option: str) -> None:
    for value in ("x", "-1"):
        ran = run(*path.split(), f"--{option}", value)
        assert ran.status == 2 and ran.err.endswith(f"; type: cgcli {path} --help\n")


@pytest.mark.parametrize(("command", "option", "choices"), CHOICES)
def test_a_choice_is_checked_and_the_error_names_the_others(
    command: tuple[str, ...], option: str, choices: tuple[str, ...]
) -> None:
    ran = run(*command, option, "nothing")
    assert ran.status == 2 and ran.out == b""
    *some, last = choices
    message = f"'{option}': 'nothing' is not {', '.join(some)} or {last}"
    assert f"{message}; type: cgcli {' '.join(command).removesuffix(' x')} --help" in ran.err


@pytest.mark.parametrize(("command", "option", "choices"), CHOICES)
def test_a_choice_is_completed(command: tuple[str, ...], option: str, choices: tuple[str, ...]) -> None:
    words = f"cgcli {' '.join(command)} {option} "
    ran = run(_CGCLI_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split())))
    assert ran.out.decode().split() == list(choices)


def test_a_language_is_completed() -> None:
    ran = run(_CGCLI_COMPLETE="complete_bash", COMP_WORDS="cgcli gen --lang ja", COMP_CWORD="3")
    assert ran.out.decode().split() == ["java", "javascript"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "-"), "-o takes a file, not -; leave it out: the program goes to stdout"),
        (("--into", "-"), "--into takes a file, not -; leave it out: stdin is the program so far"),
        (("--prefix", "y = 2"), "--prefix starts a new program, but there is one to add to; leave --prefix out"),
    ],
)
def test_options_of_gen_that_would_have_no_effect(options: tuple[str, ...], said: str) -> None:
    ran = run("gen", "-m", "codegen-nano", "one", *options, stdin=b"x = 1\n")
    assert (ran.status, ran.out, ran.err.splitlines()[-1]) == (2, b"", f"cgcli: {said}")


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (gen.gen, GenArguments),
        (score.score, ScoreArguments),
        (eval.humaneval, HumanEvalArguments),
        (eval.mtpb, MTPBArguments),
        (eval.report, ReportArguments),
        (pull.convert, ConvertArguments),
        (run_command.run, RunArguments),
        (train.train, TrainArguments),
    ],
)
def test_every_argument_is_a_parameter_of_the_command(command: Callable[..., Any], kind: Any) -> None:
    parameters = inspect.signature(command).parameters
    fields = {field.name for field in dataclasses.fields(kind)}
    assert fields <= parameters.keys()
    settings = {field.name for field in dataclasses.fields(Settings)} | {"ctx_tokens"}
    assert parameters.keys() - fields - settings <= {"ctx", "json", "offline"}


def test_settings_are_taken_from_the_parameters_of_a_command() -> None:
    given = given_settings({"ctx": object(), "ctx_tokens": 64, "top_p": 0.5, "seed": None, "files": ("x",)})
    assert given == {"ctx": 64, "top_p": 0.5}
