"""Describes simple statements in words, by rules over the syntax tree, as a user would ask for them."""

from __future__ import annotations

import ast
import random

_LITERAL_CHARACTERS = 60  # longer literals are not written out in a prompt
_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "Add {value} to {name}.",
    ast.Sub: "Subtract {value} from {name}.",
    ast.Mult: "Multiply {name} by {value}.",
    ast.Div: "Divide {name} by {value}.",
}
# Results of calls with one argument.
_CALLS = {
    "len": "the length of {0}",
    "sum": "the sum of {0}",
    "max": "the largest element of {0}",
    "min": "the smallest element of {0}",
    "sorted": "{0} in sorted order",
    "set": "the set of {0}",
    "list": "the list of {0}",
    "dict": "a dictionary of {0}",
    "tuple": "the tuple of {0}",
    "str": "{0} as a string",
    "int": "{0} as an integer",
    "float": "{0} as a float",
    "abs": "the absolute value of {0}",
    "type": "the type of {0}",
    "iter": "an iterator over {0}",
    "reversed": "{0} in reverse order",
    "enumerate": "the enumeration of {0}",
}
# Results of methods without arguments.
_METHODS = {
    "lower": "{0} in lower case",
    "upper": "{0} in upper case",
    "strip": "{0} without surrounding whitespace",
    "split": "the words of {0}",
    "splitlines": "the lines of {0}",
    "keys": "the keys of {0}",
    "values": "the values of {0}",
    "items": "the items of {0}",
    "copy": "a copy of {0}",
}
# Effects of methods with one argument.
_EFFECTS = {
    "append": "Append {1} to {0}.",
    "extend": "Extend {0} with {1}.",
    "add": "Add {1} to {0}.",
    "remove": "Remove {1} from {0}.",
    "update": "Update {0} with {1}.",
    "write": "Write {1} to {0}.",
}


def describe_statement(statement: ast.stmt, draw: random.Random) -> str | None:
    """A prompt that asks for `statement`; None if no rule applies. `draw` chooses the wording."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            described = _described(value)
            return described and draw.choice(_ASSIGNMENTS).format(name=name, value=described)
        case ast.AugAssign(target=ast.Name(id=name), op=operation, value=value):
            words, form = _named(value), _OPERATIONS.get(type(operation))
            return form.format(name=name, value=words) if form and words else None
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[value], keywords=[])):
            words = _described(value)
            return words and draw.choice(("Print {}.", "Print out {}.", "Show {}.")).format(words)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=effect), args=[value], keywords=[])):
            words, on = _named(value), _named(owner)
            return _EFFECTS[effect].format(on, words) if effect in _EFFECTS and words and on else None
        case ast.Import(names=[ast.alias(name=name)]):
            return f"Import {name}."
    return None


def as_typed(prompt: str, draw: random.Random) -> str:
    """`prompt` as people type it: sometimes without a full stop or a capital."""
    if draw.random() < 0.5:
        prompt = prompt.removesuffix(".")
    if draw.random() < 0.2 and prompt[1:2].islower():
        prompt = prompt[0].lower() + prompt[1:]
    return prompt


_ASSIGNMENTS = (
    "Assign {value} to the variable {name}.",
    "Store {value} in {name}.",
    "Let {name} be {value}.",
    "Set {name} to {value}.",
    "Create a variable {name} with {value}.",
)


def _described(value: ast.expr) -> str | None:
    """A noun phrase for an expression."""
    match value:
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _CALLS:
            words = _named(argument)
            return words and _CALLS[name].format(words)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=[], keywords=[]) if name in _METHODS:
            words = _named(owner)
            return words and _METHODS[name].format(words)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(glue)), attr="join"), args=[argument]):
            words = _named(argument)
            return words and f"the elements of {words} joined by {glue!r}"
        case ast.BinOp(left=left, op=operation, right=right):
            kinds: dict[type[ast.operator], str] = {
                ast.Add: "sum",
                ast.Sub: "difference",
                ast.Mult: "product",
                ast.Div: "quotient",
            }
            parts = _named(left), _named(right)
            kind = kinds.get(type(operation))
            return f"the {kind} of {parts[0]} and {parts[1]}" if kind and all(parts) else None
        case ast.Subscript(value=owner, slice=ast.Constant(value=0)):
            words = _named(owner)
            return words and f"the first element of {words}"
        case ast.Subscript(value=owner, slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
            words = _named(owner)
            return words and f"the last element of {words}"
    return _named(value)


def _named(value: ast.expr) -> str | None:
    """A name, or a short literal with the word for its type; None for other expressions."""
    if isinstance(value, ast.Name):
        return value.id
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    written = ast.unparse(value)
    if len(written) > _LITERAL_CHARACTERS or "\n" in written:
        return None
    kinds: dict[type, str] = {list: "list", dict: "dictionary", tuple: "tuple", set: "set", str: "string"}
    if not literal and type(literal) in kinds:
        return f"an empty {kinds[type(literal)]}"
    return f"the {kinds[type(literal)]} {written}" if type(literal) in kinds else written
