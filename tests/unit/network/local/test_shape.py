"""From a configuration to what a node-local network is on this host."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from shoal.errors import InvalidArgument, NotFound, ShoalError, Unimplemented
from shoal.network.local.shape import Shape, shape
from shoal.network.types import Configuration, ConfiguredSubnet, LocalAttachment, LocalNetwork

LAN = LocalAttachment("lan-id", "lan", "macvlan", "base")
BRIDGE = LocalAttachment("br-id", "br", "bridge", "base", internal=True)


def configuration(options: dict[str, str] | None = None, **config: Any) -> LocalNetwork:
    given = Configuration((ConfiguredSubnet(**config),) if config else (), tuple((options or {}).items()))
    return LocalNetwork("c" * 64, "base", "null", 1.0, configuration=given)


def test_all_that_a_configuration_says_of_macvlan() -> None:
    given = configuration(
        {"parent": "eth0", "macvlan_mode": "private", "com.docker.network.driver.mtu": "1400"},
        subnet="192.0.2.7/24",
        gateway="192.0.2.254",
        ip_range="192.0.2.128/26",
        reserved=(("printer", "192.0.2.130"),),
    )
    assert shape(LAN, given) == Shape(
        "macvlan",
        subnet=IPv4Network("192.0.2.0/24"),
        gateway=IPv4Address("192.0.2.254"),
        given=IPv4Network("192.0.2.128/26"),
        kept=frozenset({IPv4Address("192.0.2.130")}),
        mtu=1400,
        parent="eth0",
        mode="private",
    )


def test_a_bridge_needs_nothing() -> None:
    assert shape(BRIDGE, configuration()) == Shape("bridge", internal=True)
    assert shape(LocalAttachment("br-id", "br", "bridge"), None) == Shape("bridge")


def test_a_configuration_that_is_not_here_is_named_in_dockers_words() -> None:
    with pytest.raises(NotFound, match=r'^configuration network "base" does not exist$'):
        shape(LAN, None)


@pytest.mark.parametrize(
    ("asked", "given", "error", "words"),
    [
        (LAN, configuration(), InvalidArgument, "needs the option parent"),
        (LAN, configuration({"parent": "x" * 16}), InvalidArgument, "needs the option parent"),
        (LAN, configuration({"parent": "eth0", "macvlan_mode": "x"}), InvalidArgument, "macvlan mode 'x'"),
        (BRIDGE, configuration({"com.docker.network.driver.mtu": "9"}), InvalidArgument, "MTU '9'"),
        (
            BRIDGE,
            configuration({"com.docker.network.bridge.name": "br0"}),
            Unimplemented,
            "bridge.name is not supported",
        ),
        (BRIDGE, configuration(subnet="fd00::/64"), Unimplemented, "only overlays have IPv6"),
        (BRIDGE, configuration(subnet="192.0.2.0/31"), InvalidArgument, "too small"),
        (BRIDGE, configuration(subnet="192.0.2.0/24", gateway="192.0.3.1"), InvalidArgument, "lacks what is to be"),
        (BRIDGE, configuration(subnet="192.0.2.0/24", ip_range="192.0.3.0/25"), InvalidArgument, "lacks what is to be"),
        (BRIDGE, configuration(subnet="192.0.2.0/24", gateway="x"), InvalidArgument, "network br: "),
    ],
)
def test_what_cannot_be_is_named(
    asked: LocalAttachment, given: LocalNetwork, error: type[ShoalError], words: str
) -> None:
    with pytest.raises(error, match=words):
        shape(asked, given)
