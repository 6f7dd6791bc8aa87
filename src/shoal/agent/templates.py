"""The part of Go's text/template that placeholders in a service's spec use. Pure.

In: a text and the values it may name; out: the text with them filled in, or InvalidArgument that says what is wrong and
where. Understood are fields, `index`, `join`, `print`, `printf`, `len`, comparisons, pipelines, parentheses, comments,
trim markers, and `if`, `with` and `range` with `else`; not variables and named templates. As SwarmKit asks of Go
(template/template.go: `missingkey=error`, `join`), a key that a map does not have is an error.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument

NAME = "expansion"  # what SwarmKit calls every template; it is in the texts of its errors
NESTING_LIMIT = 32  # deeper ones are refused: they can only be mistakes or attacks


class Struct(dict[str, object]):
    """Values with fixed names: one that is missing is a mistake in the template, as is a missing key of a map."""


Function = Callable[..., object]
_PIECES = re.compile(r"\{\{(?P<left>-(?=\s))?(?P<body>.*?)(?P<right>(?<=\s)-)?\}\}", re.DOTALL)
_TOKENS = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+)|(?P<field>(?:\.[A-Za-z_]\w*)+)|(?P<dot>\.)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<mark>[()|]))"""
)


@dataclass(slots=True)
class _Node:
    """A piece of a parsed template: text, an action to print, or a block."""

    kind: str  # text, action, if, with, range, root
    text: str = ""
    line: int = 1
    body: list["_Node"] = field(default_factory=list)
    otherwise: list["_Node"] = field(default_factory=list)


def expand(text: str, values: Struct, functions: Mapping[str, Function] | None = None) -> str:
    """Return the text with its placeholders filled in."""
    if "{{" not in text:
        return text
    known = {**_FUNCTIONS, **(functions or {})}
    return "".join(_render(_parse(text), values, known))


def _parse(text: str) -> list[_Node]:
    root = _Node("root")
    stack: list[tuple[_Node, list[_Node]]] = [(root, root.body)]
    at = 0
    trim = False
    for match in _PIECES.finditer(text):
        literal = text[at : match.start()]
        literal = literal.lstrip() if trim else literal
        trim = match["right"] is not None
        stack[-1][1].append(_Node("text", literal.rstrip() if match["left"] else literal))
        at = match.end()
        line = text.count("\n", 0, match.start()) + 1
        _parse_action(match["body"].strip(), line, stack)
        if len(stack) > NESTING_LIMIT:
            raise _parse_error(line, "blocks are nested too deep")
    rest = text[at:]
    if "{{" in rest:
        raise _parse_error(text.count("\n") + 1, "unclosed action")
    if len(stack) > 1:
        raise _parse_error(text.count("\n") + 1, "unexpected EOF")
    root.body.append(_Node("text", rest.lstrip() if trim else rest))
    return root.body


def _parse_action(body: str, line: int, stack: list[tuple[_Node, list[_Node]]]) -> None:
    word, _, argument = body.partition(" ")
    if body.startswith("/*"):
        if not body.endswith("*/"):
            raise _parse_error(line, "unclosed comment")
    elif word in {"if", "with", "range"}:
        node = _Node(word, argument.strip(), line)
        stack[-1][1].append(node)
        stack.append((node, node.body))
    elif word == "else" and len(stack) > 1:
        node = stack.pop()[0]
        if argument.strip().startswith("if "):
            inner = _Node("else if", argument.strip()[3:], line)
            node.otherwise.append(inner)
            stack.append((inner, inner.body))
        else:
            stack.append((node, node.otherwise))
    elif word == "end" and not argument and len(stack) > 1:
        stack.pop()
    elif word in {"else", "end"}:
        raise _parse_error(line, f"unexpected {{{{{word}}}}}")
    elif not body:
        raise _parse_error(line, "missing value for command")
    else:
        stack[-1][1].append(_Node("action", body, line))


def _render(nodes: list[_Node], dot: object, functions: Mapping[str, Function]) -> Iterator[str]:
    for node in nodes:
        if node.kind == "text":
            yield node.text
            continue
        value = _Expression(node.text, node.line, dot, functions).value()
        if node.kind == "action":
            yield show(value)
        elif not value:
            yield from _render(node.otherwise, dot, functions)
        elif node.kind == "range":
            items = [value[key] for key in sorted(value)] if isinstance(value, Mapping) else value
            if not isinstance(items, list):
                raise _exec_error(node.line, node.text, f"range can't iterate over {show(value)}")
            for item in items:
                yield from _render(node.body, item, functions)
        else:
            yield from _render(node.body, value if node.kind == "with" else dot, functions)


