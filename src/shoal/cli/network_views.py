"""A node's view of a network, as its daemon gives it: read from JSON into values, and never more than that. Pure.

What a view says may come from any node of the swarm, by way of a file too: whatever is not of its place's kind is taken
for absent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Rows beyond are of no use to a person, and each costs time in every comparison. A node of ours sends 10,000 names.
MOST = 20_000
# Characters of a text. One that is long may stand in thousands of rows.
MOST_TEXT = 256
# What fits into a counter of the kernel's. A sum of numbers with thousands of digits cannot be printed.
MOST_COUNT = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the shared table says of an address."""

    name: str
    service: str
    vip: str
    node: str  # the address of the node that has it; empty: no entry says
    leaving: bool  # no name and no new connection leads there


@dataclass(frozen=True, slots=True)
class Balance:
    """A virtual IP in one container's namespace. `found` is None where the kernel has no rule for it."""

    container: str
    wanted: frozenset[str] | None  # None: nothing of the kind is wanted
    leaving: frozenset[str]
    found: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the store has it."""

    name: str
    service: str
    node: str
    state: str
    desired: str

    @property
    def is_settled(self) -> bool:
        """Whether every node should know it by now."""
        return self.state == "running" and self.desired == "running"


@dataclass(frozen=True, slots=True)
class Store:
    """What a manager's store says."""

    tasks: Mapping[str, Task]  # by address; one of two addresses is there twice
    vips: Mapping[str, str]  # the names of services by virtual IP


@dataclass(frozen=True, slots=True)
class View:
    """One network on one node. Tables of the kernel are by address: the MAC, and the node's address behind it."""

    node: str
    network: str
    name: str
    reason: str = ""  # why the node has no view; empty: it has
    asked: bool = True  # False: nobody asked it, and its silence says nothing
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)  # by address
    own: Mapping[str, tuple[str, bool]] = field(default_factory=dict)  # address: container, whether names are answered
    wanted: Mapping[str, str] | None = None
    kernel: Mapping[str, str] | None = None
    balances: Mapping[str, tuple[Balance, ...]] = field(default_factory=dict)  # by virtual IP
    flows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # virtual IP: who answers how many
    troubles: tuple[str, ...] = ()
    store: Store | None = None


def read(answer: Any, label: str) -> list[View]:
    """Return the views of one node's answer, under this name of the node."""
    asked = at(answer, "Asked") is not False
    return [_view(each, label, asked=asked) for each in objects(answer, "Networks")]


def objects(found: Any, *path: str) -> list[dict[str, Any]]:
    """Return the objects in the list at a path."""
    value = at(found, *path)
    return [each for each in value[:MOST] if isinstance(each, dict)] if isinstance(value, list) else []


def at(found: Any, *path: str) -> Any:
    """Return what is at a path of objects; None where there is nothing."""
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def text(found: Any, *path: str) -> str:
    """Return the text at a path, cut where it is too long; empty where there is none."""
    return cut(at(found, *path))


def cut(value: Any) -> str:
    """Return a text that is not too long; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    return value if len(value) <= MOST_TEXT else value[: MOST_TEXT - 1] + "…"


def _items(found: Any, *path: str) -> Iterator[tuple[str, Any]]:
    value = at(found, *path)
    yield from list(value.items())[:MOST] if isinstance(value, dict) else ()


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(cut(each) for each in value[:MOST] if isinstance(each, str)) if isinstance(value, list) else ()


def _view(each: dict[str, Any], node: str, *, asked: bool) -> View:
    told, layers = at(each, "Told"), at(each, "Layers")
    name = text(each, "Name") or text(each, "ID")
    if not isinstance(told, dict) or not isinstance(layers, dict):
        reason = text(each, "Reason") or "it gives no view"
        return View(node, text(each, "ID"), name, reason, asked, store=_store(each))
    return View(
        node=node,
        network=text(each, "ID"),
        name=name,
        names={name: _texts(addresses) for name, addresses in _items(layers, "names")},
        endpoints={
            address: _endpoint(one, vip) for _, one in _items(told, "endpoints") for address, vip in _addresses(one)
        },
        own={
            address.partition("/")[0]: (text(one, "container"), at(one, "named") is True)
            for one in objects(layers, "endpoints")
            for address, _ in _addresses(one)
        },
        wanted=_places(layers, "wanted"),
        kernel=_places(layers, "kernel"),
        balances=_balances(layers),
        flows=_flows(layers),
        troubles=_texts(at(layers, "troubles")),
        store=_store(each),
    )


def _addresses(one: Any) -> Iterator[tuple[str, str]]:
    """Yield one or two addresses of an endpoint, each with the virtual IP that it is behind."""
    for address, vip in (("address", "vip"), ("address6", "vip6")):
        if found := text(one, address):
            yield found, text(one, vip)


def _endpoint(one: Any, vip: str) -> Endpoint:
    return Endpoint(text(one, "name"), text(one, "service"), vip, text(one, "node"), at(one, "disabled") is True)


def _places(layers: Any, which: str) -> dict[str, str] | None:
    """Return `MAC by NODE` by address; None where there is no such layer."""
    if not isinstance(at(layers, which), dict):
        return None
    nodes = {mac: cut(node) for mac, node in _items(layers, which, "forwarding")}
    return {
        address: f"{cut(mac)} by {nodes.get(mac) or 'nobody'}"
        for address, mac in _items(layers, which, "neighbours")
        if isinstance(mac, str)
    }


def _balances(layers: Any) -> dict[str, tuple[Balance, ...]]:
    found: dict[str, list[Balance]] = {}
    for container in objects(layers, "containers"):
        wanted, kernel = dict(_items(container, "wanted")), dict(_items(container, "kernel"))
        for vip in sorted({*wanted, *kernel}):
            found.setdefault(vip, []).append(
                Balance(
                    text(container, "name") or text(container, "container"),
                    frozenset(_texts(at(wanted[vip], "backends"))) if vip in wanted else None,
                    frozenset(_texts(at(wanted.get(vip), "leaving"))),
                    frozenset(_texts(at(kernel[vip], "backends"))) if vip in kernel else None,
                )
            )
    return {vip: tuple(balances) for vip, balances in found.items()}


def _flows(layers: Any) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for container in objects(layers, "containers"):
        for vip, one in _items(container, "kernel"):
            for address, count in _items(one, "flows"):
                if isinstance(count, int) and 0 <= count <= MOST_COUNT:
                    counts = found.setdefault(vip, {})
                    counts[address] = min(counts.get(address, 0) + count, MOST_COUNT)
    return found


def _store(each: Any) -> Store | None:
    if not isinstance(at(each, "Store"), dict):
        return None
    return Store(
        tasks={
            address: Task(
                text(one, "Name"),
                text(one, "Service"),
                text(one, "Node"),
                text(one, "State"),
                text(one, "DesiredState"),
            )
            for one in objects(each, "Store", "Tasks")
            for address in _texts(at(one, "Addresses"))
        },
        vips={vip: cut(name) for vip, name in _items(each, "Store", "VirtualIPs") if isinstance(name, str)},
    )
