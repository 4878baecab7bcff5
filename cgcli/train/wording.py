"""Straight-line statements in words, as somebody would ask for them: rules over the syntax tree.

`worded` gives a prompt for one statement, or None where no rule fits. It knows no context: names are names.
"""

from __future__ import annotations

import ast
import random

_LITERAL_CHARACTERS = 60  # a longer literal is not spelt out in a prompt
_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "Add {value} to {name}.",
    ast.Sub: "Subtract {value} from {name}.",
    ast.Mult: "Multiply {name} by {value}.",
    ast.Div: "Divide {name} by {value}.",
}
# Of a call with one argument, what its result is.
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
# Of a method without arguments, what its result is.
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
# Of a method with one argument that is called for what it does.
_DEEDS = {
    "append": "Append {1} to {0}.",
    "extend": "Extend {0} with {1}.",
    "add": "Add {1} to {0}.",
    "remove": "Remove {1} from {0}.",
    "update": "Update {0} with {1}.",
    "write": "Write {1} to {0}.",
}


def worded(statement: ast.stmt, draw: random.Random) -> str | None:
    """A prompt that asks for `statement`; `draw` chooses between wordings."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            described = _described(value)
            return described and draw.choice(_ASSIGNMENTS).format(name=name, value=described)
        case ast.AugAssign(target=ast.Name(id=name), op=operation, value=value):
            told, form = _named(value), _OPERATIONS.get(type(operation))
            return form.format(name=name, value=told) if form and told else None
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[value], keywords=[])):
            told = _described(value)
            return told and draw.choice(("Print {}.", "Print out {}.", "Show {}.")).format(told)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=deed), args=[value], keywords=[])):
            told, on = _named(value), _named(owner)
            return _DEEDS[deed].format(on, told) if deed in _DEEDS and told and on else None
        case ast.Import(names=[ast.alias(name=name)]):
            return f"Import {name}."
    return None


def said(prompt: str, draw: random.Random) -> str:
    """As people type: with a full stop or without, with a capital or not."""
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
            told = _named(argument)
            return told and _CALLS[name].format(told)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=[], keywords=[]) if name in _METHODS:
            told = _named(owner)
            return told and _METHODS[name].format(told)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(glue)), attr="join"), args=[argument]):
            told = _named(argument)
            return told and f"the elements of {told} joined by {glue!r}"
        case ast.BinOp(left=left, op=operation, right=right):
            words: dict[type[ast.operator], str] = {
                ast.Add: "sum",
                ast.Sub: "difference",
                ast.Mult: "product",
                ast.Div: "quotient",
            }
            parts = _named(left), _named(right)
            kind = words.get(type(operation))
            return f"the {kind} of {parts[0]} and {parts[1]}" if kind and all(parts) else None
        case ast.Subscript(value=owner, slice=ast.Constant(value=0)):
            told = _named(owner)
            return told and f"the first element of {told}"
        case ast.Subscript(value=owner, slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))):
            told = _named(owner)
            return told and f"the last element of {told}"
    return _named(value)


def _named(value: ast.expr) -> str | None:
    """What is spelt as it stands: a name, or a short literal with the word for its kind."""
    if isinstance(value, ast.Name):
        return value.id
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    spelt = ast.unparse(value)
    if len(spelt) > _LITERAL_CHARACTERS or "\n" in spelt:
        return None
    kinds: dict[type, str] = {list: "list", dict: "dictionary", tuple: "tuple", set: "set", str: "string"}
    if not literal and type(literal) in kinds:
        return f"an empty {kinds[type(literal)]}"
    return f"the {kinds[type(literal)]} {spelt}" if type(literal) in kinds else spelt
