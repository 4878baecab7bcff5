"""Fields of a JSON request, each checked and refused by its name. Those that nobody asks for are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BadRequest(Exception):
    """A request that cannot be answered; `status` and `body` are the answer, in OpenAI's form."""

    def __init__(self, message: str, param: str | None = None, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
        kind = "server_error" if self.status >= 500 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class Fields:
    """The fields of a request. A missing field, or null, is the default. All methods raise BadRequest."""

    def __init__(self, data: object) -> None:
        if not isinstance(data, dict):
            raise BadRequest("the body is not a JSON object")
        self.data: Mapping[str, Any] = data

    def part(self, name: str) -> Fields:
        """The fields of an object in the request."""
        return Fields(self._of(name, dict, "a JSON object") or {})

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self._of(name, (int, float), "a number")
        value = default if value is None else value
        if not low <= value <= high:  # nor is NaN
            raise BadRequest(f"{name} must be from {low:g} to {high:g}", name)
        return float(value)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self._of(name, int, "a whole number")
        value = default if value is None else value
        if not low <= value <= high:
            raise BadRequest(f"{name} must be from {low} to {high}", name)
        return int(value)

    def flag(self, name: str) -> bool:
        return bool(self._of(name, bool, "true or false"))

    def text(self, name: str) -> str:
        return _encodable(self._of(name, str, "a text") or "")

    def texts(self, name: str, most: int, *, empty: bool = False) -> tuple[str, ...]:
        """A text, or a list of at most `most`. empty: whether a text may be."""
        value = self._of(name, (str, list), "a text or a list of texts")
        listed = [value] if isinstance(value, str) else value or []
        if not all(isinstance(one, str) and (one or empty) for one in listed):
            raise BadRequest(f"{name} must have texts that are not empty", name)
        if len(listed) > most:
            raise BadRequest(f"{name} may have {most} texts at most", name)
        return tuple(map(_encodable, listed))

    def none_of(self, *names: str) -> None:
        """Refuse fields that would change the result and cannot be heeded."""
        for name in names:
            if self.data.get(name):
                raise BadRequest(f"{name} is not supported", name)

    def _of(self, name: str, kind: type | tuple[type, ...], what: str) -> Any:
        value = self.data.get(name)
        wrong = isinstance(value, bool) and kind is not bool
        if value is not None and (wrong or not isinstance(value, kind)):
            raise BadRequest(f"{name} must be {what}", name)
        return value


def _encodable(text: str) -> str:
    """The text without halves of characters, which JSON can have."""
    return text.encode("utf-8", "replace").decode()
