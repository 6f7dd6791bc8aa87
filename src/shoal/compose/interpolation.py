"""`${VARIABLE}` in values: all forms of the Compose specification, nested ones too.

    $NAME ${NAME}               the value; empty, with a warning, where there is none
    ${NAME:-x} ${NAME-x}        x where it is unset (with the colon: or empty)
    ${NAME:+x} ${NAME+x}        x where it is set (with the colon: and not empty)
    ${NAME:?x} ${NAME?x}        an error with the text x where it is unset (with the colon: or empty)
    $$                          one dollar

x may have variables itself. The value of a variable is not looked into again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MAX_LENGTH = (
    4 * 1024 * 1024
)  # of one value, and of all values of a file together: a variable may be long and used often
_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = re.compile(r":?[-+?]")
_NESTED_AT_MOST = 32


class BadTemplate(Exception):
    """A text has a `${` that is none of the forms, or a variable that it requires is missing."""


@dataclass(slots=True)
class Variables:
    """What variables are worth, and what was missing."""

    values: Mapping[str, str]
    on_missing: Callable[[str], None] = field(default=lambda name: None)
    left: int = MAX_LENGTH

    def spend(self, text: str) -> str:
        """Return a text that goes into the result. Raises BadTemplate when all have become too long."""
        self.left -= len(text)
        if self.left < 0:
            raise BadTemplate(f"with variables put in, values have more than {MAX_LENGTH:,} letters")
        return text


def substitute(text: str, variables: Variables) -> str:
    """Return the text with variables replaced. Raises BadTemplate."""
    return _substituted(text, variables, 0) if "$" in text else text


def _substituted(text: str, variables: Variables, depth: int) -> str:
    if depth > _NESTED_AT_MOST:
        raise BadTemplate(f"variables are nested deeper than {_NESTED_AT_MOST} levels")
    done: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        done.append(variables.spend(text[at:dollar]))
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            done.append(variables.spend("$"))
            at = dollar + 2
        elif following == "{":
            value, at = _braced(text, dollar, variables, depth)
            done.append(value)
        elif name := _NAME.match(text, dollar + 1):
            done.append(_value(name.group(), variables))
            at = name.end()
        else:  # a dollar of its own
            done.append(variables.spend("$"))
            at = dollar + 1
    done.append(variables.spend(text[at:]))
    return "".join(done)


def _value(name: str, variables: Variables) -> str:
    value = variables.values.get(name)
    if value is None:
        variables.on_missing(name)
        return ""
    return variables.spend(value)


def _braced(text: str, dollar: int, variables: Variables, depth: int) -> tuple[str, int]:
    """Return what `${...}` at an index stands for, and the index after it."""
    end = _closing(text, dollar + 1)
    name = _NAME.match(text, dollar + 2)
    if end < 0 or name is None:
        raise BadTemplate(f"{text[dollar : dollar + 40]!r} is no variable: write ${{NAME}}, or $$ for a dollar")
    if name.end() == end:
        return _value(name.group(), variables), end + 1
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        raise BadTemplate(f"{text[dollar : end + 1]!r} is no variable: after its name comes one of - + ? :- :+ :?")
    word = text[operator.end() : end]
    return _chosen(name.group(), operator.group(), word, variables, depth), end + 1


def _chosen(name: str, operator: str, word: str, variables: Variables, depth: int) -> str:
    value = variables.values.get(name)
    is_given = bool(value) if operator[0] == ":" else value is not None
    match operator[-1]:
        case "-":
            return variables.spend(value or "") if is_given else _substituted(word, variables, depth + 1)
        case "+":
            return _substituted(word, variables, depth + 1) if is_given else variables.spend(value or "")
        case _:
            if is_given:
                return variables.spend(value or "")
            why = _substituted(word, variables, depth + 1)
            raise BadTemplate(f"the variable {name} is required: {why}" if why else f"the variable {name} is required")


def _closing(text: str, brace: int) -> int:
    """Return the index of the brace that closes the one at `brace`, or -1."""
    depth = 0
    for found in re.compile(r"[{}]").finditer(text, brace):
        depth += 1 if found.group() == "{" else -1
        if not depth:
            return found.start()
    return -1
