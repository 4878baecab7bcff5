"""The documentation says what is there: generated parts, links, options, its length."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import docs
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def test_the_generated_parts_are_up_to_date() -> None:
    assert not docs.stale(), "make docs"


def test_every_file_says_what_it_is() -> None:
    assert not [line for line in docs.tree().splitlines() if len(line.split()) < 2 and not line.startswith("```")]


def test_every_setting_and_status_says_what_it_means() -> None:
    assert not re.search(r"\|\s+\|$", docs.settings() + docs.statuses(), re.MULTILINE)


def test_the_readme_stays_short() -> None:
    assert len(PAGES[0].read_text("utf-8").splitlines()) <= 150


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert not dead


def shown_commands(page: Path) -> Iterator[str]:
    """The cgcli command lines that a page shows, in code blocks and in quotes."""
    text = page.read_text("utf-8").replace("\\|", "|")
    for line in re.findall(r"(?:^|\$ |\| |`)(cgcli [^`\n]*)", text, re.MULTILINE):
        yield re.split(r"\s[#>|<]|;|`", line)[0]


def test_the_commands_and_options_that_it_shows_exist() -> None:
    known = {
        tuple(words): docs.COMMON.union(*({*param.opts, *param.secondary_opts} for param in command.params))
        for words, command in docs.every_command()
    }
    unknown, looked_at = [], 0
    for page in PAGES:
        for line in shown_commands(page):
            try:
                words = shlex.split(line)
            except ValueError:
                continue  # a quoted part of a command
            command = next((key for size in (3, 2, 1) if (key := tuple(words[:size])) in known), None)
            assert command is not None
            if words[len(command) : len(command) + 1] == ["{benchmark}"]:
                command = (*command, "mtpb")
            for word in words[len(command) :]:
                if word.startswith("-") and not word[1:2].isdigit() and len(word) > 1:
                    looked_at += 1
                    if word.partition("=")[0] not in known[command]:
                        unknown.append((page.name, line, word))
    assert looked_at > 30
    assert not unknown
