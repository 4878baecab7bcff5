"""A server with a port, as its clients see it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cli import run
from tests.support.patience import PATIENCE_S


@dataclass
class Site:
    """A server's port, and the file with everything that it has written."""

    port: int
    log: Path
    home: Path

    def ask(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        """The status and the JSON, or text, of an answer. Underscores in names of headers become dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        usual = {"content-type": "application/json"} if method == "POST" else {}
        try:
            connection.request(method, path, data, usual | {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert "access-control-allow-origin" not in {name.lower() for name, _ in answer.getheaders()}
        return answer.status, json.loads(text) if text.startswith("{") else text

    def client(self, key: str = "none") -> Any:
        url = f"http://127.0.0.1:{self.port}/v1"
        import openai

        return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=PATIENCE_S)

    def status(self) -> Any:
        (found,) = json.loads(run("serve", "--status", "--json", CGCLI_HOME=str(self.home)).out)
        return found


def raw_gen(model: Path, prompt: str, *more: str) -> str:
    """What `gen --raw` writes behind the prompt."""
    arguments = ["gen", "--raw", prompt, "-m", str(model), "--exact", "--seed", "7", "--max-tokens", "40", "-q"]
    return run(*arguments, "--no-comment", *more).out.decode().removeprefix(prompt)
