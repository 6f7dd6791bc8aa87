"""Routing by marks, as bytes for the kernel's rtnetlink: rules, and routes of tables of their own. IPv4.

Layouts and numbers: linux/fib_rules.h, linux/rtnetlink.h.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from shoal.network.rtnetlink import (
    ACK,
    AF_INET,
    CREATE,
    DUMP,
    EXCLUSIVE,
    REPLACE,
    Reply,
    Request,
    attribute,
    attributes,
)

_NEW_ROUTE, _DEL_ROUTE, _GET_ROUTE, _NEW_RULE, _DEL_RULE, _GET_RULE = 24, 25, 26, 32, 33, 34
_RULE = struct.Struct("=BBBBBxxBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_FRA_GOTO, _FRA_PRIORITY, _FRA_MARK, _FRA_TABLE, _FRA_MASK = 4, 6, 10, 15, 16
_TO_TABLE, _GOTO = 1, 2
_RTA_DESTINATION, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_PROTOCOL_STATIC, _UNIVERSE, _LINK, _UNICAST, _ONLINK = 4, 0, 253, 1, 4
MAIN = 254


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule at a place in the order: packets with this mark go to a table, or on at another place (`goto`)."""

    priority: int
    mark: int = 0
    mask: int = 0
    table: int = 0
    goto: int = 0


@dataclass(frozen=True, slots=True)
class TableRoute:
    """A route of a table, out of a link; by a gateway that is taken to be behind it."""

    table: int
    destination: IPv4Network
    link: int
    gateway: IPv4Address | None = None


def _int(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _rule(rule: Rule) -> bytes:
    body = _RULE.pack(AF_INET, 0, 0, 0, 0, _GOTO if rule.goto else _TO_TABLE, 0) + _int(_FRA_PRIORITY, rule.priority)
    if rule.mask:
        body += _int(_FRA_MARK, rule.mark) + _int(_FRA_MASK, rule.mask)
    return body + (_int(_FRA_GOTO, rule.goto) if rule.goto else _int(_FRA_TABLE, rule.table))


def add_rule(rule: Rule) -> Request:
    """Make a rule."""
    return Request(_NEW_RULE, ACK | CREATE | EXCLUSIVE, _rule(rule))


def delete_rule(rule: Rule) -> Request:
    """Remove a rule."""
    return Request(_DEL_RULE, ACK, _rule(rule))


def list_rules() -> Request:
    """Ask for all rules."""
    return Request(_GET_RULE, DUMP, _RULE.pack(AF_INET, 0, 0, 0, 0, 0, 0))


def _uint(value: bytes | None) -> int:
    return int(struct.unpack("=I", value)[0]) if value else 0


def rules(replies: Iterable[Reply]) -> list[Rule]:
    """Read the answers to `list_rules`."""
    found = []
    for reply in replies:
        if reply.type == _NEW_RULE:
            given = attributes(reply.body[_RULE.size :])
            goto = _uint(given.get(_FRA_GOTO))
            table = 0 if goto else _uint(given.get(_FRA_TABLE))
            mark, mask = _uint(given.get(_FRA_MARK)), _uint(given.get(_FRA_MASK))
            found.append(Rule(_uint(given.get(_FRA_PRIORITY)), mark, mask, table, goto))
    return found


def _route(route: TableRoute) -> bytes:
    scope, flags = (_LINK, 0) if route.gateway is None else (_UNIVERSE, _ONLINK)
    length = route.destination.prefixlen
    body = _ROUTE.pack(AF_INET, length, 0, 0, 0, _PROTOCOL_STATIC, scope, _UNICAST, flags)
    body += _int(_RTA_TABLE, route.table) + _int(_RTA_OIF, route.link)
    if length:
        body += attribute(_RTA_DESTINATION, route.destination.network_address.packed)
    return body + (attribute(_RTA_GATEWAY, route.gateway.packed) if route.gateway else b"")


def set_route(route: TableRoute) -> Request:
    """Make a route, instead of another to the same destination."""
    return Request(_NEW_ROUTE, ACK | CREATE | REPLACE, _route(route))


def delete_route(route: TableRoute) -> Request:
    """Remove a route."""
    return Request(_DEL_ROUTE, ACK, _route(route))


def list_routes() -> Request:
    """Ask for the routes of all tables."""
    return Request(_GET_ROUTE, DUMP, _ROUTE.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))


def routes(replies: Iterable[Reply], link: int) -> list[TableRoute]:
    """Read the answers to `list_routes`: those out of a link, of tables other than the kernel's own."""
    found = []
    for reply in replies:
        if reply.type == _NEW_ROUTE:
            _, length, *_ = _ROUTE.unpack_from(reply.body)
            given = attributes(reply.body[_ROUTE.size :])
            table = _uint(given.get(_RTA_TABLE))
            if table > 255 and _uint(given.get(_RTA_OIF)) == link:
                destination = IPv4Network((given.get(_RTA_DESTINATION, bytes(4)), length), strict=False)
                gateway = given.get(_RTA_GATEWAY)
                found.append(TableRoute(table, destination, link, IPv4Address(gateway) if gateway else None))
    return found
