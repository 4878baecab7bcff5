"""Folders, variables and settings of a run. A setting comes from the first of: flag, variable, config.toml, default.

`cgcli.cli.main` creates one `Environment` and passes it down; nothing else reads `os.environ`. CGCLI_HOME moves all
folders together; by default they are the platform's. Values that the user gave are checked, and errors name their
source. None means that the engine, the catalog or the model decides. Flags arrive as a mapping, so commands are not
known here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cgcli.core.durations import is_duration
from cgcli.core.errors import UsageError
from cgcli.core.machine import MAX_THREADS
from cgcli.core.paths import expanded


@dataclass(frozen=True)
class Environment:
    """The folders, which need not exist yet, and the variables of a run."""

    store: Path  # pulled models
    data: Path  # programs and their journals
    config: Path  # config.toml
    variables: Mapping[str, str]
    project: Path | None = None  # .cgcli.toml of the project that the current folder belongs to

    @classmethod
    def from_process(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """The environment for these variables, by default those of the process."""
        variables = os.environ if variables is None else variables
        project = _project_file(Path.cwd(), Path(variables.get("HOME", "/")))
        home = variables.get("CGCLI_HOME")
        if home:
            root = expanded(home).absolute()
            return cls(root / "store", root / "data", root, variables, project)
        import platformdirs

        data = platformdirs.user_data_path("cgcli", appauthor=False)
        config = platformdirs.user_config_path("cgcli", appauthor=False)
        return cls(data / "store", data, config, variables, project)

    @property
    def cache(self) -> Path:
        """Files that can be made again."""
        home = self.variables.get("CGCLI_HOME")
        if home:
            return expanded(home).absolute() / "cache"
        import platformdirs

        return platformdirs.user_cache_path("cgcli", appauthor=False)

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def runtime(self) -> Path:
        """The folder for sockets. It need not exist, and others might have made it."""
        if home := self.variables.get("CGCLI_HOME"):
            return expanded(home).absolute() / "run"
        import warnings

        import platformdirs

        with warnings.catch_warnings():  # a container or a cron job has no such folder, and /tmp serves there
            warnings.simplefilter("ignore")
            return platformdirs.user_runtime_path("cgcli", appauthor=False)

    def flag(self, name: str) -> bool:
        """Whether a variable is set to a true value, as the Hub defines them."""
        return self.variables.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"}


Color = Literal["auto", "always", "never"]
Switch = Literal["on", "off"]
SEED_LIMIT = 2**64
TEMPERATURE, OTHER_TEMPERATURE = 0.2, 0.6
"""Where the user sets none: of the first candidate of a turn, and of the others, which should differ from it."""
MAX_CONTEXT = 2**30
"""In tokens; llama.cpp counts cells in 32 bits and positions in 31."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run, as in `--top-p 0.95`, `CGCLI_TOP_P=0.95` or `top_p = 0.95` in config.toml."""

    model: str | None = None  # the best pulled CodeGen-mono model, else SmolLM2-135M
    temperature: float | None = None  # 0 is greedy; if not set, 0.2, and 0.6 for candidates after the first one
    top_p: float = 0.95  # nucleus sampling
    top_k: int = 0  # sample from the K most likely tokens; 0 is off
    min_p: float = 0.0  # drop tokens below this share of the most likely one; 0 is off
    max_tokens: int = 256  # maximum tokens per completion
    seed: int | None = None  # random seed; if not set, cgcli chooses and prints one
    prefix: str | None = None  # beginning of a new program; if not set, the language's or the model's own
    ctx: int | None = None  # context window in tokens; if not set, the one that the model was trained with
    threads: int | None = None  # CPU threads; if not set, one per physical core
    gpu_layers: int | None = None  # layers on the GPU; if not set, all that fit
    draft: str = "ngram"  # guess tokens ahead: from the text, not at all, or with a smaller model
    draft_from: str = "auto"  # a file or folder to guess from as well; auto: the project of the program's file
    exact: bool = False  # the same text for the same seed, whatever else is in the batch
    kernels: Switch = "on"  # multiply with cgcli's own kernels where they run, or with llama.cpp's alone
    guard: Switch = "on"  # cut what cannot run as it is written, and regenerate it
    fold: Switch = "on"  # shorten a program that exceeds the context window, for the model only
    log: Switch = "on"  # remember what gen writes, for `cgcli log`
    serve: Switch = "on"  # use a server that has the same model and settings, if there is one
    warm: str = "off"  # how long a server stays that gen starts in the background; off starts none
    color: Color = "auto"  # colors on the terminal

    @classmethod
    def load(
        cls,
        environment: Environment,
        flags: Mapping[str, object] | None = None,
        *,
        template: str | None = None,
        only: str | None = None,
    ) -> Settings:
        """Load the settings. Raises UsageError, naming the source of a bad value.

        flags: None stands for a flag that was not given. template: its name. only: load just this setting, which no
        project and no template sets.
        """
        found: dict[str, object] = {}
        rules = {name: rule for name, rule in RULES.items() if only in (None, name)}
        # 5. the user's file
        for name, value in read_settings(environment).items():
            if name in rules:
                found[name] = rules[name].of_value(value, f"{environment.config_file}: {name}")
        # 4. the project's file
        if environment.project and not only:
            from cgcli.core.templates import project_settings

            found |= project_settings(environment.project)
        # 3. variables
        for name, rule in rules.items():
            text = environment.variables.get(variable(name))
            if text is not None and (text or name == "prefix"):
                found[name] = rule.of_text(text, variable(name))
        # 2. the template
        if template:
            from cgcli.core.templates import find_template

            found |= find_template(environment, template).settings
        # 1. flags
        for name, value in (flags or {}).items():
            if value is not None:
                found[name] = rules[name].of_value(value, "--" + name.replace("_", "-"))
        return cls(**found)  # type: ignore[arg-type]

    def with_text(self, name: str, text: str) -> Settings:
        """A copy with one setting parsed from text. Raises UsageError."""
        return replace(self, **{name: RULES[name].of_text(text, name)})  # type: ignore[arg-type]


