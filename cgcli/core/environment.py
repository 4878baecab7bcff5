"""The folders and variables that cgcli uses.

`cgcli.cli.main` creates one `Environment` and passes it down; nothing else reads `os.environ`. CGCLI_HOME moves all
folders together; by default they are the platform's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """The folders, which need not exist yet, and the variables of a run."""

    store: Path  # pulled models
    data: Path  # programs and their journals
    config: Path  # config.toml
    variables: Mapping[str, str]

    @classmethod
    def from_process(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """The environment for these variables, by default those of the process."""
        variables = os.environ if variables is None else variables
        home = variables.get("CGCLI_HOME")
        if home:
            root = Path(home).expanduser().absolute()
            return cls(root / "store", root / "data", root, variables)
        import platformdirs

        data = platformdirs.user_data_path("cgcli", appauthor=False)
        config = platformdirs.user_config_path("cgcli", appauthor=False)
        return cls(data / "store", data, config, variables)

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    def flag(self, name: str) -> bool:
        """Whether a variable is set to a true value, as the Hub defines them."""
        return self.variables.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"}
