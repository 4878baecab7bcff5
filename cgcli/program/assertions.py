"""Asks the model for assertions on the function that a turn defines.

The model reads the program with the function's signature, `pass` as its body, the comment `# check the correctness of
NAME`, and `assert NAME(`. That is the prompt of CodeT (Chen et al. 2022, arXiv 2207.10397). What it writes is split
into assertions; those count that call the function with literal arguments.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgcli.core.errors import ContextError, Interrupted
from cgcli.core.progress import Progress, Silent
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from cgcli.program.languages import parse_python
from cgcli.program.source import encode

if TYPE_CHECKING:
    from cgcli.program.session import Plan, Session

DRAWS = 16  # completions, each with a few assertions
_TOKENS = 96  # of a completion
_TEMPERATURE, _TOP_P = 0.8, 0.95  # CodeT's own
_STOPS = ("\n\n", "\n#", "\n```", "\ndef ", "\nclass ", "\nprint")
_LONGEST = 500  # characters of a call
_LINE_END = re.compile("\r\n?|\n")
#: Turns of a program are counted from 0; the draws of its assertions come from turns counted from here.
_ASIDE = 1 << 31


@dataclass(frozen=True)
class FunctionUnderTest:
    """A function that candidates of a turn define, or whose body they write."""

    name: str
    begin: int  # of its `def`, in the text before the completion; the end of that text if the completion defines it
    signature: str  # `def name(…):`, one line
    docstring: str  # if it stands in the text before the completion, else ""

    @property
    def stub(self) -> str:
        """The function with its signature, its docstring and `pass`."""
        quoted = '    """' + self.docstring.replace('"""', "'''") + '"""\n' if self.docstring else ""
        return f"{self.signature}\n{quoted}    pass\n"


@dataclass(frozen=True)
class Assertion:
    """An assertion on the function."""

    call: str  # of the function, with literal arguments, as `ast.unparse` writes it
    text: str  # the whole statement, likewise


def function_under_test(before: str, completions: Sequence[str], prompt: str = "") -> FunctionUnderTest | None:
    """The top-level function with parameters that most completions of the text `before` define or finish.

    Of several, one that the prompt names, else the last one. None if there is none.
    """
    found: dict[str, FunctionUnderTest] = {}
    counts: Counter[str] = Counter()
    order: dict[str, int] = {}
    for completion in completions:
        for place, function in enumerate(_functions(before, completion)):
            counts[function.name] += 1
            found.setdefault(function.name, function)
            order[function.name] = place
    words = set(re.findall(r"\w+", prompt))
    best = max(counts, key=lambda name: (counts[name], name in words, order[name]), default=None)
    return None if best is None else found[best]


def _functions(before: str, completion: str) -> Iterator[FunctionUnderTest]:
    tree = parse_python(before + completion)
    if tree is None:
        return
    starts = [0, *(end.end() for end in _LINE_END.finditer(before + completion))]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or (node.end_lineno or 0) > len(starts):
            continue
        ends = starts[node.end_lineno - 1] if node.end_lineno else 0
        if ends < len(before) or not any((node.args.posonlyargs, node.args.args, node.args.vararg)):
            continue
        begin = min(starts[node.lineno - 1], len(before))
        shared = begin < len(before)
        known = ast.get_docstring(node, clean=False) if shared else None
        empty = ast.FunctionDef(node.name, node.args, [ast.Pass()], [], node.returns, None, lineno=0)
        signature = ast.unparse(empty).partition("\n")[0]
        yield FunctionUnderTest(node.name, begin, signature, known or "")


def _context(plan: Plan, function: FunctionUnderTest) -> bytes | None:
    """What the model reads to write assertions; None if a fold has left out where the function begins."""
    before = plan.before + plan.opening
    begun = encode((plan.program.source() + plan.program.opening(plan.prompt))[function.begin :])
    if not before.endswith(begun):
        return None
    asked = f"{function.stub}\n# check the correctness of {function.name}\nassert {function.name}("
    return before[: len(before) - len(begun)] + encode(asked)


def draw_assertions(
    session: Session, plan: Plan, function: FunctionUnderTest, count: int = DRAWS, *, progress: Progress | None = None
) -> list[str]:
    """Draw texts of assertions, aside: no later turn's draws or context depend on it.

    The draws depend on the seed and the turn. Empty if the context does not fit the window. Raises Interrupted.
    """
    asked = _context(plan, function)
    if asked is None:
        return []
    sampling = Sampling(_TEMPERATURE, _TOP_P, seed=session.generation.sampling.seed)
    turn = _ASIDE + len(plan.program.turns)
    cutter = functools.partial(Stops, _STOPS)
    texts = [""] * count
    try:
        session.engine.check(asked)
    except ContextError:
        return []
    requests = [Request(asked, sampling, cutter, _TOKENS, turn, index) for index in range(count)]
    with session.scratch(), (progress or Silent()).task("assertions", count, unit="steps") as task:
        for index, completion in session.engine.complete(requests):
            if completion.finish_reason == "interrupted":
                raise Interrupted
            texts[index] = completion.text
            task.advance(1)
    return [f"assert {function.name}({text}" for text in texts]


def assertions(text: str, name: str) -> Iterator[Assertion]:
    """The well-formed assertions on the function `name` in a text that the model wrote, in order."""
    for part in re.split(r"^(?=assert\b)", text, flags=re.MULTILINE):
        statement = _parsed(part)
        if statement is None:
            continue
        calls = [node for node in ast.walk(statement.test) if _calls(node, name)]
        if len(calls) == 1 and len(call := ast.unparse(calls[0])) <= _LONGEST:
            yield Assertion(call, ast.unparse(ast.Assert(statement.test, None)))


def _parsed(part: str) -> ast.Assert | None:
    """The assertion with which a text begins; None if that is not Python. What follows may be cut or anything else."""
    lines = part.split("\n")
    for size in range(1, len(lines) + 1):
        tree = parse_python("\n".join(lines[:size]))
        if tree and len(tree.body) == 1 and isinstance(statement := tree.body[0], ast.Assert):
            return statement
    return None


def _calls(node: ast.AST, name: str) -> bool:
    """Whether it is a call of this function with literal arguments."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != name:
        return False
    return all(_literal(one) for one in node.args) and all(one.arg and _literal(one.value) for one in node.keywords)


def _literal(node: ast.AST) -> bool:
    try:
        ast.literal_eval(ast.unparse(node))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def common_calls(texts: Sequence[str], name: str, most: int) -> list[str]:
    """The calls in the assertions of these texts, each once, the most frequent first, `most` at most."""
    counts = Counter(one.call for text in texts for one in assertions(text, name))
    return [call for call, _ in counts.most_common(most)]
