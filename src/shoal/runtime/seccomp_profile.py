"""Reads a seccomp profile that a user gives, in the format that moby and containers-common share. Pure.

In: the text. Out: the profile, every field of its type and every list bounded, so that `seccomp.translate` and the OCI
runtime can take it as it is. Refused with Docker's first words: what is no such profile, and what costs too much:
libseccomp needs a minute for a thousand rules with conditions on one call, in each start of a container.
"""

from collections.abc import Callable, Mapping
from typing import Any

from shoal.errors import InvalidArgument
from shoal.json_text import BadJson, read_json

MOST_BYTES = 512 * 1024  # Docker's default profile has 15 KiB
MOST_RULES = 1024
MOST_NAMES = 4096  # of system calls, of all rules together. A kernel has some 450
# Calls of rules with `args`, of all rules together; Docker's profile has some twenty. A filter of 600 is longer than
# the kernel takes (4,096 instructions).
MOST_CONDITIONAL = 256
MOST_ARGS = 6  # a system call has no more
_MOST_WORD = 128  # characters of any name
_MOST_LIST = 64  # architectures, flags, capabilities
_MAX_ERRNO = 4095  # the kernel's

ACTIONS = frozenset(
    f"SCMP_ACT_{name}" for name in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG")
)
OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


class _Wrong(Exception):
    """What is wrong, without the words before it."""


def read(text: str) -> dict[str, Any]:
    """Return the profile in a text. Raises InvalidArgument."""
    try:
        if len(text) > MOST_BYTES:
            raise _Wrong(f"it has more than {MOST_BYTES} characters")
        return _profile(read_json(text))
    except (BadJson, _Wrong) as error:
        raise InvalidArgument(f"decoding seccomp profile failed: {error}") from error


def _profile(given: object) -> dict[str, Any]:
    profile = _object(given, "the profile")
    if profile.get("architectures") and profile.get("archMap"):
        raise _Wrong("both 'architectures' and 'archMap' are specified in the seccomp profile, use either")
    made: dict[str, Any] = {"defaultAction": _action(profile.get("defaultAction"), "defaultAction")}
    if profile.get("defaultErrnoRet") is not None:
        made["defaultErrnoRet"] = _number(profile["defaultErrnoRet"], _MAX_ERRNO, "defaultErrnoRet")
    for name in ("architectures", "flags"):
        if profile.get(name):
            made[name] = _words(profile[name], name)
    if profile.get("archMap"):
        made["archMap"] = [_architecture(one) for one in _list(profile["archMap"], _MOST_LIST, "archMap")]
    made["syscalls"] = [_rule(one) for one in _list(profile.get("syscalls") or [], MOST_RULES, "syscalls")]
    names = [len(one["names"]) for one in made["syscalls"]]
    if sum(names) > MOST_NAMES:
        raise _Wrong(f"it names more than {MOST_NAMES} system calls")
    conditional = sum(count for count, one in zip(names, made["syscalls"], strict=True) if one.get("args"))
    if conditional > MOST_CONDITIONAL:
        raise _Wrong(f"it has conditions for more than {MOST_CONDITIONAL} system calls")
    return made


def _architecture(given: object) -> dict[str, Any]:
    one = _object(given, "archMap")
    return {
        "architecture": _word(one.get("architecture"), "architecture"),
        "subArchitectures": _words(one.get("subArchitectures") or [], "subArchitectures"),
    }


def _rule(given: object) -> dict[str, Any]:
    rule = _object(given, "syscalls")
    if rule.get("name") and rule.get("names"):
        raise _Wrong("both 'name' and 'names' are specified in the seccomp profile, use either")
    names = rule.get("names") or ([rule["name"]] if rule.get("name") else [])
    made: dict[str, Any] = {
        "names": [_word(name, "names") for name in _list(names, MOST_NAMES, "names")],
        "action": _action(rule.get("action"), "action"),
    }
    if rule.get("errnoRet") is not None:
        made["errnoRet"] = _number(rule["errnoRet"], _MAX_ERRNO, "errnoRet")
    if rule.get("args"):
        made["args"] = [_condition(one) for one in _list(rule["args"], MOST_ARGS, "args")]
    for name in ("includes", "excludes"):
        if rule.get(name):
            when = _object(rule[name], name)
            made[name] = {key: _words(when[key], key) for key in ("caps", "arches") if when.get(key)}
    return made


def _condition(given: object) -> dict[str, Any]:
    one = _object(given, "args")
    made: dict[str, Any] = {"index": _number(one.get("index", 0), MOST_ARGS - 1, "index")}
    for name in ("value", "valueTwo"):
        made[name] = _number(one.get(name, 0), (1 << 64) - 1, name)
    made["op"] = _one_of(one.get("op"), OPERATORS, "op")
    return made


def _action(value: object, name: str) -> str:
    if value == "SCMP_ACT_NOTIFY":
        raise _Wrong("SCMP_ACT_NOTIFY is not supported: it would have the runtime call a program of the host")
    return _one_of(value, ACTIONS, name)


def _one_of(value: object, known: frozenset[str], name: str) -> str:
    word = _word(value, name)
    if word not in known:
        raise _Wrong(f"{name} has an unknown value: {word}")
    return word


def _object(value: object, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _typed(value, lambda one: isinstance(one, dict), name, "an object")
    return found


def _list(value: object, most: int, name: str) -> list[Any]:
    found: list[Any] = _typed(value, lambda one: isinstance(one, list), name, "a list")
    if len(found) > most:
        raise _Wrong(f"{name} has more than {most} entries")
    return found


def _words(value: object, name: str) -> list[str]:
    return [_word(one, name) for one in _list(value, _MOST_LIST, name)]


def _word(value: object, name: str) -> str:
    word: str = _typed(value, lambda one: isinstance(one, str), name, "text")
    if not word or len(word) > _MOST_WORD or not word.isascii() or not word.isprintable():
        raise _Wrong(f"{name} has a name that none can be")
    return word


def _number(value: object, most: int, name: str) -> int:
    number: int = _typed(value, lambda one: type(one) is int, name, "a whole number")
    if not 0 <= number <= most:
        raise _Wrong(f"{name} is not between 0 and {most}")
    return number


def _typed(value: object, right: Callable[[object], bool], name: str, what: str) -> Any:
    if not right(value):
        raise _Wrong(f"{name} is not {what}")
    return value
