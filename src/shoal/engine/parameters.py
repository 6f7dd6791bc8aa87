"""Query parameters that Docker reads by Go's rules, with Go's error texts."""

import re

from shoal.engine.requests import Call
from shoal.errors import InvalidArgument

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def object_version(call: Call, kind: str, *, brief: bool = False) -> int:
    """Return the parameter `version`, which every update needs. Raises InvalidArgument.

    `brief`: the refusal gives no reason, as for secrets and configs.
    """
    text = call.query("version")
    if re.fullmatch(r"[0-9]+", text) and int(text) < 1 << 64:
        return int(text)
    if brief:
        raise InvalidArgument(f"invalid {kind} version")
    problem = "value out of range" if re.fullmatch(r"[0-9]+", text) else "invalid syntax"
    raise InvalidArgument(f"invalid {kind} version '{text}': strconv.ParseUint: parsing \"{text}\": {problem}")


def go_flag(call: Call, name: str, refusal: str) -> bool:
    """Return a flag, which must be one of Go's words for true and false.

    Raises InvalidArgument with the text `refusal`, where `%s` stands for the value.
    """
    text = call.query(name)
    if text in _TRUE:
        return True
    if not text or text in _FALSE:
        return False
    raise InvalidArgument(refusal.replace("%s", text))


def uint32(call: Call, name: str, what: str) -> int:
    """Return a required number of 32 bits. Raises InvalidArgument. Source: moby httputils/form.go (Uint32Value)."""
    text = call.query(name)
    digits = text.removeprefix("-")
    if not re.fullmatch(r"[0-9]+", digits):
        raise InvalidArgument(f'invalid {what} "{text}": invalid syntax')
    if digits != text or len(digits) > 10 or int(digits) >= 1 << 32:
        raise InvalidArgument(f'invalid {what} "{text}": value out of range')
    return int(digits)
