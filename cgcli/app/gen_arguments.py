"""The command line of `cgcli gen`, without the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cgcli.core.config import CANDIDATES
from cgcli.core.errors import UsageError

if TYPE_CHECKING:
    from cgcli.sandbox.pick import PickRule
    from cgcli.sandbox.policy import Policy


@dataclass(frozen=True)
class GenArguments:
    """The command line of `gen`, without the settings."""

    prompts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()  # with more prompts
    into: Path | None = None
    output: Path | None = None
    whole: bool = False
    raw: bool = False
    no_comment: bool = False
    no_stdin: bool = False
    lang: str | None = None
    json: bool = False
    candidates: int = 1
    start: str = ""  # what the code of the only turn begins with
    stops: tuple[str, ...] = ()
    pick: PickRule | None = None  # None: auto
    checks: tuple[str, ...] = ()
    run: bool = False
    until: Literal["runs", "checks"] | None = None
    tries: int | None = None  # of a turn; None: the default
    try_time: float | None = None  # seconds for all tries; None: the default
    unsafe: bool = False
    read: tuple[Path, ...] = ()  # opened to programs that run
    write: tuple[Path, ...] = ()  # likewise, and they may change these
    go_on: bool = False  # with the last program of this folder
    no_log: bool = False
    stamp: bool = False
    if_changed: bool = False
    copy: bool = False
    template: str | None = None
    prefix: str | None = None  # as given; the settings have it, too

    @property
    def picks(self) -> bool:
        """Whether one of several candidates is picked by more than its probability."""
        return self.candidates > 1 and (self.pick != "probable" or bool(self.checks))

    @property
    def needs_to_run(self) -> bool:
        return self.run or bool(self.checks or self.until) or self.pick in ("run", "tests")

    @property
    def rule(self) -> PickRule:
        return self.pick or "auto"

    @property
    def policy(self) -> Policy:
        from cgcli.sandbox.policy import Policy

        return Policy(unsafe=self.unsafe, read=self.read, write=self.write)

    def check(self) -> None:
        """Raises UsageError for options that contradict each other or have no effect."""
        for option, file in {"--into": self.into, "-o": self.output}.items():
            if file == Path("-"):
                hint = f"leave it out: {'stdin is the program so far' if self.into else 'the program goes to stdout'}"
                raise UsageError(f"{option} takes a file, not -", hint=hint)
        if self.into and self.output:
            raise UsageError("--into and --output cannot be used together", hint="leave one of them out")
        if self.into and self.whole:
            raise UsageError("--into prints no program, so --whole has no effect", hint="leave one of them out")
        if self.go_on and self.into:
            raise UsageError("--continue and --into cannot be used together", hint="leave one of them out")
        if self.if_changed and not self.output:
            raise UsageError("--if-changed needs the file to look at", hint="add -o FILE")
        for option, given in {"--raw": self.raw, "--json": self.json, "--continue": self.go_on}.items():
            if self.if_changed and given:
                raise UsageError(f"--if-changed and {option} cannot be used together", hint="leave one of them out")
        if self.stamp and self.raw:
            raise UsageError("--stamp and --raw cannot be used together", hint="leave one of them out")
        if self.until and self.raw:
            raise UsageError("--until and --raw cannot be used together", hint="leave one of them out")
        CANDIDATES.of_value(self.candidates, "-n")
        if self.pick and self.candidates == 1:
            raise UsageError("--pick has no effect without -n", hint="add -n 8")
        if self.read or self.write:
            from cgcli.sandbox.opened import check_paths

            if not (self.needs_to_run or self.picks):
                raise UsageError("--read and --write have no effect unless the program is run", hint="add --run")
            check_paths((*self.read, *self.write))
        if self.until == "checks" and not self.checks:
            raise UsageError("--until checks needs a check", hint="add --check 'f(2) == 4'")
        for option, value in {"--tries": self.tries, "--try-time": self.try_time}.items():
            if value is not None and not self.until:
                raise UsageError(f"{option} has no effect without --until", hint="add --until runs")
            if value is not None and not value > 0:
                raise UsageError(
                    f"{option} must be positive, not {value:g}", hint=f"give a positive number, such as {option} 4"
                )
