"""Names that a completion uses and nothing defines, and the imports that are written for them."""

from __future__ import annotations

import ast

import pytest

from cgcli.program.names import Names, with_imports

FUNCTION = 'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """Add them."""\n'


def missing(before: str, text: str) -> list[str]:
    return [one.name for one in Names(before).missing(text)]


@pytest.mark.parametrize(
    ("before", "text", "names"),
    [
        ("", "print(x)\n", ["x"]),
        ("x = 1\n", "print(x)\n", []),
        ("", "x += 1\n", ["x"]),
        ("", "def f():\n    return g()\n", ["g"]),
        ("", "def f():\n    return g()\n\ndef g():\n    return 1\n", []),
        ("", "f()\ndef f():\n    pass\n", ["f"]),
        ("", "class A:\n    b = c\n", ["c"]),
        ("", "x = [a for b in c]\n", ["a", "c"]),
        ("", "def f(a=b):\n    return a\n", ["b"]),
        ("", "@d\ndef f(): pass\n", ["d"]),
        ("", "try:\n    unicode\nexcept NameError:\n    unicode = str\n", []),
        ("", "for i in range(3):\n    if i:\n        print(last)\n    last = i\n", []),
        ("", "def f(xs):\n    for x in xs:\n        n += x\n    return n\n", ["n"]),
        ("xs = [1]\n", "for x in xs:\n    if x > 1: os.sep\n    import os\n", []),
        ("xs = [1]\n", "for x in xs:\n    def g():\n        y = 1\n    print(y)\n", ["y"]),
        ("", "while a:\n    def g(): return a\n", ["a", "a"]),  # outside functions, and inside
        (FUNCTION, "    return total(xs)\n", ["total"]),
        (FUNCTION, "    return sum(xs)\n", []),
        (FUNCTION, "    return sum(xs)\n\n\nprint(f(ys))\n", ["ys"]),
        ("def g():\n    return lost()\n", "lost()\nfound()\n", ["found"]),  # the program lacked it already
        ("x = lost\n", "lost = 1\nprint(lost)\n", []),
        ("x = (lost,", "found)\nlost\n", ["found"]),
        ("x = 1\n", "x = = y\n", []),
        ("x = = 1\n", "y\n", []),
        ("'\udce9'\n", "y\n", ["y"]),
        ("é = 1; ", "x = é + y\r\n", ["y"]),
        ("'éééééééééé'; lost; ", "y\n", ["y"]),
    ],
)
def test_names_that_nothing_defines(before: str, text: str, names: list[str]) -> None:
    assert missing(before, text) == names


@pytest.mark.parametrize(
    ("before", "text", "names"),
    [
        ("", "def f(x: A) -> B:\n    pass\n", ["A", "B"]),
        ("from __future__ import annotations\n", "def f(x: A) -> B:\n    y: C = 1\n", []),
        ("", "def f(x: 'A') -> 'B':\n    pass\n", []),
        ("", "def f():\n    x: A = 1\n    return x\n", []),
        ("", "def f(self):\n    self.x: A = 1\n", []),
        ("", "x: A = 1\n", ["A"]),
        ("", "class C:\n    x: A\n", ["A"]),
        ("", "def f():\n    class C:\n        x: A\n", ["A"]),
        ("from typing import List\n", "def f(x: List['A']): pass\n", []),
        ("from typing import cast\n", "x = cast('A', 1)\n", []),
    ],
)
def test_annotations_count_where_they_are_evaluated(before: str, text: str, names: list[str]) -> None:
    assert missing(before, text) == names


@pytest.mark.parametrize(
    "text",
    [
        "display(_)\nget_ipython()\n",
        "exec('x = 1')\nx\n",
        "globals()['x'] = 1\nx\n",
        "locals().update(x=1)\nx\n",
        "vars()['x'] = 1\nx\n",
        "from os.path import *\njoin('a', 'b')\n",
        "x\nfrom os.path import *\n",
        "x = y" + " + y" * 500 + "\n",
        "def f():\n    exec(s)\n    return x\n",
        "print(__name__, __file__, __doc__)\n",
        "x = 1\ndef f():\n    return x\nf()\ndel x\n",
        "x = '\udce9' + y\n",
        "x = y\0\n",
    ],
)
def test_no_verdict(text: str) -> None:
    assert missing("", text) == []


@pytest.mark.parametrize("before", ["exec('x = 1')\n", "from os.path import *\n", "def f():\n    return vars()\n"])
def test_no_verdict_behind_what_defines_names_at_run_time(before: str) -> None:
    assert missing(before, "x\n") == []


