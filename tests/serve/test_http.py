"""The HTTP door, with real clients against a real process that serves codegen-nano with --exact."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.hole import at_cursor
from cgcli.program.infill import fill
from cgcli.serve.completions import Defaults, HttpOptions
from tests.serve.site import Site, raw_gen
from tests.support.cli import run
from tests.support.patience import PATIENCE_S, eventually
from tests.support.serving import server_thread

openai = pytest.importorskip("openai")
for _needed in ("starlette", "uvicorn"):
    pytest.importorskip(_needed)

PROMPT = "def add(a, b):\n    "


# --- what clients get


def test_a_completion_is_the_text_of_gen(site: Site, bundled_model: Path) -> None:
    done = site.client().completions.create(model="any", prompt=PROMPT, seed=7, max_tokens=40)
    assert done.choices[0].text == raw_gen(bundled_model, PROMPT)
    assert done.choices[0].finish_reason in ("length", "stop")
    assert done.object == "text_completion"
    assert done.usage and done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_a_streamed_completion_is_the_same(site: Site, bundled_model: Path) -> None:
    parts = list(
        site.client().completions.create(
            model="any", prompt=PROMPT, seed=7, max_tokens=40, stream=True, stream_options={"include_usage": True}
        )
    )
    *texts, last = parts
    assert "".join(part.choices[0].text for part in texts) == raw_gen(bundled_model, PROMPT)
    assert [part.choices[0].finish_reason for part in texts[:-1]] == [None] * (len(texts) - 1)
    assert texts[-1].choices[0].finish_reason in ("length", "stop")
    assert last.choices == [] and last.usage and last.usage.completion_tokens > 0


def test_samplers_and_stops_are_those_of_gen(site: Site, bundled_model: Path) -> None:
    how = {"temperature": 0.9, "top_p": 0.8, "stop": ["\n\n", "return"]}
    done = site.client().completions.create(model="any", prompt=PROMPT, seed=7, max_tokens=40, **how)
    more = ["-t", "0.9", "--top-p", "0.8", "--stop", "\n\n", "--stop", "return"]
    assert done.choices[0].text == raw_gen(bundled_model, PROMPT, *more)


def test_several_prompts_and_choices(site: Site) -> None:
    client = site.client()
    same = {"model": "any", "seed": 7, "max_tokens": 12, "temperature": 0.8}
    done = client.completions.create(prompt=[PROMPT, "x = "], n=3, **same)
    assert [one.index for one in done.choices] == list(range(6))
    alone = client.completions.create(prompt="x = ", n=3, **same)
    assert [one.text for one in done.choices[3:]] == [one.text for one in alone.choices]
    assert len({one.text for one in done.choices[:3]}) > 1
    best = client.completions.create(prompt=PROMPT, n=1, best_of=3, logprobs=0, **same)
    assert best.choices[0].text in {one.text for one in done.choices[:3]}


def test_tokens_are_a_prompt_too(site: Site, bundled_model: Path) -> None:
    from cgcli.engine.model import Model

    with Model.load(bundled_model, vocab_only=True) as model:
        tokens = model.tokenize(PROMPT.encode())
    client, same = site.client(), {"model": "any", "seed": 7, "max_tokens": 12}
    text = client.completions.create(prompt=PROMPT, **same).choices[0].text
    assert client.completions.create(prompt=tokens, **same).choices[0].text == text
    two = client.completions.create(prompt=[tokens, tokens], **same)
    assert [one.text for one in two.choices] == [text, text]


def test_log_probabilities_of_the_prompt_and_the_text(site: Site, bundled_model: Path) -> None:
    prompt = "é = 1\ny = "
    done = site.client().completions.create(model="any", prompt=prompt, seed=7, max_tokens=5, logprobs=3, echo=True)
    (choice,) = done.choices
    assert choice.text.startswith(prompt)
    found = choice.logprobs
    assert found and found.tokens and found.token_logprobs and found.text_offset and found.top_logprobs
    first, *rest = zip(found.tokens, found.token_logprobs, found.text_offset, found.top_logprobs, strict=True)
    assert first[1:] == (None, 0, None)
    for token, logprob, offset, top in rest:
        assert logprob <= 0
        assert 3 <= len(top) <= 4 and top[token] == pytest.approx(logprob)
        assert choice.text[offset:].startswith((token, token.lstrip(" "))) or token.startswith("bytes:\\x")  # healed
    with LlamaEngine(bundled_model, EngineOptions(exact=True), interrupt=Interrupt()) as engine:
        prompt_scores = engine.surprise(prompt.encode())
        tokens = len(engine.tokens(prompt.encode()))
    assert found.token_logprobs[1:tokens] == pytest.approx([one.logprob for one in prompt_scores])
    none = site.client().completions.create(model="any", prompt=prompt, seed=7, max_tokens=5, logprobs=0)
    plain = none.choices[0].logprobs
    assert plain and plain.top_logprobs is None
    assert plain.token_logprobs == found.token_logprobs[tokens:]
    only = site.client().completions.create(model="any", prompt="x = 1\n", max_tokens=0, logprobs=1, echo=True)
    assert only.choices[0].text == "x = 1\n"
    assert only.choices[0].logprobs and len(only.choices[0].logprobs.tokens or ()) == only.usage.prompt_tokens
    assert only.usage and only.usage.completion_tokens == 0


def test_streamed_log_probabilities_are_the_same(site: Site) -> None:
    same = {"model": "any", "prompt": PROMPT, "seed": 7, "max_tokens": 9, "logprobs": 2}
    whole = site.client().completions.create(**same).choices[0].logprobs
    parts = [part.choices[0].logprobs for part in site.client().completions.create(**same, stream=True)]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [one for part in parts for one in getattr(part, name)] == getattr(whole, name)


def test_curl_and_old_paths(site: Site) -> None:
    curl = shutil.which("curl")
    body = json.dumps({"prompt": PROMPT, "seed": 7, "max_tokens": 8})
    status, found = site.ask("POST", "/v1/engines/codegen/completions", json.loads(body))
    assert status == 200
    if curl:
        url = f"http://localhost:{site.port}/v1/engines/codegen/completions"
        command = [curl, "-sS", url, "-H", "Content-Type: application/json", "-d", body]
        done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S)
        assert json.loads(done.stdout)["choices"] == found["choices"]


def test_server_sent_events_end_with_done(site: Site) -> None:
    _, text = site.ask("POST", "/v1/completions", {"prompt": PROMPT, "max_tokens": 4, "stream": True})
    lines = [line for line in text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    json.loads(lines[0].removeprefix("data: "))


def test_infill_without_a_suffix_continues_the_prefix(site: Site, bundled_model: Path) -> None:
    body = {
        "input_prefix": PROMPT,
        "input_suffix": "",
        "input_extra": [{"filename": "a.py", "text": "x"}],
        "n_predict": 40,
        "seed": 7,
        "samplers": ["top_k", "infill"],
    }
    status, found = site.ask("POST", "/infill", body)
    assert status == 200
    assert found["content"] == raw_gen(bundled_model, PROMPT)
    assert found["stop"] and found["tokens_predicted"] <= 40
    assert streamed(site, body) == ([False] * (len(streamed(site, body)[0]) - 1) + [True], found["content"])


def streamed(site: Site, body: dict[str, Any]) -> tuple[list[bool], str]:
    """The parts of an answer of `/infill`: whether each is the last, and their text."""
    _, events = site.ask("POST", "/infill", body | {"stream": True})
    parts = [json.loads(line.removeprefix("data: ")) for line in events.split("\n\n") if line]
    return [part["stop"] for part in parts], "".join(part["content"] for part in parts)


SUFFIX = "\n\nprint(add(1, 2))\n"


@pytest.fixture(scope="module")
def fillings(bundled_model: Path) -> list[str]:
    """What `fill` makes of the same hole in this process, the best first."""
    hole = at_cursor(PROMPT, SUFFIX)
    how = Generation(Sampling(0.2, seed=7), 40, candidates=8, others=0.6)
    with LlamaEngine(bundled_model, EngineOptions(exact=True), interrupt=Interrupt()) as engine:
        found = fill(engine, hole, how)
    return [found.candidates[index].text for index in found.ranking]


def test_infill_and_completions_fill_a_hole_as_fill_does(site: Site, fillings: list[str]) -> None:
    body = {"input_prefix": PROMPT, "input_suffix": SUFFIX, "n_predict": 40, "seed": 7}
    status, found = site.ask("POST", "/infill", body)
    assert status == 200
    assert found["content"] == fillings[0]
    assert streamed(site, body) == ([True], fillings[0])
    how = {"prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 40, "seed": 7}
    status, found = site.ask("POST", "/v1/completions", how | {"n": 3})
    assert [one["text"] for one in found["choices"]] == fillings[:3]
    _, events = site.ask("POST", "/v1/completions", how | {"stream": True})
    first, last = events.split("\n\n")[:2]
    assert json.loads(first.removeprefix("data: "))["choices"][0]["text"] == fillings[0]
    assert last == "data: [DONE]"


def test_infill_answers_by_the_clock(site: Site) -> None:
    """A time in which it cannot draw 1,500 tokens: there is an answer, with what there is until then."""
    body = {"input_prefix": PROMPT, "n_predict": 1500, "seed": 7, "t_max_predict_ms": 150}
    status, found = site.ask("POST", "/infill", body)
    assert status == 200
    assert found["stop_type"] in ("time", "word")
    assert found["tokens_predicted"] < 1500
    body["input_suffix"] = SUFFIX
    body["t_max_predict_ms"] = 1
    status, found = site.ask("POST", "/infill", body)
    assert (status, found["stop_type"]) == (200, "time")
    assert site.ask("POST", "/infill", {"input_prefix": PROMPT, "n_predict": 0})[1]["content"] == ""
    eventually(lambda: site.status()["streams"] == 0, "it draws on")


def test_the_status_names_the_port(site: Site) -> None:
    shown = run("serve", "--status", CGCLI_HOME=str(site.home)).out.decode()
    assert shown.split()[-1] == str(site.port) and "PORT" in shown


def test_models_health_and_metrics(site: Site, bundled_model: Path) -> None:
    (model,) = site.client().models.list().data
    assert model.id == str(bundled_model)
    assert site.ask("GET", "/v1/models/other")[0] == 404
    assert site.ask("GET", "/health") == (200, {"status": "ok"})
    site.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 3})
    status, text = site.ask("GET", "/metrics")
    assert status == 200
    assert 'cgcli_http_requests_total{route="/health",status="200"}' in text
    drawn = next(line for line in text.splitlines() if line.startswith("cgcli_drawn_tokens_total "))
    assert int(drawn.split()[1]) >= 3


# --- what is refused


def test_there_is_no_chat(site: Site) -> None:
    with pytest.raises(openai.NotFoundError, match="its models continue code and were not trained to answer"):
        site.client().chat.completions.create(model="any", messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": 7}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [10**9]}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 129}, "n"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 5}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "include_usage"),
        ({"logprobs": 6}, "logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(site: Site, wrong: dict[str, object], param: str) -> None:
    status, found = site.ask("POST", "/v1/completions", {"prompt": "x"} | wrong)
    assert status == 400
    assert found["error"]["param"] == param
    assert param in found["error"]["message"]
    assert found["error"]["type"] == "invalid_request_error"


def test_unknown_fields_are_ignored(site: Site) -> None:
    body = {"prompt": "x", "max_tokens": 2, "colour": "red", "frequency_penalty": 0, "user": "me", "suffix": None}
    assert site.ask("POST", "/v1/completions", body)[0] == 200


def test_a_prompt_longer_than_the_window_is_refused(site: Site) -> None:
    for stream in (False, True):
        status, found = site.ask("POST", "/v1/completions", {"prompt": "x = 1\n" * 3000, "stream": stream})
        assert (status, found["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"prompt": "x"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(site: Site, raw: bytes) -> None:
    status, found = site.ask("POST", "/v1/completions", raw=raw)
    assert status == 400
    assert "JSON" in found["error"]["message"]


def test_a_large_body_is_refused_without_being_read(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE_S) as sent:
        head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        sent.sendall(f"{head}Content-Length: 104857600\r\n\r\n".encode())
        assert b" 413 " in sent.recv(4096)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:8012"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8012"}, 200),
        ({"content_type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_a_page_of_another_origin_cannot_use_the_port(site: Site, headers: dict[str, Any], status: int) -> None:
    body = {"prompt": "x", "max_tokens": 1}
    assert site.ask("POST", "/v1/completions", body, **headers)[0] == status
    for path in ("/v1/models", "/health", "/metrics"):
        if "content_type" not in headers:
            assert site.ask("GET", path, **headers)[0] == status


def test_a_preflight_of_a_browser_allows_nothing(site: Site) -> None:
    asked: dict[str, Any] = {"origin": "https://evil.example", "access_control_request_method": "POST"}
    assert site.ask("OPTIONS", "/v1/completions", **asked)[0] == 405


def test_unknown_routes_and_methods(site: Site) -> None:
    assert site.ask("GET", "/v1/nothing")[0] == 404
    assert site.ask("GET", "/v1/completions")[0] == 405


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_its_decoding(site: Site, stream: bool) -> None:
    body = json.dumps({"prompt": PROMPT, "max_tokens": 5000, "temperature": 3, "n": 4, "stream": stream}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    before = site.status()["tokens"]
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE_S) as sent:
        sent.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        eventually(lambda: site.status()["tokens"] > before, "nothing is drawn")
    eventually(lambda: site.status()["streams"] == 0, "it draws on for nobody")
    assert site.status()["tokens"] - before < 4 * 900


# --- the server itself


def test_a_port_that_is_taken(site: Site, bundled_model: Path) -> None:
    refused = run("serve", "-m", str(bundled_model), "--port", str(site.port))
    assert refused.status == 1
    assert "in use" in refused.err.lower()


def test_slow_headers_end_the_connection(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.serve.http._HEADER_S", 0.1)
    options = HttpOptions("127.0.0.1", 0, Defaults(Sampling(), 16))
    with server_thread(tiny_model, tmp_path / "run", http=options) as there:
        assert there.server.port
        with socket.create_connection(("127.0.0.1", there.server.port), PATIENCE_S) as slow:
            slow.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
            assert slow.recv(64) == b""


def test_a_full_queue_is_a_429(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.serve.decoder._MOST_WAITING", -16)
    options = HttpOptions("127.0.0.1", 0, Defaults(Sampling(), 16))
    with server_thread(tiny_model, tmp_path / "run", http=options) as there:
        status, found = Site(there.server.port or 0, tmp_path, tmp_path).ask("POST", "/v1/completions", {"prompt": "x"})
    assert (status, found["error"]["type"]) == (429, "rate_limit_error")
