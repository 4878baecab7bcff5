"""Turns source files into programs of commented turns: a prompt as a comment, the code it describes, a blank line.

cgcli and MTPB (arXiv 2203.13474) prompt a model in this form, so the model must learn that a comment is followed by its
code. Prompts are the author's own: the first sentence of a function's docstring, or the comment above a block; rules
(wording.py) describe plain statements between such blocks. No code is run, and no task of a benchmark is used.
"""

from __future__ import annotations

import ast
import builtins
import random
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from cgcli.program.languages import parse_python
from cgcli.train.wording import as_typed, describe_statement

_PROGRAM_CHARACTERS = 3000  # of a program: about the context of a small model
_CODE_CHARACTERS = 1000  # of a turn's code
_UNDEFINED = 3  # names that a program's first block, cut out of a function, may use undefined
_PREFIX = "#!/usr/bin/env python3\n\n"  # how cgcli starts a new program
_PROMPT = re.compile(r"[A-Za-z][\x20-\x7e]*")
_NO_PROMPT = re.compile(
    r"\b(?:todo|fixme|xxx|hack|noqa|nosec|pragma|pylint|mypy|type:|flake8|copyright|licen[cs]e|deprecated)|[>]{3}|::|https?:",
    re.IGNORECASE,
)
_IMPERATIVES = """
    add apply build calculate check clean combine compare compute convert copy count create decode determine draw encode
    ensure escape estimate evaluate extract fill filter find fit format generate get give insert iterate join list load
    make map merge move normalize open parse print process produce read remove render replace return round run search
    select send set show sort split strip sum test transform translate update validate wrap write yield
"""
_VERBS = frozenset(_IMPERATIVES.split())
_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True)
class _Turn:
    prompt: str  # one line
    code: str  # dedented, without a blank line at the end
    free: frozenset[str]  # names that it uses and does not define

    @property
    def text(self) -> str:
        return f"# {self.prompt}\n{self.code}\n"


def commented_programs(text: str, seed: int) -> list[str]:
    """The programs of commented turns in the source file `text`; each compiles, and there may be none.

    The same text and seed give the same programs.
    """
    tree = parse_python(text)
    if tree is None:
        return []
    draw = random.Random(f"{seed} {text}")
    lines = text.split("\n")  # as the parser counts them: a form feed ends no line
    imports = _imports(tree)
    runs = (*_functions(tree, lines, draw, imports), *_blocks(tree, lines, draw))
    return [program for run in runs if _compiles(program := _program(run, imports, draw))]


def _program(run: list[_Turn], imports: dict[str, str], draw: random.Random) -> str:
    free = {name for turn in run for name in turn.free}
    lines = sorted({statement for name, statement in imports.items() if name in free})
    shebang = _PREFIX if draw.random() < 0.5 else ""
    return shebang + "".join(f"{line}\n" for line in lines) + "\n" * bool(lines) + "\n".join(turn.text for turn in run)


def _functions(
    tree: ast.Module, lines: list[str], draw: random.Random, imports: dict[str, str]
) -> Iterator[list[_Turn]]:
    """Runs of the module's functions and classes that use only builtins, imports and definitions before them."""
    run: list[_Turn] = []
    known = _BUILTINS | imports.keys()
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.decorator_list:
            continue
        sentence = _sentence(ast.get_docstring(node) or "")
        code = _code(node, lines, without_docstring=draw.random() < 0.8)
        if sentence is None or code is None:
            continue
        if run and sum(len(turn.text) for turn in run) + len(code) > _PROGRAM_CHARACTERS:
            yield run
            run, known = [], _BUILTINS | imports.keys()
        free = _free([node])
        if free <= known:
            run.append(_Turn(_as_request(sentence, node, draw), code, frozenset(free)))
            known |= {node.name}
    if run:
        yield run


