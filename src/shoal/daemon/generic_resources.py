"""Parses `--node-generic-resource`, the resources of a host that its owner configures. Pure.

In: texts `KIND=VALUE`. Out: kinds with names or counts, or InvalidArgument in Docker's words. A kind with one number is
a count (`fpga=2`). Any other value names one resource of its kind (`gpu=GPU-1`, `gpu=GPU-2`). A kind cannot have both.
Source: SwarmKit api/genericresource/parse.go.
"""

import re
from collections.abc import Iterable

from shoal.errors import InvalidArgument

INT64_MAX = 2**63 - 1
Resource = tuple[str, str | int]
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)


def parse(terms: Iterable[str]) -> tuple[Resource, ...]:
    """Return the resources, each a kind with a name or a count. Kinds are in the order of their first term."""
    kinds: dict[str, list[str]] = {}
    for term in terms:
        parts = term.split("=")
        if len(parts) != 2:
            raise _wrong(f"incorrect term {term}, missing '=' or malformed expression")
        kind, value = (part.strip() for part in parts)
        kinds.setdefault(kind, []).append(value)
    return tuple(resource for kind, values in kinds.items() for resource in _of_kind(kind, values))


def _of_kind(kind: str, values: list[str]) -> list[Resource]:
    numbers = [int(value) for value in values if _is_number(value)]
    if len(values) == 1 and numbers:
        if numbers[0] < 0:
            raise _wrong(f"cannot ask for negative resource {kind}")
        return [(kind, numbers[0])]
    if numbers:
        raise _wrong(f"mixed discrete and named resources in expression '{kind}=[{' '.join(values)}]'")
    return [(kind, value) for value in values]


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and len(text) <= 20 and -INT64_MAX - 1 <= int(text) <= INT64_MAX


def _wrong(why: str) -> InvalidArgument:
    return InvalidArgument(f"could not parse GenericResource: {why}")
