"""Takes one protection away from a sandbox, by a change of its command, to see that an attack then gets through."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from cgcli.sandbox.watch import Launch

Weaker = Callable[[Launch], Launch]


def _with(launch: Launch, words: Sequence[str]) -> Launch:
    assert list(words) != list(launch.command), "nothing was taken away"
    return replace(launch, command=list(words))


def without(*flags: str) -> Weaker:
    return lambda launch: _with(launch, [word for word in launch.command if word not in flags])


def without_run(*run: str) -> Weaker:
    """Without these consecutive words; `*` stands for any word."""

    def weaker(launch: Launch) -> Launch:
        words, size = list(launch.command), len(run)
        at = next(
            at
            for at in range(len(words))
            if all(mine in ("*", word) for mine, word in zip(run, words[at : at + size], strict=False))
        )
        return _with(launch, words[:at] + words[at + size :])

    return weaker


def without_size(path: str) -> Weaker:
    """Without the limit on the size of the tmpfs at `path`."""

    def weaker(launch: Launch) -> Launch:
        words = list(launch.command)
        at = next(at for at in range(len(words)) if words[at : at + 2] == ["--tmpfs", path])
        assert words[at - 2] == "--size"
        return _with(launch, words[: at - 2] + words[at:])

    return weaker


def showing(path: str, kind: str = "--ro-bind") -> Weaker:
    """With a path of the host mounted."""

    def weaker(launch: Launch) -> Launch:
        words = list(launch.command)
        at = words.index("--ro-bind-data") - 2  # behind all other mounts, before / is made read-only
        return _with(launch, [*words[:at], kind, path, path, *words[at:]])

    return weaker


def setting(name: str, value: int) -> Weaker:
    """With another value for one of the limits that the starter sets."""

    def changed(word: str) -> str:
        if not word.startswith("report="):
            return word
        return ",".join(f"{name}={value}" if one.startswith(f"{name}=") else one for one in word.split(","))

    return lambda launch: _with(launch, [changed(word) for word in launch.command])


def writable(launch: Launch) -> Launch:
    return _with(launch, [word.replace("--ro-bind", "--bind") for word in launch.command])


def leaky(launch: Launch) -> Launch:
    """The starter does not close the descriptors that it inherited."""
    return _with(launch, [word.replace("os.closerange", "(lambda *_: None)") for word in launch.command])


def as_root(launch: Launch) -> Launch:
    """Root stays root."""
    words = list(launch.command)
    at = words.index("setpriv")
    return _with(launch, words[:at] + words[words.index("--", at) + 1 :])


def host_environment(launch: Launch) -> Launch:
    return replace(launch, environment={**os.environ, **(launch.environment or {})})


def several(*weaker: Weaker) -> Weaker:
    def all_of_them(launch: Launch) -> Launch:
        for one in weaker:
            launch = one(launch)
        return launch

    return all_of_them


no_filter = without_run("--seccomp", "*")
host_processes = without("--unshare-pid", "--as-pid-1")
host_network = several(no_filter, without("--unshare-net"))
host_name = several(without_run("--hostname", "*"), without("--unshare-uts"))
