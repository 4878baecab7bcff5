"""The reviewer: how probable the model finds the prompt, given a candidate's code.

The candidate's comments and docstrings are left out, since they may repeat the prompt; the prompt follows as a comment.
Where a completion is the body of a function and there is no prompt, the function's docstring is the prompt, and the
body alone is the code. Source: Coder-Reviewer reranking (Zhang et al. 2022, arXiv 2211.16490).
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cgcli.core.errors import ContextError
from cgcli.program.assertions import function_under_test
from cgcli.program.source import encode

if TYPE_CHECKING:
    from cgcli.program.session import Plan, Session

_OUTSIDE = re.compile(r"\n(?=[^\s#)\]}])")  # where the body of a top-level function has ended


def review(session: Session, plan: Plan, completions: Sequence[str]) -> list[float] | None:
    """log p(prompt | code) of each completion, in nats; read aside, so that no later turn depends on it.

    None if there is no prompt, or a context does not fit the window. Raises Interrupted.
    """
    asked = _asked(session, plan, completions)
    if asked is None:
        return None
    before, prompt = asked
    mark = plan.program.layout.mark or ""
    codes = []
    for completion in completions:
        text = completion if plan.prompt is not None else _OUTSIDE.split(completion, 1)[0]
        codes.append(before + encode(without_comments(text, mark).strip("\n") + "\n\n"))
    with session.scratch():
        try:
            found = session.engine.surprise_all([code + prompt for code in codes], list(map(len, codes)))
        except ContextError:
            return None
    return [sum(score.logprob for score in scores) for scores in found]


def _asked(session: Session, plan: Plan, completions: Sequence[str]) -> tuple[bytes, bytes] | None:
    """What the model reads before the code, and after it: the prompt. None if there is no prompt."""
    program, before = plan.program, plan.before
    if program.layout.mark is None:
        return None
    if plan.prompt is not None:
        gap = program.opening(plan.prompt).removesuffix(program.comment(plan.prompt))
        return before + encode(gap), encode(program.comment(plan.prompt))
    text = program.source()
    function = function_under_test(text, completions) if session.language == "python" else None
    if function is None or not function.docstring:
        return None
    begun = encode(text[function.begin :])
    if not before.endswith(begun):
        return None
    before = before[: len(before) - len(begun)] + encode(function.signature + "\n")
    return before, encode(program.comment(function.docstring.strip()))


def without_comments(code: str, mark: str) -> str:
    """Code without its comments: in Python all, and docstrings; in other languages those on lines of their own."""
    lines = code.split("\n")
    for (first, begin), (last, end) in reversed(_comments(code) if mark == "#" else []):
        left = (lines[first - 1][:begin] + lines[last - 1][end:]).rstrip()
        lines[first - 1 : last] = [left] if left else []
    return "\n".join(line for line in lines if not line.lstrip().startswith(mark))


def _comments(code: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where the comments and docstrings of Python code begin and end (line, column), as far as the code is Python."""
    found = []
    begins = True  # a statement
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and begins):
                found.append((token.start, token.end))
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    except (tokenize.TokenError, SyntaxError, ValueError):
        pass
    return found