def test_where_a_name_is_missing() -> None:
    text = "    a = 1\n    for x in xs:\n        a += (1 +\n              lost(x))\n    return a\n\n\nprint(lost)\n"
    inside, outside = Names(FUNCTION).missing(text)
    assert (text[inside.at :].split("\n", maxsplit=1)[0], text[inside.statement :].split("\n", maxsplit=1)[0]) == (
        "              lost(x))",
        "    for x in xs:",
    )
    assert (inside.deferred, inside.called_only) == (True, False)
    assert (text[outside.at :], outside.statement, outside.deferred) == ("print(lost)\n", outside.at, False)


def test_functions_that_are_only_called() -> None:
    one, other = Names("").missing("def f(x):\n    return is_prime(x) and is_odd(x)\n\nprint(is_odd)\n")[:2]
    assert (one.name, one.called_only) == ("is_prime", True)
    assert (other.name, other.called_only) == ("is_odd", False)


@pytest.mark.parametrize(
    ("before", "text", "cured", "imports"),
    [
        ("", "x = 1\nprint(math.pi)\n", "x = 1\nimport math\nprint(math.pi)\n", ["import math"]),
        (
            FUNCTION,
            "    for x in xs:\n        y = sqrt(x)\n    return y\n",
            "    from math import sqrt\n    for x in xs:\n        y = sqrt(x)\n    return y\n",
            ["from math import sqrt"],
        ),
        (
            "",
            "def f(x):\n    return Counter(x)\n\ndef g(x):\n    return np.array(x)\n",
            "from collections import Counter\ndef f(x):\n    return Counter(x)\n\n"
            "import numpy as np\ndef g(x):\n    return np.array(x)\n",
            ["from collections import Counter", "import numpy as np"],
        ),
        (
            "",
            "@lru_cache(None)\ndef f(x: List[int]) -> Optional[int]:\n    return x\n",
            "from functools import lru_cache\nfrom typing import List\nfrom typing import Optional\n"
            "@lru_cache(None)\ndef f(x: List[int]) -> Optional[int]:\n    return x\n",
            ["from functools import lru_cache", "from typing import List", "from typing import Optional"],
        ),
        ("", "\tx = 1\n", "\tx = 1\n", []),
        (
            "if x:\n",
            "\ty = os.sep\n",
            "\timport os\n\ty = os.sep\n",
            ["import os"],
        ),
        ("", "if 1:\r\n    x = os.sep\r\n", "import os\nif 1:\r\n    x = os.sep\r\n", ["import os"]),
        (
            "class A:\n    pass\n\n",
            "    return sqrt(2)\n",
            "    return sqrt(2)\n",
            [],
        ),
        ("", "os = os.sep\n", "import os\nos = os.sep\n", ["import os"]),
        ("", "@lru_cache\ndef f(): pass\n", "from functools import lru_cache\n@lru_cache\ndef f(): pass\n", None),
        ("", "class A(Enum): pass\n", "from enum import Enum\nclass A(Enum): pass\n", None),
        ("", "def f(x: Any): pass\n", "from typing import Any\ndef f(x: Any): pass\n", None),
    ],
)
def test_imports_that_are_written(before: str, text: str, cured: str, imports: list[str] | None) -> None:
    assert with_imports(before, text) == (cured, tuple(cured.split("\n")[:1] if imports is None else imports))


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("", "digits(3)\nsample(4)\ncode()\ntoken.type\ncmd.run()\n"),
        ("", "string.upper()\n"),
        ("", "x = Counter\n"),
        ("", "math(1)\n"),
        ("", "map(sqrt, xs)\n"),
        ("class A:\n", "    def f(self):\n        return sqrt(2)\n"),  # an import in a class is not seen in its methods
        ("x = [\n", "    sqrt(2)]\n"),  # the statement began before the text
        ("x = ", "sqrt(2)\n"),
        ("", "del math\nmath.pi\n"),
    ],
)
def test_no_import_is_written(before: str, text: str) -> None:
    assert with_imports(before, text) == (text, ())


def test_what_was_written_parses() -> None:
    text, imports = with_imports(
        FUNCTION, "    if xs:\n        return reduce(lambda a, b: a + b, xs)\n    return math.inf\n"
    )
    assert imports == ("from functools import reduce", "import math")
    ast.parse(FUNCTION + text)
    assert missing(FUNCTION, text) == []