def variable(name: str) -> str:
    """The environment variable of a setting: top_p -> CGCLI_TOP_P."""
    return "CGCLI_" + name.upper()


class Rule(NamedTuple):
    """The values that a setting may have."""

    kind: type
    legal: str  # in words, for errors
    admits: Callable[[Any], bool] = lambda _: True  # whether a value of that type is legal
    words: tuple[str, ...] = ()  # to choose from

    def of_text(self, text: str, where: str) -> object:
        if self.kind is bool:
            return self.of_value(_SWITCH.get(text.lower(), text), where)
        try:
            return self.of_value(self.kind(text), where)
        except ValueError:
            raise UsageError(f"{where} is {text!r:.80}, not {self.legal}") from None

    def of_value(self, value: object, where: str) -> object:
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind or not self.admits(value):
            raise UsageError(f"{where} is {value!r:.80}, not {self.legal}")
        return value


_SWITCH = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


def one_of(*words: str) -> Rule:
    """One of these words."""
    return Rule(str, f"{', '.join(words[:-1])} or {words[-1]}", words.__contains__, words)


def _named(value: str) -> bool:
    """Whether it can be a name or a path."""
    return bool(value) and "\0" not in value


SWITCH = Rule(bool, "on or off", words=("on", "off"))
NATURAL = Rule(int, "a positive integer", lambda n: n >= 1)
CANDIDATES = Rule(int, "an integer from 1 to 1000", lambda n: 1 <= n <= 1000)
"""Of a turn."""
_COUNT = Rule(int, "a non-negative integer", lambda n: n >= 0)
_SHARE = Rule(float, "a number from 0 to 1", lambda p: 0 <= p <= 1)
RULES = {
    "model": Rule(str, "a model's name or a GGUF file", _named),
    "temperature": Rule(float, "a non-negative number", lambda t: 0 <= t < math.inf),
    "top_p": _SHARE,
    "top_k": Rule(int, "an integer from 0 to 2^32 - 1", lambda n: 0 <= n < 1 << 32),
    "min_p": _SHARE,
    "max_tokens": Rule(int, "an integer from 1 to 2^30", lambda n: 1 <= n <= MAX_CONTEXT),
    "seed": Rule(int, "an integer from 0 to 2^64 - 1", lambda n: 0 <= n < SEED_LIMIT),
    "prefix": Rule(str, "text"),
    "ctx": Rule(int, "an integer from 1 to 2^30", lambda n: 1 <= n <= MAX_CONTEXT),
    "threads": Rule(int, f"an integer from 1 to {MAX_THREADS}", lambda n: 1 <= n <= MAX_THREADS),
    "gpu_layers": _COUNT,
    "draft": Rule(str, "ngram, off, or a model's name or GGUF file", _named),
    "draft_from": Rule(str, "auto, off, or a file or folder", _named),
    "exact": Rule(bool, "true or false"),
    "kernels": one_of("on", "off"),
    "guard": one_of("on", "off"),
    "fold": one_of("on", "off"),
    "log": one_of("on", "off"),
    "serve": one_of("on", "off"),
    "warm": Rule(str, "off, or a time such as 90s, 10m or 2h", lambda time: time == "off" or is_duration(time)),
    "color": one_of("auto", "always", "never"),
}


def unknown_variables(environment: Environment) -> list[str]:
    """A line for each CGCLI_* variable that has no effect, with the nearest name that has."""
    known = [*map(variable, RULES), "CGCLI_HOME", "CGCLI_CPU_VARIANT", "CGCLI_API_KEY"]
    given = sorted(name for name in environment.variables if name.startswith("CGCLI_"))
    return [f"{name} is not a setting{nearest(name, known)}" for name in given if name not in known]


def read_settings(environment: Environment) -> dict[str, object]:
    """The settings in config.toml, if it exists. Raises UsageError for unknown ones."""
    path = environment.config_file
    if not path.exists():
        return {}
    from cgcli.core.reading import read_toml  # only if the file exists

    values = read_toml(path, UsageError)
    for name in values:
        if name not in RULES and name != "templates":
            raise UsageError(
                f"{path}: unknown setting {name!r:.80}{nearest(name, RULES)}",
                hint=f"use one of {', '.join(RULES)}",
            )
    return values


def _project_file(folder: Path, home: Path | None) -> Path | None:
    """The file of the project that a folder belongs to; None if there is none, or if it is somebody else's.

    The root of a project is the nearest folder that has the file, or that git knows; the search ends there, and at the
    user's home.
    """
    for place in (folder, *folder.parents):
        if place == home:
            return None
        path = place / ".cgcli.toml"
        try:
            if path.is_file():
                return path if path.stat().st_uid in (os.geteuid(), 0) else None
            if (place / ".git").exists():
                return None
        except OSError:
            return None
    return None


def nearest(word: str, words: Iterable[str]) -> str:
    """', did you mean ...?' if one of `words` is similar, else ''."""
    import difflib

    def letters(one: str) -> str:
        return one.lstrip("-").removeprefix("CGCLI_")

    by_letters = {letters(one): one for one in words}
    near = difflib.get_close_matches(letters(word), by_letters, 1)
    return f", did you mean {by_letters[near[0]]}?" if near else ""
