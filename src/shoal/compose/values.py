"""Kinds of scalars that many keys share."""

import re
from typing import Any

from shoal.compose import units
from shoal.compose.kinds import Parsed, Scalar, Text, Where
from shoal.compose.node import Node
from shoal.compose.scalars import integer

NAME = "[a-zA-Z0-9._-]+"
TEXT = Text()


def _integer(text: str) -> int | None:
    found = integer(text)
    if found is None and re.fullmatch(r"-?\d{1,19}\.0*", text):
        return int(text.partition(".")[0])
    return found


def _float(text: str) -> Any:
    if not re.fullmatch(r"[-+]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][-+]?\d{1,2})?", text):
        return None
    return units.rounded_number(float(text))


def _duration(text: str) -> str | None:
    nanos = units.nanoseconds(text)
    return None if nanos is None else units.duration(nanos)


def _size(text: str) -> str | None:
    found = units.size_bytes(text)
    return None if found is None else str(found)


INTEGER = Parsed("a whole number", _integer)
FLOAT = Parsed("a number", _float)
DURATION = Parsed("a duration such as 1m30s", _duration, numbers=False)
SIZE = Parsed("a size such as 64m", _size)


class Mode(Scalar):
    """Permissions of a file. A number counts as it is (YAML has read 0440 as octal); text is octal digits.

    Canonical are octal digits in text, or the number.
    """

    def __init__(self, *, as_number: bool = False) -> None:
        self._as_number = as_number

    def read(self, node: Node, where: Where) -> Node:
        value = node.value
        if isinstance(value, str):
            value = int(value.replace("o", ""), 8) if re.fullmatch(r"(0o?)?[0-7]{1,4}", value) else -1
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o7777:
            raise where.wrong(node, "must be a mode such as 0440")
        return node.made(value if self._as_number else f"0{value:03o}")


MODE, MODE_NUMBER = Mode(), Mode(as_number=True)
