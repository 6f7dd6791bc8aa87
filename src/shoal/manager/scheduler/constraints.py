"""Placement constraints: `node.labels.disk==ssd`. In: their text, a node; out: parsed constraints, a bool.

Source: SwarmKit manager/constraint/constraint.go; error texts are Docker's.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from shoal.api import v1 as api
from shoal.api.naming import enum_name
from shoal.errors import ShoalError

NODE_LABEL = "node.labels."
ENGINE_LABEL = "engine.labels."

_OPERATORS = ("==", "!=")
_KEY = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE | re.ASCII)
_VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE | re.ASCII)

# The same few expressions are parsed each time a service is scheduled.
_CACHED_EXPRESSIONS = 1024


@dataclass(frozen=True, slots=True)
class Constraint:
    """One parsed expression."""

    key: str
    wants_equal: bool
    value: str

    def __str__(self) -> str:
        return f"{self.key}{'==' if self.wants_equal else '!='}{self.value}"

    def holds_for(self, actual: str) -> bool:
        """Return whether a value satisfies the constraint. Upper and lower case are the same."""
        return (self.value.casefold() == actual.casefold()) == self.wants_equal


def parse(expressions: Iterable[str]) -> list[Constraint]:
    """Return the constraints, in order. Raises ShoalError for a text that cannot be parsed; Docker answers 500."""
    return [_parse_one(expression) for expression in expressions]


@lru_cache(_CACHED_EXPRESSIONS)
def _parse_one(expression: str) -> Constraint:
    for operator in _OPERATORS:
        if operator not in expression:
            continue
        key, value = (part.strip() for part in expression.split(operator, 1))
        if not _KEY.fullmatch(key):
            raise ShoalError(f"key '{key}' is invalid")
        if not _VALUE.fullmatch(value):
            raise ShoalError(f"value '{value}' is invalid")
        return Constraint(key, operator == "==", value)
    raise ShoalError(f"constraint expected one operator from {', '.join(_OPERATORS)}")


def matches(constraints: Iterable[Constraint], node: api.Node) -> bool:
    """Return whether a node satisfies every constraint. No node satisfies a constraint with an unknown key."""
    return all(_matches(constraint, node) for constraint in constraints)


def value_of(key: str, node: api.Node) -> str | None:
    """Return a node's value for the key of a constraint; None for an unknown key."""
    if key.lower() == "node.ip":
        return node.status.addr
    found = _VALUES.get(key.lower())
    return found(node) if found is not None else label_of(key, node)


def label_of(descriptor: str, node: api.Node) -> str | None:
    """Return the value of `node.labels.X` or `engine.labels.X`; "" if the node lacks it, None for any other key."""
    for prefix, labels in (
        (NODE_LABEL, node.spec.annotations.labels),
        (ENGINE_LABEL, node.description.engine.labels),
    ):
        if _begins_with(descriptor, prefix):
            # With `get`, because `[]` adds an absent key to a protobuf map.
            return labels.get(descriptor[len(prefix) :], "")
    return None


def is_label(descriptor: str) -> bool:
    """Return whether a descriptor is `node.labels.X` or `engine.labels.X`."""
    return _begins_with(descriptor, NODE_LABEL) or _begins_with(descriptor, ENGINE_LABEL)


def _begins_with(descriptor: str, prefix: str) -> bool:
    return len(descriptor) > len(prefix) and descriptor[: len(prefix)].lower() == prefix


def _matches(constraint: Constraint, node: api.Node) -> bool:
    if constraint.key.lower() == "node.ip":
        return _matches_address(constraint, node.status.addr)
    actual = value_of(constraint.key, node)
    return actual is not None and constraint.holds_for(actual)


_VALUES: dict[str, Callable[[api.Node], str]] = {
    "node.id": lambda node: node.id,
    "node.hostname": lambda node: node.description.hostname,
    "node.role": lambda node: enum_name(api.NodeRole, node.role).upper(),
    "node.platform.os": lambda node: node.description.platform.os,
    "node.platform.arch": lambda node: node.description.platform.architecture,
}


def _matches_address(constraint: Constraint, address: str) -> bool:
    """Return whether an address satisfies a constraint, which names an address or a network."""
    try:
        network = _network(constraint.value)
    except ValueError:
        return False  # As in SwarmKit, no node satisfies a malformed address, whatever the operator.
    try:
        is_inside = _address(address) in network
    except ValueError:
        is_inside = False
    return is_inside == constraint.wants_equal


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return the network that a text names; a single address is a network of one.

    Raises ValueError for a text that Go does not accept.
    """
    address, slash, length = text.partition("/")
    if not slash:
        return ipaddress.ip_network(_address(address))
    if not length.isdecimal():
        raise ValueError(f"{text} has a netmask")  # Python accepts 10.0.0.0/255.0.0.0, Go does not
    return ipaddress.ip_network(text, strict=False)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address; ::ffff:10.0.0.1 becomes 10.0.0.1, as in Go."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
