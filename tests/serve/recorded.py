"""Requests as editors and other clients send them, written down from what their sources do with the settings in docs.

docs/editors.md has the settings. A `Host` and a `Content-Length` come with each when it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BEFORE = "def is_prime(n):\n    "
AFTER = "\n\n\nprint([n for n in range(50) if is_prime(n)])\n"


@dataclass(frozen=True)
class Recorded:
    """A request. source: where the client's code makes it."""

    client: str
    source: str
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


_CURL = {"Accept": "*/*", "User-Agent": "curl/8.14.1", "Content-Type": "application/json"}
# llama.vim tests the length of the variable's name, so it always sends the header and `model`.
_LLAMA_VIM = _CURL | {"Authorization": "Bearer "}
_EXTRA = {"text": "import math\n\nLIMIT = 50\n", "time": [70563, 902141], "filename": "settings.py"}

LLAMA_VIM = Recorded(
    "llama.vim",
    "ggml-org/llama.vim a1c8e6e, autoload/llama.vim: llama#fim",
    "/infill",
    {
        "id_slot": 0,
        "input_prefix": "def is_prime(n):\n",
        "input_suffix": "\n" + AFTER.lstrip("\n"),
        "input_extra": [_EXTRA],
        "prompt": "    ",
        "n_predict": 64,
        "stop": [],
        "n_indent": 4,
        "top_k": 40,
        "top_p": 0.90,
        "samplers": ["top_k", "top_p", "infill"],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 250,  # 1000 for the request behind it, with what this one has answered
        "response_fields": [
            "content",
            "timings/prompt_n",
            "timings/prompt_ms",
            "timings/prompt_per_token_ms",
            "timings/prompt_per_second",
            "timings/predicted_n",
            "timings/predicted_ms",
            "timings/predicted_per_token_ms",
            "timings/predicted_per_second",
            "truncated",
            "tokens_cached",
        ],
        "model": "",
    },
    _LLAMA_VIM,
)

LLAMA_VIM_WARM_UP = Recorded(
    "llama.vim",
    "ggml-org/llama.vim a1c8e6e, autoload/llama.vim: s:ring_update",
    "/infill",
    {
        "id_slot": 0,
        "input_prefix": "",
        "input_suffix": "",
        "input_extra": [_EXTRA],
        "prompt": "",
        "n_predict": 0,
        "temperature": 0.0,
        "samplers": [],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": 1,
        "t_max_predict_ms": 1,
        "response_fields": [""],
        "model": "",
    },
    _LLAMA_VIM,
)

LLAMA_VIM_INSTRUCT = Recorded(
    "llama.vim",
    "ggml-org/llama.vim a1c8e6e, autoload/llama.vim: llama#inst_send",
    "/v1/chat/completions",
    {
        "id_slot": 1,
        "messages": [{"role": "system", "content": "You are a code-editing assistant."}],
        "min_p": 0.1,
        "temperature": 0.1,
        "samplers": ["min_p", "temperature"],
        "stream": True,
        "cache_prompt": True,
        "model": "",
    },
    _LLAMA_VIM,
)

_FIM = {"Accept": "application/json", "Authorization": "Bearer xterm-256color", "Content-Type": "application/json"}
_HEAD = "# language: python\n# indentation: use 4 spaces for a tab\n"

MINUET_NVIM = Recorded(
    "minuet-ai.nvim",
    "milanglacier/minuet-ai.nvim 479487c, lua/minuet/backends/openai_base.lua: complete_openai_fim_base",
    "/v1/completions",
    {
        "model": "cgcli",
        "stream": True,
        "max_tokens": 64,
        "stop": ["\n\n"],
        "prompt": _HEAD + BEFORE,
        "suffix": AFTER,
    },
    _FIM | {"User-Agent": "curl/8.14.1"},
)

MINUET_EL = Recorded(
    "minuet.el",
    "milanglacier/minuet-ai.el bbd499f, minuet.el: minuet--openai-fim-complete-base",
    "/v1/completions",
    {
        "max_tokens": 64,
        "stop": ["\n\n"],
        "stream": True,
        "model": "cgcli",
        "prompt": "# language: python\n# indentation: use 4 spaces for a tab\n" + BEFORE,
        "suffix": AFTER,
    },
    _FIM | {"User-Agent": "curl/8.14.1"},
)

CONTINUE = Recorded(
    "Continue",
    "continuedev/continue d0a3c0b, core/llm/llms/OpenAI.ts: _legacystreamComplete",
    "/v1/completions",
    {
        "model": "cgcli",
        "max_tokens": 64,
        "temperature": 0.01,
        "stream": True,
        "stop": ["/src/", "#- coding: utf-8", "```"],
        "prompt": "\n# project/primes.py\n" + BEFORE,
    },
    {
        "Content-Type": "application/json",
        "api-key": "",
        "Accept": "*/*",
        "User-Agent": "node-fetch",
        "Accept-Encoding": "gzip, deflate, br",
        "Connection": "close",
    },
)

_FAUXPILOT = {"model": "cgcli", "prompt": BEFORE, "max_tokens": 64, "temperature": 0.1, "stop": ["\n"]}

FAUXPILOT = Recorded(
    "vscode-fauxpilot",
    "Venthe/vscode-fauxpilot 0d5f908, src/AccessBackend.ts: fetchUseOpenAI",
    "/v1/engines/codegen/completions",
    _FAUXPILOT,
    {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "OpenAI/JS 4.3.1",
        "Authorization": "Bearer dummy",
        "X-Stainless-Lang": "js",
        "X-Stainless-Package-Version": "4.3.1",
        "X-Stainless-OS": "Linux",
        "X-Stainless-Arch": "x64",
        "X-Stainless-Runtime": "node",
        "X-Stainless-Runtime-Version": "v18.15.0",
        "Connection": "keep-alive",
    },
)

FAUXPILOT_AXIOS = Recorded(
    "vscode-fauxpilot",
    "Venthe/vscode-fauxpilot 0d5f908, src/AccessBackend.ts: fetchUseAxios",
    "/v1/engines/codegen/completions",
    _FAUXPILOT,
    {
        "Accept": "application/json, text/plain, */*",
        "Content-Type": "application/json",
        "User-Agent": "axios/1.5.0",
        "Accept-Encoding": "gzip, compress, deflate, br",
        "Connection": "close",
    },
)

LLM = Recorded(
    "llm",
    "simonw/llm f3f4f29, llm/default_plugins/openai_models.py: Completion.execute",
    "/v1/completions",
    {
        "model": "codegen-nano",
        "prompt": BEFORE,
        "stream": True,
        "max_tokens": 40,
        "seed": 7,
        "stream_options": {"include_usage": True},
    },
    {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Authorization": "Bearer DUMMY_KEY",
        "Content-Type": "application/json",
        "User-Agent": "OpenAI/Python 3.57.0",
        "X-Stainless-Lang": "python",
        "Connection": "keep-alive",
    },
)

ALL = (
    LLAMA_VIM,
    LLAMA_VIM_WARM_UP,
    MINUET_NVIM,
    MINUET_EL,
    CONTINUE,
    FAUXPILOT,
    FAUXPILOT_AXIOS,
    LLM,
)
