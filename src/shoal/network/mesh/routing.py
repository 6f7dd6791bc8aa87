"""The mesh's rules and routes, and what is missing or too much. Pure."""

from collections.abc import Collection
from ipaddress import IPv4Network

from shoal.network.mesh.state import BACKEND, MARK, MARKS, Mesh
from shoal.network.policy import MAIN, Rule, TableRoute

_ALL = 0xFFFFFFFF
# Only packets with a mark of ours look at more than the first rule, however many nodes there are.
_FIRST, _BACKEND, _GATEWAY, _LAST = 100, 40000, 40001, 40002
# After the kernel's own: on a host without a default route, answers of backends would come from nowhere.
_FALLBACK = Rule(32768, table=BACKEND)


def wanted_rules(mesh: Mesh) -> set[Rule]:
    """Return the rules."""
    return {
        Rule(_FIRST, MARK, MARKS, goto=_BACKEND),
        Rule(_BACKEND, BACKEND, _ALL, table=BACKEND),
        *(Rule(_GATEWAY, mark, _ALL, table=mark) for mark in (mesh.mark(one.address) for one in mesh.gateways)),
        Rule(_LAST, table=MAIN),
        _FALLBACK,
    }


def ours(rules: Collection[Rule]) -> set[Rule]:
    """Return the rules that can only be the mesh's."""
    return {
        rule
        for rule in rules
        if (rule.priority in (_FIRST, _BACKEND, _GATEWAY) and rule.mark & MARKS == MARK)
        or rule in (Rule(_LAST, table=MAIN), _FALLBACK)
    }


def wanted_routes(mesh: Mesh, link: int) -> set[TableRoute]:
    """Return the routes: to backends, and back by each other node."""
    return {
        TableRoute(BACKEND, mesh.own.network, link),
        *(TableRoute(mesh.mark(one.address), IPv4Network("0.0.0.0/0"), link, one.address) for one in mesh.gateways),
    }