def _blocks(tree: ast.Module, lines: list[str], draw: random.Random) -> Iterator[list[_Turn]]:
    """Runs of two or more commented blocks in a function, each block a turn."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        if not any("#" in line for line in lines[node.lineno : node.end_lineno]):
            continue
        run: list[_Turn] = []
        for turn in (*_segments(node, lines, draw), None):
            if turn is not None and sum(len(one.text) for one in run) + len(turn.text) <= _PROGRAM_CHARACTERS:
                run.append(turn)
            else:
                if len(run) > 1 and len(run[0].free - _BUILTINS) <= _UNDEFINED:
                    yield run
                run = [turn] if turn is not None else []


def _segments(function: ast.FunctionDef, lines: list[str], draw: random.Random) -> Iterator[_Turn | None]:
    """The statements of a function's body as turns; None ends a run.

    The statements below a comment, up to a blank line or the next comment, are one turn. A statement without a comment
    is a turn of its own if a rule describes it.
    """
    group: list[ast.stmt] = []
    comment = ""
    for at, statement in enumerate(function.body):
        above = _comment(lines, statement.lineno - 1)
        previous = function.body[at - 1].end_lineno or 0 if at else 0
        if above or statement.lineno - previous > 1 or not comment:
            if group:
                yield _turn(group, comment, lines, draw)
            group, comment = [], above
        group.append(statement)
    if group:
        yield _turn(group, comment, lines, draw)


def _turn(group: list[ast.stmt], comment: str, lines: list[str], draw: random.Random) -> _Turn | None:
    prompt = _as_prompt(comment) if comment else describe_statement(group[0], draw)
    first, last = group[0].lineno - 1, group[-1].end_lineno or 0
    code = textwrap.dedent("\n".join(lines[first:last]))
    if not prompt or len(code) > _CODE_CHARACTERS or re.search(r"\b(?:self|cls|return|yield|await)\b", code):
        return None
    # Statements that share a line with others cannot be cut out by lines.
    if lines[first][: group[0].col_offset].strip() or lines[last - 1].rstrip().endswith((";", "\\")):
        return None
    return _Turn(as_typed(prompt, draw), code, frozenset(_free(group)))


def _comment(lines: list[str], at: int) -> str:
    """The comment directly above line `at`, joined to one line; "" if there is none."""
    first = at
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(line.strip().lstrip("#").strip() for line in lines[first:at])


def _sentence(docstring: str) -> str | None:
    """The first sentence of a docstring, if it can be a prompt."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[a-z)\]`'\"])\. ", paragraph)[0]
    return _as_prompt(sentence)


def _as_prompt(prompt: str) -> str | None:
    """`prompt`, capitalized; None if it is not a sentence about code, such as a note to authors, an address or
    commented-out code, or if it is too short or too long."""
    words = prompt.split()
    if not 3 <= len(words) <= 28 or not _PROMPT.fullmatch(prompt) or _NO_PROMPT.search(prompt):
        return None
    if prompt.endswith(":"):
        return None
    if re.search(r"[=(){};]", prompt) and parse_python(prompt) is not None:
        return None
    plain = re.sub(r":[a-z:]+:`~?([^`]*)`", r"\1", prompt).replace("`", "")
    return plain[0].upper() + plain[1:]


def _as_request(sentence: str, node: ast.FunctionDef | ast.ClassDef, draw: random.Random) -> str:
    """The sentence, or a request for the function that it describes."""
    first, _, rest = sentence.partition(" ")
    verb = first.lower()
    verb = verb if verb in _VERBS else verb.removesuffix("s")
    if isinstance(node, ast.ClassDef):
        forms: tuple[str, ...] = (sentence, f"Define a class {node.name}: {sentence[0].lower()}{sentence[1:]}")
    elif verb not in _VERBS or draw.random() < 0.4:
        forms = (sentence,)
    else:
        forms = (
            f"Define a function called {node.name} to {verb} {rest}",
            f"Write a function {node.name} that will {verb} {rest}",
            f"Implement {node.name}() to {verb} {rest}",
            f"{verb.capitalize()} {rest}",
        )
    return as_typed(draw.choice(forms), draw)


def _code(node: ast.FunctionDef | ast.ClassDef, lines: list[str], *, without_docstring: bool) -> str | None:
    """The lines of a definition; None if it is too long or only a docstring."""
    docstring, *rest = node.body
    kept = lines[node.lineno - 1 : node.end_lineno]
    if not rest or docstring.end_lineno is None or rest[0].lineno <= docstring.end_lineno:
        return None
    if without_docstring:
        kept = lines[node.lineno - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]
    code = re.sub(r"\n(?:[ \t]*\n)+", "\n\n", "\n".join(kept).rstrip())
    code = re.sub(r"^(.*:)\n\n", r"\1\n", code, count=1)  # the blank line after the docstring
    return code if len(code) <= _CODE_CHARACTERS else None


def _imports(tree: ast.Module) -> dict[str, str]:
    """The import statement of each imported name, without relative imports."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                found[bound] = ast.unparse(ast.Import([alias]))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module not in (None, "__future__"):
            for alias in node.names:
                found[alias.asname or alias.name] = ast.unparse(ast.ImportFrom(node.module, [alias], 0))
    found.pop("*", None)
    return found


def _free(statements: list[ast.stmt]) -> set[str]:
    """Names that `statements` read and do not assign."""
    read: set[str] = set()
    bound: set[str] = set()
    for statement in statements:
        for node in ast.walk(statement):
            match node:
                case ast.Name(id=name, ctx=ast.Load()):
                    read.add(name)
                case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                    bound.add(name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                    bound.add(name)
                case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    bound.add(name)
                case ast.alias(name=name, asname=other):
                    bound.add(other or name.partition(".")[0])
    return read - bound


def _compiles(program: str) -> bool:
    """Whether the program compiles: `return` outside a function parses, but does not compile. Nothing is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(program, "<turns>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
