"""Imports that programs forget: modules of the standard library, well-known members of them, and usual aliases.

stdlib.txt beside this file has the attributes of modules and of some classes; a test compares it with the modules
themselves. Nothing is imported to look one up: a file of the user's may have the name of a module, and some modules do
something at import. Modules whose names are mostly people's own are left out: `cmd`, `code`, `profile`, `select`,
`symbol`, `test`, `token`.
"""

from __future__ import annotations

import functools
from collections.abc import Set
from pathlib import Path

ALIASES = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot"}

_CALLED = {
    "abc": "ABC ABCMeta abstractmethod",
    "argparse": "ArgumentParser",
    "base64": "b64decode b64encode",
    "bisect": "bisect bisect_left bisect_right insort",
    "collections": "Counter OrderedDict defaultdict deque namedtuple",
    "contextlib": "contextmanager suppress",
    "copy": "copy deepcopy",
    "dataclasses": "asdict dataclass",
    "datetime": "datetime timedelta",
    "decimal": "Decimal",
    "enum": "Enum IntEnum",
    "fractions": "Fraction",
    "functools": "cmp_to_key lru_cache partial reduce total_ordering wraps",
    "getpass": "getpass",
    "hashlib": "md5 sha1 sha256 sha512",
    "heapq": "heapify heappop heappush heappushpop heapreplace nlargest nsmallest",
    "io": "BytesIO StringIO",
    "itertools": "accumulate chain combinations combinations_with_replacement groupby islice permutations product "
    "starmap takewhile zip_longest",
    "math": "acos asin atan atan2 ceil comb cos degrees exp factorial floor gcd hypot isqrt log log10 log2 prod "
    "radians sin sqrt tan",
    "operator": "attrgetter itemgetter",
    "pathlib": "Path",
    "pprint": "pprint",
    "random": "choice randint randrange random shuffle uniform",
    "statistics": "mean median mode stdev variance",
    "subprocess": "Popen",
    "tempfile": "NamedTemporaryFile TemporaryDirectory",
    "textwrap": "dedent",
    "threading": "Lock Thread",
    "time": "perf_counter sleep time",
    "typing": "NamedTuple NewType TypeVar TypedDict cast",
    "urllib.parse": "parse_qs urlencode urljoin urlparse",
    "urllib.request": "urlopen",
    "uuid": "uuid4",
}
"""Members that are written where a program only calls them, derives from them or decorates with them, or uses an
attribute that stdlib.txt has of them: `datetime.now()`."""

_TYPES = (
    "Any AnyStr Callable ClassVar DefaultDict Deque Dict Final FrozenSet Generator Generic Iterable Iterator List "
    "Literal Mapping MutableMapping NoReturn Optional Protocol Sequence Set Tuple Type Union"
)
"""Members of typing that are written where a program only subscripts them, or has them in annotations."""

_MODULE_OF = {name: module for module, names in _CALLED.items() for name in names.split()}
_TYPING = frozenset(_TYPES.split())


def import_of(name: str, uses: Set[str]) -> str | None:
    """The import statement that defines a name, by its uses; None if it is likelier the program's own.

    uses: "()" called, a decorator or a base class; ".x" its attribute x; "[]" subscripted; ":" in an annotation; ""
    any other.
    """
    if name in ALIASES and all(use.startswith(".") for use in uses):
        return f"import {ALIASES[name]} as {name}"
    if uses <= _attributes(name):
        return f"import {name}"
    module = _MODULE_OF.get(name)
    if module and uses <= {"()"} | _attributes(f"{module}.{name}"):
        return f"from {module} import {name}"
    return f"from typing import {name}" if uses <= {"[]", ":"} and name in _TYPING else None


def _attributes(name: str) -> set[str]:
    return {f".{attribute}" for attribute in stdlib().get(name, ())}


@functools.cache
def stdlib() -> dict[str, frozenset[str]]:
    """The attributes of modules, and of some classes."""
    text = Path(__file__).with_name("stdlib.txt").read_text("utf-8")
    parts = (line.partition(": ") for line in text.splitlines())
    return {module: frozenset(names.split()) for module, _, names in parts}
