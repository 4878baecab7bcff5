"""Runs attacks: in this process, or in one of an ordinary user if the tests run as root.

python tests/sandbox/attempt.py    # reads {"attack", "weak", "outside"} per line, answers [held, seen]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), *sys.argv[1:]]

from cgcli.sandbox.bubblewrap import in_sandbox
from cgcli.sandbox.run import judge, never
from cgcli.sandbox.watch import watch
from tests.sandbox.attacks import ATTACKS, Attack


def attempt(attack: Attack, outside: dict[str, str], *, weak: bool) -> tuple[bool, str]:
    """Returns whether the sandbox held, and what was seen. `weak` takes away the protection that the attack is about.

    Raises RuntimeError if the sandbox does not start: then it has neither held nor failed.
    """
    own = {**outside, "PID": str(os.getpid())}
    policy = attack.allowed(own, weak=weak)
    os.environ["TEST_SECRET"] = "secret"
    with left_open() as folder, in_sandbox(attack.program(own), "program.py", (), policy) as launch:
        handed = replace(launch, descriptors=(*launch.descriptors, folder))
        execution = watch(attack.weakened(handed, own) if weak else handed, policy, interrupted=never)
    if not execution.began:
        raise RuntimeError(bytes(execution.output["stderr"]).decode())
    verdict = judge(execution, policy)
    held = verdict.outcome in attack.outcomes and b"ESCAPED" not in verdict.stdout
    return held, f"{verdict.outcome}, {verdict.detail}, {verdict.stdout[-200:]!r}"


@contextmanager
def left_open() -> Iterator[int]:
    """A descriptor of the host's root folder, left open by mistake."""
    folder = os.open("/", os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)


def main() -> None:
    attacks = {attack.name: attack for attack in ATTACKS}
    for line in sys.stdin:
        asked = json.loads(line)
        answer = attempt(attacks[asked["attack"]], asked["outside"], weak=asked["weak"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
