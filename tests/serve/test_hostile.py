"""Clients that do their worst: nobody else may notice, nothing may be left over, and nothing is written about them."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cgcli.native.sample import Sampling
from cgcli.serve.completions import Defaults, HttpOptions
from tests.serve.site import Site
from tests.support.patience import PATIENCE_S, eventually
from tests.support.serving import InThread, server_thread

for _needed in ("starlette", "uvicorn"):
    pytest.importorskip(_needed)

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HTTP = HttpOptions("127.0.0.1", 0, Defaults(Sampling(), 16))


def connected(port: int | None) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port or 0), PATIENCE_S)


def answer_to(port: int | None, data: bytes) -> bytes:
    """All that comes back for these bytes."""
    with connected(port) as sent:
        sent.sendall(data)
        return b"".join(iter(lambda: sent.recv(1 << 16), b""))


def with_body(body: object, *headers: bytes) -> bytes:
    data = json.dumps(body).encode()
    lines = (*headers, b"Connection: close", b"Content-Length: %d" % len(data))
    return HEAD + b"\r\n".join(lines) + b"\r\n\r\n" + data


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def site_of(there: InThread, folder: Path) -> Site:
    return Site(there.server.port or 0, folder, folder)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": [1] * 100_000}, "prompt"),
        ({"prompt": [[1], [2**70]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"stop": ["a" * 1001]}, "stop"),
        ({"stop": [["a"]]}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"n": 10**9}, "n"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 2**70}, "max_tokens"),
        ({"temperature": float("inf")}, "temperature"),
        ({"seed": -5}, "seed"),
        ({"top_k": 1.5}, "top_k"),
        ({"logprobs": True}, "logprobs"),
    ],
)
def test_absurd_values_are_refused_by_name(site: Site, wrong: dict[str, object], param: str) -> None:
    code, found = site.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1} | wrong)
    assert (code, found["error"]["param"]) == (400, param)


@pytest.mark.parametrize("prompt", [None, "", "\x00", "\ud800", [[]], [0]])
def test_odd_prompts_are_texts(site: Site, prompt: object) -> None:
    for more in ({}, {"echo": True, "logprobs": 2}):
        code, found = site.ask("POST", "/v1/completions", {"prompt": prompt, "max_tokens": 1, **more})
        assert code == 200 and len(found["choices"]) == 1


def test_halves_of_characters_are_no_fault(site: Site) -> None:
    for body in ({"prompt": "x", "suffix": "\ud800"}, {"prompt": "x", "stop": "\ud800", "max_tokens": 1}):
        assert site.ask("POST", "/v1/completions", body)[0] == 200
    assert site.ask("POST", "/infill", {"input_prefix": "\udfff", "input_suffix": "\ud800", "n_predict": 2})[0] == 200


def test_bytes_that_are_no_request_are_refused_in_silence(site: Site) -> None:
    before = site.log.read_text()
    for wrong in (
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    ):
        with connected(site.port) as sent:
            sent.sendall(wrong)
            assert sent.recv(12) == b"HTTP/1.1 400"
    with connected(site.port) as sent:
        sent.sendall(HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}")
        assert sent.recv(12) == b"HTTP/1.1 200"
    assert site.log.read_text() == before


def test_a_client_that_leaves_within_its_body_leaves_no_trace(site: Site) -> None:
    before = site.log.read_text()
    for rest in (b"Content-Length: 500\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        with connected(site.port) as sent:
            sent.sendall(HEAD + rest)
    counted = 'cgcli_http_requests_total{route="/v1/completions",status="499"}'
    eventually(lambda: f"{counted} " in site.ask("GET", "/metrics")[1], "it is not seen")
    assert site.log.read_text() == before


def test_a_redirect_names_no_host(site: Site) -> None:
    answer = answer_to(site.port, b"GET /health/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert status(answer) == 404 and b"evil" not in answer


def test_names_have_any_case(site: Site) -> None:
    body = {"prompt": "x", "max_tokens": 1}
    headers: dict[str, Any] = {
        "host": "LocalHost:1",
        "content_type": "Application/JSON",
        "origin": "HTTP://localhost:1",
    }
    assert site.ask("POST", "/v1/completions", body, **headers)[0] == 200


def test_requests_in_a_row_are_answered_in_order(site: Site) -> None:
    first = with_body({"prompt": "x", "max_tokens": 1}).replace(b"Connection: close\r\n", b"")
    answer = answer_to(site.port, first + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"text_completion") < answer.index(b'{"status":"ok"}')


def test_a_body_in_chunks(site: Site) -> None:
    chunks = b'9\r\n{"prompt"\r\n6\r\n: "x "\r\n11\r\n, "max_tokens": 1\r\n1\r\n}\r\n0\r\n\r\n'
    answer = answer_to(site.port, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert status(answer) == 200


def test_bodies_have_a_limit_together(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.serve.http._MOST_BODIES", 1000)
    with server_thread(tiny_model, tmp_path / "run", http=HTTP) as there:
        site, body = site_of(there, tmp_path), {"prompt": "x" * 500, "max_tokens": 1}
        with connected(there.server.port) as stalled:
            stalled.sendall(HEAD + b"Content-Length: 9000\r\n\r\n" + b" " * 700)
            eventually(lambda: site.ask("POST", "/v1/completions", body)[0] == 429, "all is taken")
            assert site.ask("GET", "/health")[0] == 200
        eventually(lambda: site.ask("POST", "/v1/completions", body)[0] == 200, "nothing is taken any more")


def test_a_client_that_does_not_read_is_left(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen in the descriptors of this process, where the server is a thread."""
    monkeypatch.setattr("cgcli.serve.http._UNREAD_S", 0.05)
    body = {"prompt": "\x01" * 1500, "echo": True, "logprobs": 5, "max_tokens": 1, "n": 60}  # 10 MB to read
    with server_thread(tiny_model, tmp_path / "run", http=HTTP) as there, socket.socket() as deaf:
        site, begun = site_of(there, tmp_path), 'cgcli_http_requests_total{route="/v1/completions",status="200"} 1'
        before = _descriptors()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", there.server.port or 0))
        deaf.sendall(with_body(body))
        eventually(lambda: begun in site.ask("GET", "/metrics")[1], "there is no answer")
        eventually(lambda: _descriptors() == before, "the connection stays open")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_many_that_leave_at_once(site: Site) -> None:
    """Whatever they asked for, nothing is drawn in the end, and a text is what it was."""
    usual = {"prompt": "def f(x):\n    ", "max_tokens": 8, "seed": 3}
    before = site.ask("POST", "/v1/completions", usual)[1]["choices"]

    def leave(number: int) -> None:
        body = {
            "prompt": f"def f{number}():\n" + "x = 1\n" * (number % 3 * 100),
            "max_tokens": 500,
            "n": 1 + number % 9,
        }
        with connected(site.port) as sent:
            sent.sendall(with_body(body | {"stream": number % 2 == 0}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(leave, range(80)))
    eventually(lambda: site.status()["streams"] == 0, "streams are drawn for nobody")
    assert site.ask("POST", "/v1/completions", usual)[1]["choices"] == before
