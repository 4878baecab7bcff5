"""One pull in a process of its own: `python -m tests.hub.pull_once SPEC`. Notes go to stderr, after `ready`."""

from __future__ import annotations

import sys

# Imported before `ready`, so that what is killed is a pull, not an import.
from huggingface_hub import HfApi, get_hf_file_metadata, get_session  # noqa: F401

from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError
from cgcli.hub.pull import pull
from tests.hub.recording import Recorder


class Teller(Recorder):
    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print("ready", file=sys.stderr, flush=True)
    try:
        print(pull(sys.argv[1], environment=Environment.from_process(), progress=Teller()).path)
    except CgcliError as error:
        print(f"{error.status.value}: {error.message}", file=sys.stderr)
        sys.exit(error.status)
