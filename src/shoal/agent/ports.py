"""The ports that a task has of its node's host: from its endpoint to what the runtime is asked for, and back. Pure.

Ports of the routing mesh are no node's own. Source: moby daemon/cluster/executor/container/{container,controller}.go
(`portBindings`, `parsePortStatus`).
"""

from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.errors import InvalidArgument
from shoal.network.types import HostPort
from shoal.network.wanted import Protocol

LAST_PORT = 65535

_PROTOCOLS: dict[int, Protocol] = {api.PortConfig.TCP: "tcp", api.PortConfig.UDP: "udp", api.PortConfig.SCTP: "sctp"}
_NUMBERS = {word: number for number, word in _PROTOCOLS.items()}


def host_ports(ports: Iterable[api.PortConfig]) -> tuple[HostPort, ...]:
    """Return the ports of the host that are asked for, each once. InvalidArgument for what is no port."""
    found: dict[HostPort, None] = {}
    for port in ports:
        if port.publish_mode != api.PortConfig.HOST:
            continue
        protocol = _PROTOCOLS.get(port.protocol)
        if protocol is None:
            raise InvalidArgument(f"invalid protocol: {port.protocol}")
        for number, least in ((port.target_port, 1), (port.published_port, 0)):
            if not least <= number <= LAST_PORT:
                raise InvalidArgument(f"invalid port: {number}/{protocol}")
        found[HostPort(protocol, port.target_port, port.published_port)] = None
    return tuple(found)


def port_status(ports: Iterable[HostPort]) -> tuple[api.PortConfig, ...]:
    """Return what a task's status says of the ports that its container has."""
    return tuple(
        api.PortConfig(
            protocol=_NUMBERS[port.protocol],  # type: ignore[arg-type]
            target_port=port.target,
            published_port=port.published,
            publish_mode=api.PortConfig.HOST,
        )
        for port in ports
    )
