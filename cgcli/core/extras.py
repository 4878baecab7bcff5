"""What the optional parts of cgcli need, such as `cgcli[serve]`."""

from __future__ import annotations

import shlex
from importlib.metadata import requires


def packages(extra: str) -> str:
    """What an extra needs, for pip's command line: no package index has cgcli itself."""
    needed = (one.partition(";")[0].strip() for one in requires("cgcli") or () if one.endswith(f'extra == "{extra}"'))
    return shlex.join(needed)