class _Expression:
    """One pipeline, evaluated from left to right while it is read."""

    def __init__(self, text: str, line: int, dot: object, functions: Mapping[str, Function]) -> None:
        self._text, self._line, self._dot, self._functions = text, line, dot, functions
        self._tokens = list(self._split())
        self._next = 0

    def value(self) -> object:
        value = self._pipeline()
        if self._next < len(self._tokens):
            raise _parse_error(self._line, f"unexpected {self._tokens[self._next][1]!r} in operand")
        return value

    def _split(self) -> Iterator[tuple[str, str]]:
        at = 0
        text = self._text.rstrip()
        while at < len(text):
            match = _TOKENS.match(text, at)
            if match is None or match.lastgroup is None:
                raise _parse_error(self._line, f"unexpected {text[at:].strip()[:1]!r} in operand")
            yield match.lastgroup, match[match.lastgroup]
            at = match.end()

    def _pipeline(self) -> object:
        value = self._command(())
        while self._peek() == ("mark", "|"):
            self._next += 1
            value = self._command((value,))
        return value

    def _command(self, piped: tuple[object, ...]) -> object:
        kind, text = self._peek()
        if kind == "word" and text not in {"true", "false", "nil"}:
            if text not in self._functions:
                raise _parse_error(self._line, f'function "{text}" not defined')
            self._next += 1
            arguments = []
            while self._peek()[0] not in {"", "mark"} or self._peek()[1] == "(":
                arguments.append(self._operand())
            try:
                return self._functions[text](*arguments, *piped)
            except (TypeError, ValueError, IndexError, InvalidArgument) as error:
                raise _exec_error(self._line, self._text, f"error calling {text}: {error}") from error
        value = self._operand()
        if piped:
            raise _exec_error(self._line, self._text, f"can't give argument to non-function {text}")
        return value

    def _operand(self) -> object:
        kind, text = self._peek()
        self._next += 1
        if kind == "string":
            return text[1:-1] if text[0] == "`" else _unquoted(text, self._line)
        if kind == "number":
            return int(text)
        if kind == "dot":
            return self._dot
        if kind == "field":
            return self._field(self._dot, text)
        if kind == "word" and text in {"true", "false"}:
            return text == "true"
        if kind == "word" and text in self._functions:
            return self._functions[text]()
        if text == "(" and self._next < NESTING_LIMIT * 8:
            value = self._pipeline()
            if self._peek() != ("mark", ")"):
                raise _parse_error(self._line, "unclosed left paren")
            self._next += 1
            return self._field(value, self._take()) if self._peek()[0] == "field" else value
        raise _parse_error(self._line, f"unexpected {text!r} in operand" if text else "missing value for command")

    def _field(self, value: object, path: str) -> object:
        for name in path[1:].split("."):
            if not isinstance(value, Mapping):
                raise _exec_error(self._line, path, f"can't evaluate field {name} in type string")
            if name not in value:
                reason = (
                    f"can't evaluate field {name}"
                    if isinstance(value, Struct)
                    else f'map has no entry for key "{name}"'
                )
                raise _exec_error(self._line, path, reason)
            value = value[name]
        return value

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "")


def show(value: object) -> str:
    """Return a value as Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Struct):
        return "{" + " ".join(show(each) for each in value.values()) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(show(each) for each in value) + "]"
    return str(value)


def _unquoted(text: str, line: int) -> str:
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise _parse_error(line, f"invalid syntax: {text}") from error


def _join(*parts: str) -> str:
    return parts[0].join(parts[1:])


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Struct):
            raise InvalidArgument("can't index item of type struct")
        if isinstance(value, Mapping):
            value = value.get(key, "")  # index gives Go's zero value, where a field would be an error
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            raise InvalidArgument("can't index item of type string")
    return value


def _printf(form: str, *values: object) -> str:
    shown = iter(values)

    def one(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = show(next(shown, "%!" + match[0][-1] + "(MISSING)"))
        return json.dumps(value, ensure_ascii=False) if match[0] == "%q" else value

    return re.sub(r"%[svdq%]", one, form)


def _parse_error(line: int, reason: str) -> InvalidArgument:
    return InvalidArgument(f"template: {NAME}:{line}: {reason}")


def _exec_error(line: int, where: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f'template: {NAME}:{line}: executing "{NAME}" at <{where}>: {reason}')


_FUNCTIONS: Mapping[str, Function] = {
    "join": _join,
    "index": _index,
    "print": lambda *values: "".join(show(value) for value in values),
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "printf": _printf,
    "len": lambda value: len(value),
    "eq": lambda one, *others: any(one == other for other in others),
    "ne": lambda one, other: one != other,
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
}
