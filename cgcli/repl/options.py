"""What `/set` sets: settings of the command line, from the next prompt on, and those of the REPL itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cgcli.core.config import NATURAL, SWITCH, Rule, Settings, nearest
from cgcli.core.errors import UsageError

_OWN: dict[str, Rule] = {"candidates": NATURAL, "unsafe": SWITCH, "auto": SWITCH, "vi": SWITCH}
KEYS = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "seed", "candidates", "fold", "unsafe", "auto", "vi",
        "color")  # fmt: skip


@dataclass(frozen=True)
class Options:
    """candidates: drawn for a prompt; unsafe: run programs without a sandbox; auto: run after each turn; vi: keys.

    settings: with a seed, always.
    """

    settings: Settings
    candidates: int = 1
    unsafe: bool = False
    auto: bool = False
    vi: bool = False

    def told(self, key: str, text: str) -> Options:
        """With one of KEYS as a person's words say it. Raises UsageError naming key and value, or the nearest key."""
        if key not in KEYS:
            raise UsageError(f"no setting {key}{nearest(key, KEYS)}", hint="/set lists them")
        if key in _OWN:
            return replace(self, **{key: _OWN[key].of_text(text, key)})  # type: ignore[arg-type]
        return replace(self, settings=self.settings.with_text(key, text))

    def shown(self, key: str) -> str:
        """The value of one of KEYS, as `told` takes it."""
        value = getattr(self if key in _OWN else self.settings, key)
        return ("off", "on")[value] if isinstance(value, bool) else str(value)
