"""A process in which MTPB's judge and the reference judge run programs without a sandbox.

Each line of input is JSON: for {"program", "kind", "seconds"} it writes the report of `last_print.run_and_report`, for
{"program", "expected"} the verdicts of `mtpb_reference_judge`. Each program runs in a child, forked after the modules
that its arguments name were imported; a child that takes too long is killed, and its answer is empty.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))
from cgcli.evals import last_print
from tests.evals import mtpb_reference_judge
from tests.support.patience import PATIENCE_S

_PROCESSOR_S = 30


def main() -> None:
    warnings.simplefilter("ignore")
    for module in sys.argv[1:]:
        importlib.import_module(module)
    last_print._WALL_FACTOR = 10**6
    for line in sys.stdin:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            answer(json.loads(line), theirs)
        os.close(theirs)
        words = b""
        while select.select([ours], [], [], PATIENCE_S)[0] and (more := os.read(ours, 2**16)):
            words += more
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ours)
        sys.stdout.buffer.write(words or b"\n")
        sys.stdout.flush()


def answer(asked: dict[str, Any], channel: int) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_S, _PROCESSOR_S))
    if "kind" in asked:
        os.dup2(channel, 1)
        with contextlib.suppress(SystemExit):
            last_print.run_and_report(asked["program"], asked["kind"], asked["seconds"], "")
        os._exit(0)
    words = json.dumps(mtpb_reference_judge.verdicts(asked["program"], asked["expected"])) + "\n"
    with os.fdopen(channel, "w") as out:
        out.write(words)
    os._exit(0)


if __name__ == "__main__":
    main()
