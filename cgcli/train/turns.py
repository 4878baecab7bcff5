"""Programs in turns, made of source files: a prompt as a comment, the code that it describes, a blank line, and so on.

That is the form in which cgcli, and MTPB (arXiv 2203.13474), let a model write: after it a model expects that a comment
is followed by its code. Prompts are what authors wrote: the first sentence of a function's docstring, the comment above
a block; for plain statements between such blocks, rules (`wording`). Nothing is run. It knows no benchmark's tasks.
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
from cgcli.train.wording import said, worded

_PROGRAM_CHARACTERS = 3000  # of a program at most: about a window of a small model
_CODE_CHARACTERS = 1000  # of a turn's code
_UNDEFINED = 3  # names that the first block of a program, cut out of a function, may read without defining them
_PREFIX = "#!/usr/bin/env python3\n\n"  # with which cgcli begins a program of its own
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
    """prompt: one line. code: as it stands at the margin, no blank line at its end. free: names that it reads and does
    not define."""

    prompt: str
    code: str
    free: frozenset[str]

    @property
    def text(self) -> str:
        return f"# {self.prompt}\n{self.code}\n"


def turned(text: str, seed: int) -> list[str]:
    """Programs in turns made of the source file `text`, each of which compiles; none where nothing in it lends itself
    to one.

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
    """The module's functions and classes that need nothing but builtins, imports and those before them in their run."""
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
            run.append(_Turn(_asked(sentence, node, draw), code, frozenset(free)))
            known |= {node.name}
    if run:
        yield run


def _blocks(tree: ast.Module, lines: list[str], draw: random.Random) -> Iterator[list[_Turn]]:
    """For every function with two or more commented blocks in a row: a turn for each."""
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
    """The body's statements as turns: those under a comment, up to a blank line or the next comment, are one; one
    without a comment is its own, where a rule words it. None where a run of turns ends."""
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
    prompt = _worth(comment) if comment else worded(group[0], draw)
    first, last = group[0].lineno - 1, group[-1].end_lineno or 0
    code = textwrap.dedent("\n".join(lines[first:last]))
    if not prompt or len(code) > _CODE_CHARACTERS or re.search(r"\b(?:self|cls|return|yield|await)\b", code):
        return None
    # Statements that share a line with others cannot be cut out by lines.
    if lines[first][: group[0].col_offset].strip() or lines[last - 1].rstrip().endswith((";", "\\")):
        return None
    return _Turn(said(prompt, draw), code, frozenset(_free(group)))


def _comment(lines: list[str], at: int) -> str:
    """The comment in whole lines just above line `at`, in one line; "" if there is none."""
    first = at
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(line.strip().lstrip("#").strip() for line in lines[first:at])


def _sentence(docstring: str) -> str | None:
    """The first sentence of a docstring, if it tells in one what the thing does."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[a-z)\]`'\"])\. ", paragraph)[0]
    return _worth(sentence)


def _worth(prompt: str) -> str | None:
    """`prompt` with a capital at its beginning; None where it is no sentence about code: a note to authors, an address,
    code that was commented out, too short or too long."""
    words = prompt.split()
    if not 3 <= len(words) <= 28 or not _PROMPT.fullmatch(prompt) or _NO_PROMPT.search(prompt):
        return None
    if prompt.endswith(":"):
        return None
    if re.search(r"[=(){};]", prompt) and parse_python(prompt) is not None:
        return None
    plain = re.sub(r":[a-z:]+:`~?([^`]*)`", r"\1", prompt).replace("`", "")
    return plain[0].upper() + plain[1:]


def _asked(sentence: str, node: ast.FunctionDef | ast.ClassDef, draw: random.Random) -> str:
    """The sentence as it is, or as somebody asks for the function that does it."""
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
    return said(draw.choice(forms), draw)


def _code(node: ast.FunctionDef | ast.ClassDef, lines: list[str], *, without_docstring: bool) -> str | None:
    """The definition's lines; None where it is too long, has no more than a docstring, or lines that a model's program
    would be cut at."""
    docstring, *rest = node.body
    kept = lines[node.lineno - 1 : node.end_lineno]
    if not rest or docstring.end_lineno is None or rest[0].lineno <= docstring.end_lineno:
        return None
    if without_docstring:
        kept = lines[node.lineno - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]
    code = re.sub(r"\n(?:[ \t]*\n)+", "\n\n", "\n".join(kept).rstrip())
    code = re.sub(r"^(.*:)\n\n", r"\1\n", code, count=1)  # the blank line that stood after the docstring
    return code if len(code) <= _CODE_CHARACTERS else None


def _imports(tree: ast.Module) -> dict[str, str]:
    """The statement that binds each name the module imports, but from itself."""
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
    """Names that are read in `statements` and given a value nowhere in them."""
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
    """Whether it is a program: `return` outside a function parses, but does not compile. Nothing is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(program, "<turns>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
