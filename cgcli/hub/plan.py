"""What a pull will need, told before the first byte, and whether the machine has it."""

from __future__ import annotations

from dataclasses import dataclass

from cgcli.core.errors import CgcliError
from cgcli.core.units import size


@dataclass(frozen=True)
class Plan:
    """Bytes, all of them. download: still to fetch; disk: still to be written before anything is deleted;
    memory: to run the model with its full context, or with `at_least` the least that it takes (its weights); None where
    nobody knows.
    """

    spec: str
    source: str
    revision: str | None
    download: int
    disk: int
    memory: int | None
    at_least: bool = False

    def __str__(self) -> str:
        at = f" at {self.revision[:12]}" if self.revision else ""
        memory = f", and {self._needed} of memory to run" if self.memory is not None else ""
        return (
            f"{self.spec} from {self.source}{at}: {size(self.download)} to download, {size(self.disk)} of disk{memory}"
        )

    @property
    def _needed(self) -> str:
        return f"{'at least ' * self.at_least}{size(self.memory or 0)}"

    def check(self, free_disk: int, memory: int) -> None:
        """Raises CgcliError naming what does not fit."""
        if self.disk > free_disk:
            raise CgcliError(
                f"{self.spec} needs {size(self.disk)} of disk at its peak, {size(free_disk)} are free",
                hint="free some, move the store with CGCLI_HOME, or try all the same with --force",
            )
        if self.memory is not None and self.memory > memory:
            raise CgcliError(
                f"{self.spec} needs {self._needed} of memory to run, this machine has {size(memory)}",
                hint="choose a smaller model or quant (`cgcli models`), or pull it all the same with --force",
            )
