"""The ports of a container in Docker's JSON: those that it exposes, those of the host that lead to it. Pure.

Source of the shapes: moby api/types/container/{port,hostconfig}.go, daemon/container/view.go. Ports are published on
all IPv4 addresses of the host, and on no IPv6 one.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from shoal.network.types import HostPort
from shoal.runtime.types import Container, Phase

ANYWHERE = "0.0.0.0"
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")
_ONE_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")

Base = Mapping[str, Any]


def exposed(container: Container, base: Base) -> dict[str, Any]:
    """Return `ExposedPorts`: the image's (`base` is the `config` part of its configuration), and what is published."""
    ours: dict[str, Any] = {_name(port): {} for port in container.config.ports}
    inherited = base.get("ExposedPorts")
    return {**(inherited if isinstance(inherited, dict) else {}), **ours}


def asked_for(container: Container) -> dict[str, Any]:
    """Return `PortBindings`: which ports of the host were asked for."""
    return _grouped(
        (port, {"HostIp": "", "HostPort": str(port.published) if port.published else ""})
        for port in container.config.ports
    )


def bound(container: Container, base: Base) -> dict[str, Any]:
    """Return which port of the host leads to which of the container's, while it runs; None for one that is exposed."""
    there: dict[str, Any] = dict.fromkeys(exposed(container, base)) if _is_reachable(container) else {}
    return {
        **there,
        **_grouped((port, {"HostIp": ANYWHERE, "HostPort": str(port.published)}) for port in container.sandbox.ports),
    }


def rows(container: Container, base: Base) -> list[dict[str, Any]]:
    """Return the same as a row of a list has it."""
    found: list[dict[str, Any]] = []
    for name, bindings in sorted(bound(container, base).items()):
        match = _ONE_PORT.fullmatch(name)
        if match is None or not 0 < int(match[1]) < 65536:
            continue  # an image may say anything; a client that cannot read one row shows none
        private = {"PrivatePort": int(match[1]), "Type": match[2] or "tcp"}
        public = [{"IP": one["HostIp"], **private, "PublicPort": int(one["HostPort"])} for one in bindings or ()]
        found += public or [private]
    return found


def is_port(text: str) -> bool:
    """Return whether a filter's value names a port, or a range of them."""
    return _PORT.fullmatch(text) is not None


def any_matches(values: Iterable[str], shown: Iterable[Mapping[str, Any]], field: str) -> bool:
    """Return whether one of the rows has a port that a filter names, in this field."""
    there = {(row[field], row["Type"]) for row in shown if field in row}
    for value in values:
        match = _PORT.fullmatch(value)
        if match is not None:
            first, protocol = int(match[1]), match[3] or "tcp"
            last = int(match[2]) if match[2] else first
            if any(protocol == kind and first <= number <= last for number, kind in there):
                return True
    return False


def _is_reachable(container: Container) -> bool:
    return container.phase is Phase.RUNNING and any(one.address for one in container.sandbox.endpoints)


def _grouped(bindings: Iterable[tuple[HostPort, dict[str, str]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for port, binding in bindings:
        found.setdefault(_name(port), []).append(binding)
    return found


def _name(port: HostPort) -> str:
    return f"{port.target}/{port.protocol}"
