"""What editors and other clients send, and what they read in the answers, with a process that serves codegen-nano."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serve import recorded
from tests.serve.recorded import Recorded
from tests.serve.site import Site, raw_gen
from tests.support.patience import PATIENCE_S

for _needed in ("starlette", "uvicorn"):
    pytest.importorskip(_needed)

_ANY_TIME = {"t_max_prompt_ms": 0, "t_max_predict_ms": 0}


def sent(site: Site, request: Recorded, more: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """The status and the text of the answer, with nothing in the headers but what the client sends."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_S)
    body = json.dumps({**request.body, **(more or {})}).encode()
    try:
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in {**request.headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def read_stream(answer: str) -> str:
    """What clients of streams make of one: lines of JSON behind `data:`, and the text of the first choice in each."""
    lines = [line.removeprefix("data:").strip() for line in re.split(r"\r?\n", answer) if line]
    assert lines[-1] == "[DONE]"
    return "".join(choice["text"] for line in lines[:-1] for choice in json.loads(line)["choices"][:1])


@pytest.mark.parametrize("request_", recorded.ALL, ids=lambda one: f"{one.client} {one.path}")
def test_a_recorded_request_is_answered(site: Site, request_: Recorded) -> None:
    status, answer = sent(site, request_)
    assert status == 200, answer


def test_llama_vim_finds_what_it_reads(site: Site) -> None:
    status, answer = sent(site, recorded.LLAMA_VIM, {"seed": 7, **_ANY_TIME})
    assert status == 200
    assert re.match(r"\s*\{", answer) and re.search(r'"content"\s*:"', answer)  # it looks before it parses
    found = json.loads(answer)
    assert list(found) == recorded.LLAMA_VIM.body["response_fields"]  # by their paths, as llama.cpp's server has them
    assert isinstance(found["content"], str)
    assert found["truncated"] is False
    assert found["timings/prompt_n"] >= 0 and found["timings/predicted_n"] > 0
    assert found["tokens_cached"] >= found["timings/prompt_n"] + found["timings/predicted_n"]
    for name in ("prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second", "predicted_per_token_ms"):
        assert found[f"timings/{name}"] >= 0


def test_llama_vim_warms_the_server_up(site: Site) -> None:
    status, answer = sent(site, recorded.LLAMA_VIM_WARM_UP)
    assert (status, json.loads(answer)) == (200, {})


def test_llama_vim_is_told_that_there_are_no_instructions(site: Site) -> None:
    status, answer = sent(site, recorded.LLAMA_VIM_INSTRUCT)
    assert status == 404
    assert "models continue code" in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize("request_", [recorded.MINUET_NVIM, recorded.MINUET_EL], ids=lambda one: one.client)
def test_minuet_reads_the_text_of_several_streams(site: Site, request_: Recorded) -> None:
    """It sends the same request once for each completion that it wants."""
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda seed: sent(site, request_, {"seed": seed}), range(3)))
    for status, answer in answers:
        assert status == 200
        assert read_stream(answer).strip()
        assert "\n\n" not in read_stream(answer)


def test_continue_reads_the_text_of_a_stream(site: Site, bundled_model: Path) -> None:
    status, answer = sent(site, recorded.CONTINUE, {"seed": 7, "max_tokens": 40})
    assert status == 200
    more = ["-t", "0.01", *(word for stop in recorded.CONTINUE.body["stop"] for word in ("--stop", stop))]
    assert read_stream(answer) == raw_gen(bundled_model, recorded.CONTINUE.body["prompt"], *more)


@pytest.mark.parametrize("request_", [recorded.FAUXPILOT, recorded.FAUXPILOT_AXIOS], ids=["openai", "axios"])
def test_vscode_fauxpilot_reads_the_first_choice(site: Site, bundled_model: Path, request_: Recorded) -> None:
    status, answer = sent(site, request_, {"seed": 7, "max_tokens": 40})
    assert status == 200
    text = json.loads(answer)["choices"][0]["text"]
    assert text == raw_gen(bundled_model, recorded.BEFORE, "-t", "0.1", "--stop", "\n")


def test_llm_reads_a_stream_with_its_usage(site: Site, bundled_model: Path) -> None:
    status, answer = sent(site, recorded.LLM)
    assert status == 200
    assert read_stream(answer) == raw_gen(bundled_model, recorded.BEFORE)
    last = [json.loads(line[5:]) for line in answer.split("\n\n") if line.startswith("data: {")][-1]
    assert last["choices"] == [] and last["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["stream", "whole"])
def test_llm_itself(site: Site, bundled_model: Path, tmp_path: Path, how: list[str]) -> None:
    """With the model that docs/editors.md has for it."""
    llm = shutil.which("llm")
    if llm is None:
        pytest.skip("llm is not installed")
    documented = (Path(__file__).parents[2] / "docs" / "editors.md").read_text()
    (model,) = re.findall(r"```yaml\n(- model_id: .*?)```", documented, re.DOTALL)
    (tmp_path / "extra-openai-models.yaml").write_text(model.replace(":8012", f":{site.port}"))
    command = [llm, "-m", "cgcli", recorded.BEFORE, "-o", "seed", "7", "-o", "max_tokens", "40", "-n", *how]
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout == raw_gen(bundled_model, recorded.BEFORE) + "\n"
