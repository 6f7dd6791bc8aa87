"""What sessions tell of a node's networks: each message holds only what is new."""

from collections.abc import Iterable, Mapping, Sequence

from shoal.agent.networks import Networks, Place
from shoal.api import v1 as api
from shoal.network.wanted import Gossip, Overlay, Trouble


class Overlays:
    """Overlays that remember what they were told."""

    def __init__(self) -> None:
        self.gossip: Gossip | None = None
        self.addresses: list[Mapping[str, str]] = []

    def set_gossip(self, gossip: Gossip | None) -> None:
        self.gossip = gossip

    def set_node_addresses(self, addresses: Mapping[str, str], ingress: Overlay | None) -> None:
        self.addresses.append(addresses)

    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]:
        return ()

    def said_of(self, troubles: Iterable[Trouble]) -> Mapping[str, str]:
        return {}

    async def leave(self) -> None:
        raise AssertionError("it stays")


def key(number: int) -> api.EncryptionKey:
    return api.EncryptionKey(subsystem="networking:gossip", key=bytes([number]) * 16, lamport_time=number)


def managers(*addresses: str) -> list[api.WeightedPeer]:
    return [api.WeightedPeer(peer=api.Peer(addr=address)) for address in addresses]


def test_gossip_begins_with_the_first_keys_and_keeps_what_later_messages_leave_out() -> None:
    overlays = Overlays()
    networks = Networks(overlays, Place("0.0.0.0", "10.9.0.2"))
    networks.hear(api.SessionMessage(managers=managers("10.9.0.1:2377")))
    assert overlays.gossip is None
    networks.hear(api.SessionMessage(network_bootstrap_keys=[key(1)]))
    assert overlays.gossip is not None
    assert overlays.gossip.contacts == ("10.9.0.1",)
    networks.hear(api.SessionMessage(managers=managers("10.9.0.1:2377", "10.9.0.3:2377")))
    assert overlays.gossip.contacts == ("10.9.0.1", "10.9.0.3")
    assert [each.lamport_time for each in overlays.gossip.keys] == [1]
    networks.hear(api.SessionMessage(network_bootstrap_keys=[key(1), key(2)]))
    assert [each.lamport_time for each in overlays.gossip.keys] == [1, 2]


def test_a_node_tells_its_port_and_addresses() -> None:
    overlays = Overlays()
    networks = Networks(overlays, Place("0.0.0.0", "10.9.0.2", "10.8.0.2"))
    networks.hear(api.SessionMessage(node=api.Node(VXLANUDPPort=4790), network_bootstrap_keys=[key(1)]))
    assert overlays.gossip is not None
    assert (overlays.gossip.vxlan_port, overlays.gossip.data_path) == (4790, "10.8.0.2")
    assert overlays.addresses == [{}]
    networks.hear(api.SessionMessage())
    assert overlays.gossip.vxlan_port == 4790
    assert overlays.addresses == [{}]
