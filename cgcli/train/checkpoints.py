"""The state of a run on disk, whole or not there: orbax, written while the next steps are computed.

A checkpoint has the step, weights and optimiser (`state`), and where the data stood with what else a run goes on
with (`facts`). There is no other random state: weights are drawn once, from the recipe's seed, and the order
of the records is the data position's. It is written under another name and renamed: a process that is killed at any
moment leaves those before it.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import jax
import orbax.checkpoint as ocp

from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Facts:
    """What is kept beside the arrays. digest: of the recipe; position: of the data; tokens, seconds: trained so far."""

    digest: str
    position: str
    tokens: int
    seconds: float


class Checkpoints:
    """The checkpoints of one folder. A context manager: leaving it waits for what is being written."""

    def __init__(self, folder: Path, keep: int) -> None:
        """keep: how many. What a killed process left half written goes. Raises CgcliError where the disk says no."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:
                # Orbax's own cleaning goes on in a thread, which dies with a traceback where a run ends soon.
                for left in folder.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(left)
            options = ocp.CheckpointManagerOptions(max_to_keep=keep)
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)
        except OSError as error:
            raise disk_error(folder, error) from error

    @property
    def latest(self) -> int | None:
        """The step of the last whole one; waits for one that is being written."""
        self._manager.wait_until_finished()
        step: int | None = self._manager.latest_step()
        return step

    def save(self, step: int, state: Any, facts: Facts) -> None:
        """Begin to write one, once the one before is written; the arrays may be given away when this returns.

        Nothing where that step has one. Raises CgcliError where the disk says no.
        """
        try:
            if self.latest == step:
                return
            kept = ocp.args.JsonSave(asdict(facts))
            self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), facts=kept))
        except (OSError, ValueError) as error:
            raise self._refused(error) from error

    def restore(self, like: StateT) -> tuple[int, StateT, Facts] | None:
        """The last whole one: its step, state and facts; None where there is none.

        like: a state of the same shapes and shardings. Raises CgcliError for one that cannot be read.
        """
        step = self.latest
        if step is None:
            return None
        args = ocp.args.Composite(state=ocp.args.StandardRestore(like), facts=ocp.args.JsonRestore())
        try:
            found = self._manager.restore(step, args=args)
        except (OSError, ValueError, KeyError) as error:
            raise CgcliError(
                f"cannot read the checkpoint {self._folder / str(step)}: {str(error).splitlines()[0]}",
                hint="remove that folder and run the same command again",
            ) from error
        return step, found["state"], Facts(**found["facts"])

    def close(self) -> None:
        """Waits for what is being written. Raises CgcliError where it could not be."""
        try:
            self._manager.close()
        except (OSError, ValueError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> CgcliError:
        """Orbax's and TensorStore's complaint about a disk as ours."""
        if isinstance(error, OSError):
            return disk_error(self._folder, error)
        full = "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error)
        what = "no space left" if full else str(error).splitlines()[0]
        return CgcliError(
            f"cannot write a checkpoint in {self._folder}: {what}",
            hint="free some space and run the same command again" if full else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
