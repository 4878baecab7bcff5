"""What an extra needs."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from cgcli.core.extras import packages

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", ["train", "serve", "report", "ray"])
def test_the_packages_of_an_extra_are_named(extra: str) -> None:
    assert shlex.split(packages(extra)) == PROJECT["optional-dependencies"][extra]
