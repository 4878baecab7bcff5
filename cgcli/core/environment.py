"""Where things live and what the process may assume about its surroundings.

One `Environment` is made in `cgcli.cli.main` and passed down; nothing below reads `os.environ` for itself.
`CGCLI_HOME` moves store, data and configuration together; else the platform's own folders are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """Folders and variables of one run. Folders need not exist yet.

    store: pulled models; data: programs and journals; config: holds config.toml.
    """

    store: Path
    data: Path
    config: Path
    variables: Mapping[str, str]

    @classmethod
    def from_process(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """The environment of this process, or of the given variables."""
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
        """Whether a variable is set to something that means yes (the Hub's own list of words)."""
        return self.variables.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"}
