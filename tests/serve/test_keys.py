"""A server that wants an API key: what works without one, and what one key's texts tell another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.site import Site
from tests.support.cli import run
from tests.support.serving import ready_server

openai = pytest.importorskip("openai")
for _needed in ("starlette", "uvicorn"):
    pytest.importorskip(_needed)

KEYS = ("first-secret-key", "second-secret-key")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, bundled_model: Path) -> Iterator[Site]:
    """One that wants a key."""
    home = tmp_path_factory.mktemp("home")
    log, keys = home / "log", home / "keys"
    keys.write_text("\n".join(KEYS) + "\n")
    arguments = ["-m", str(bundled_model), "--exact", "--port", "0", "--api-key-file", str(keys), "--debug"]
    with ready_server(home, log, *arguments) as port:
        yield Site(port, log, home)


def test_a_key_is_needed(locked: Site) -> None:
    with pytest.raises(openai.AuthenticationError, match="wrong API key"):
        locked.client("first-secret-ke").completions.create(model="any", prompt="x", max_tokens=1)
    for key in KEYS:
        assert locked.client(key).completions.create(model="any", prompt="x", max_tokens=1).choices
    body = {"prompt": "x", "max_tokens": 1}
    assert locked.ask("POST", "/v1/completions", body)[0] == 401
    assert locked.ask("POST", "/v1/completions", body, authorization=f"Basic {KEYS[0]}")[0] == 401
    assert locked.ask("GET", "/metrics")[0] == 401
    assert locked.ask("GET", "/health")[0] == 200
    assert locked.ask("GET", "/v1/models", authorization=f"Bearer {KEYS[1]}")[0] == 200


def test_a_key_is_in_no_log(locked: Site) -> None:
    for key in (*KEYS, "wrong-secret-key"):
        locked.ask("POST", "/v1/completions", {"prompt": 7}, authorization=f"Bearer {key}")
        locked.ask("POST", "/nothing", raw=b"{", authorization=f"Bearer {key}")
    written = locked.log.read_text() + json.dumps(locked.status())
    written += str(locked.ask("GET", "/metrics", authorization=f"Bearer {KEYS[0]}"))
    assert "is ready for" in written
    assert "secret-key" not in written


def test_what_one_key_has_had_read_helps_no_other(locked: Site) -> None:
    """Counted in tokens that are read; the time until the first byte follows from that."""
    prompt = "def f(x):\n    return x + 1\n\n\n" * 40

    def read(key: str, text: str) -> int:
        before = locked.status()["prefill_tokens"]
        locked.client(key).completions.create(model="any", prompt=text, max_tokens=1)
        return int(locked.status()["prefill_tokens"] - before)

    first = read(KEYS[0], prompt)
    assert first > 300
    assert read(KEYS[0], prompt + "#") < 10
    assert read(KEYS[1], prompt + "#") >= first
    arguments = ["gen", "--raw", prompt, "--exact", "--max-tokens", "1", "-q"]
    before = locked.status()["prefill_tokens"]
    assert run(*arguments, "-m", locked.status()["model"], CGCLI_HOME=str(locked.home)).status == 0
    assert locked.status()["prefill_tokens"] - before >= first  # the user's own texts are apart, too


def test_other_machines_need_a_key(bundled_model: Path) -> None:
    refused = run("serve", "-m", str(bundled_model), "--port", "0", "--host", "0.0.0.0")
    assert refused.status == 2
    assert "--host 0.0.0.0 lets other machines in, so it needs an API key" in refused.err
