"""Runs a generated program and says what became of it: in a sandbox, or on the host where that is asked for by name.

There is no falling back: where the sandbox cannot be made, the program is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cgcli.core.errors import SandboxError
from cgcli.sandbox.bubblewrap import in_sandbox
from cgcli.sandbox.host import on_host
from cgcli.sandbox.judge import judge
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict
from cgcli.sandbox.watch import Listener, watch
from cgcli.terminal.text import visible


def never() -> bool:
    return False


def run(
    source: bytes,
    *,
    arguments: Sequence[str] = (),
    checks: Sequence[str] = (),
    policy: Policy,
    interrupted: Callable[[], bool] = never,
    name: str = "program.py",
    stdin: int | None = None,
    listener: Listener | None = None,
) -> Verdict:
    """Run a Python program to its end or to a limit of `policy`; nothing of it is left running.

    checks: expressions that must hold at its end, in its own namespace (see `checked`); all of them are evaluated.
    interrupted: asked now and then, ends it. name: what the program is called in tracebacks and in its sys.argv.
    stdin: a descriptor whose bytes are its input; None: it has none. listener: is given its output as it comes.
    Raises SandboxError where no isolation works and `policy` is not unsafe.
    """
    prepared = on_host if policy.unsafe else in_sandbox
    with prepared(source, name, arguments, policy, checks) as start:
        course = watch(start, policy, stdin=stdin, interrupted=interrupted, listener=listener)
    if not course.began and course.stopped != "interrupted":
        late = f" within {course.seconds:.1f} s" if course.stopped else ""
        said = visible(" ".join(bytes(course.said["stderr"]).decode("utf-8", "replace").split()[-40:]))
        hint = "enable unprivileged user namespaces, which bubblewrap needs, or run without a sandbox: --unsafe"
        if late:
            hint = "the machine is busy; try again later"
        raise SandboxError(f"{start.command[0]} did not start the program{late}: {said}".removesuffix(": "), hint=hint)
    return judge(course, policy, checks)
