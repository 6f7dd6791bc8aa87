"""Reads the request for a network of the swarm: from JSON to a spec.

Source: moby api/types/network, daemon/cluster/convert/network.go (`BasicNetworkCreateToGRPC`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shoal.api import v1 as api
from shoal.engine.codec.common import ANNOTATIONS
from shoal.engine.codec.kinds import FLAG, TEXT_MAP, ListOf
from shoal.engine.codec.message import MessageCodec, decode_body, field, inline, member

_DRIVER = MessageCodec(
    api.Driver, field("Driver", "name"), field("Options", "options", TEXT_MAP), go_name="CreateRequest"
)

IPAM_CONFIG = MessageCodec(
    api.IPAMConfig,
    field("Subnet", "subnet"),
    field("IPRange", "range"),
    field("Gateway", "gateway"),
    # Docker drops these for networks of the swarm, so that a task may get such an address.
    field("AuxiliaryAddresses", "reserved", TEXT_MAP),
)


def _default_ipam_driver(given: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    driver = arguments["driver"]
    driver.name = driver.name or "default"


IPAM = MessageCodec(
    api.IPAMOptions,
    inline("driver", _DRIVER),
    field("Config", "configs", ListOf(IPAM_CONFIG)),
    read=_default_ipam_driver,
)

_CONFIG_FROM = MessageCodec(api.NetworkSpec, field("Network", "network"), go_name="ConfigReference")


class _ConfigFrom:
    """The name of a network that each node has, whose options this network uses."""

    go_type = "network.ConfigReference"

    @staticmethod
    def encode(value: str) -> dict[str, str]:
        return {"Network": value}

    @staticmethod
    def decode(value: Any) -> str:
        return _CONFIG_FROM.decode(value).network


_ENABLE_IPV4 = MessageCodec(api.NetworkSpec, field("EnableIPv4", "ipv6_enabled", FLAG), go_name="CreateRequest")
_SINCE_API = 48


def wants_ipv4(body: Mapping[str, Any], api_minor: int) -> bool:
    """Return whether a network is to have addresses of IPv4, which is so unless a client says otherwise.

    A spec has no place for it: a network of the swarm has what its subnets are.
    """
    if api_minor < _SINCE_API or member(body, "EnableIPv4") is None:
        return True
    return decode_body(_ENABLE_IPV4, body).ipv6_enabled


def has_ipv4(subnets: Iterable[str]) -> bool:
    """Return whether a network with these subnets has addresses of IPv4. One with none is given one of IPv4."""
    families = {":" in subnet for subnet in subnets}
    return families != {True}


NETWORK_CREATE: MessageCodec[api.NetworkSpec] = MessageCodec(
    api.NetworkSpec,
    inline("annotations", ANNOTATIONS),
    inline("driver_config", _DRIVER),
    field("EnableIPv6", "ipv6_enabled", FLAG),
    field("Internal", "internal", FLAG),
    field("Attachable", "attachable", FLAG),
    field("Ingress", "ingress", FLAG),
    field("IPAM", "ipam", IPAM),
    field("ConfigFrom", "network", _ConfigFrom()),
    go_name="CreateRequest",
)
