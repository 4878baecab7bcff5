"""Checkpoints: the state of a run on disk, written by orbax while the next steps are computed.

A checkpoint has the step, weights and optimizer (`state`), and the position in the data with the totals of the run
(`facts`). There is no other random state: the recipe's seed decides the initial weights and the order of the records. A
checkpoint is written under another name and renamed, so a killed process leaves the previous ones intact.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import orbax.checkpoint as ocp

from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class ResumePoint:
    """Where a run continues: what a checkpoint has beside the arrays."""

    digest: str  # of the recipe
    position: str  # in the data, as `Batches.state` returns it
    tokens: int  # trained so far
    seconds: float  # spent so far


class Checkpoints:
    """The checkpoints in a folder. A context manager; leaving it waits for unfinished writes."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Removes checkpoints that a killed process left incomplete. keep: number of checkpoints.

        Raises CgcliError if the disk fails.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:
                # Orbax would do this in a thread, which dies with a traceback if the run ends early.
                for left in folder.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(left)
            options = ocp.CheckpointManagerOptions(max_to_keep=keep)
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)
        except OSError as error:
            raise disk_error(folder, error) from error

    @property
    def latest(self) -> int | None:
        """The step of the last checkpoint; waits for unfinished writes."""
        self._manager.wait_until_finished()
        step: int | None = self._manager.latest_step()
        return step

    def save(self, step: int, state: Any, resume: ResumePoint) -> None:
        """Start writing a checkpoint, unless the step has one; waits for the previous one.

        The arrays may be reused when this returns. Raises CgcliError if the disk fails.
        """
        try:
            if self.latest == step:
                return
            kept = ocp.args.JsonSave(asdict(resume))
            self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), facts=kept))
        except (OSError, ValueError) as error:
            raise self._disk_error(error) from error

    def restore(self, like: StateT) -> tuple[int, StateT, ResumePoint] | None:
        """Step, state and resume point of the last checkpoint; None if there are no checkpoints.

        like: a state of the same shapes and shardings. Raises CgcliError if the checkpoint cannot be read.
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
                hint="remove that folder and run the command again to continue from the checkpoint before",
            ) from error
        return step, found["state"], ResumePoint(**found["facts"])

    def close(self) -> None:
        """Wait for unfinished writes. Raises CgcliError if one failed."""
        try:
            self._manager.close()
        except (OSError, ValueError) as error:
            raise self._disk_error(error) from error

    def _disk_error(self, error: Exception) -> CgcliError:
        """Translates disk errors of orbax and TensorStore."""
        if isinstance(error, OSError):
            return disk_error(self._folder, error)
        full = "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error)
        what = "no space left" if full else str(error).splitlines()[0]
        return CgcliError(
            f"cannot write a checkpoint in {self._folder}: {what}",
            hint="free some space and run the command again" if full else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
