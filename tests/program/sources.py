"""Pieces of Python as people and models write it, and what folding must keep of programs made of them."""

from __future__ import annotations

import ast
import warnings

PIECES = [
    "import os  # system\n",
    "from a.b import (\n    c,  # one\n    d,\n)\n",
    "x = 1  # one\n",
    "text = '# not a comment'  # one\n",
    'text = """\n# not a comment\n"""\n',
    "f = lambda x: (x,  # one\n               2)\n",
    "# a comment of\n# two lines\n",
    "\n\n",
    "def f(a, *b, c=1, **d) -> int:  # signature\n    # before\n    return a + 1  # after\n    # at the end\n",
    'def g():\n    """Only a docstring."""\n',
    'def h(x):\n    """A docstring."""\n    if x:\n        return [\n            1,\n        ]\n    return f"{x}#"\n',
    "def one(): return 1\n",
    "def two(): x = 1; return x;\n",
    "@wrap(1)\n@other\nasync def later(x):\n    @wrap\n    async def inner():\n        await x\n    await inner()\n",
    "class A(B):  # a class\n    y: int = 1\n    def m(self):\n        def n():\n            pass\n        n()\n",
    "class C:\n\tclass D:\n\t\tdef m(self):\n\t\t\tpass  # tab\n\n\t\tz = 2\n",
    "if x:\n    def when():\n        yield 1\nelif y:  # else\n    def when():\n        yield from ()\n",
    "for é in 'ü':  # ö\n    def ä():\n        ß = 'é'  # ñ\n        return ß\n",
    "for i in range(3):\n    print(i)  # each\n    # done\n",
    "value = 1 + \\\n    2  # continued\n",
    "byte = '\udcff'  # \udcfe\n",
    "pattern = '\\d'\n",
    "match x:\n    case 1:\n        def case():\n            return 1\n",
    "def broken(:\n    return  # a comment\n",
    "    indented = 1\n",
]


def meaning(text: str) -> str:
    """What Python reads. Raises SyntaxError or ValueError."""
    return ast.dump(_tree(text))


def signatures(text: str) -> list[str]:
    """All of a program but the bodies of its functions, docstrings excepted."""
    tree = _tree(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[:1] if ast.get_docstring(node) is not None else []
    return [ast.dump(statement) for statement in tree.body]


def _tree(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
