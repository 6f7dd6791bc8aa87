from ipaddress import IPv6Address, ip_address, ip_interface

from shoal.network.directory import Directory
from shoal.network.process.shown import shown
from shoal.network.records import ENDPOINTS, PEERS, Changed, EndpointRecord, PeerRecord
from shoal.network.wanted import Port


def test_an_endpoint_is_shown_with_the_node_that_its_peer_entry_names() -> None:
    web = EndpointRecord(
        "web.1.x",
        ip_address("10.0.1.3"),
        "s",
        "web",
        ip_address("10.0.1.2"),
        (Port("tcp", 80, 8080),),
        disabled=True,
        address6=IPv6Address("fd00::3"),
        vip6=IPv6Address("fd00::2"),
    )
    lost = EndpointRecord("by-hand", ip_address("10.0.1.9"))
    peer = PeerRecord(ip_interface("10.0.1.3/24"), "02:42:0a:00:01:03", ip_address("192.168.0.2"))
    directory = Directory()
    directory.apply(
        [
            Changed(ENDPOINTS, "n", "e2", "b", None, lost.encode()),
            Changed(ENDPOINTS, "n", "e1", "b", None, web.encode()),
            Changed(PEERS, "n", "e1", "b", None, peer.encode()),
            Changed(ENDPOINTS, "m", "e3", "b", None, lost.encode()),
        ]
    )
    assert shown("n", [("b", "192.168.0.2")], directory) == {
        "nodes": [{"name": "b", "address": "192.168.0.2"}],
        "endpoints": {
            "e1": {
                "name": "web.1.x",
                "address": "10.0.1.3",
                "address6": "fd00::3",
                "service": "web",
                "service_id": "s",
                "vip": "10.0.1.2",
                "vip6": "fd00::2",
                "ports": [["tcp", 80, 8080]],
                "disabled": True,
                "node": "192.168.0.2",
            },
            "e2": {
                "name": "by-hand",
                "address": "10.0.1.9",
                "address6": "",
                "service": "",
                "service_id": "",
                "vip": "",
                "vip6": "",
                "ports": [],
                "disabled": False,
                "node": "",
            },
        },
        "neighbours": {"10.0.1.3": {"mac": "02:42:0a:00:01:03", "node": "192.168.0.2"}},
    }
    assert shown("unknown", [], directory) == {"nodes": [], "endpoints": {}, "neighbours": {}}
