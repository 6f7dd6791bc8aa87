from shoal.engine import overlay_json

SHOWN = {
    "nodes": [{"name": "a1", "address": "192.168.0.1"}, {"name": "b2", "address": "192.168.0.2"}],
    "endpoints": {
        "e1": {
            "name": "web.1.x", "address": "10.0.1.3", "service": "web", "service_id": "s", "vip": "10.0.1.2",
            "ports": [["tcp", 80, 8080], ["udp", 53, 5353]], "disabled": False, "node": "192.168.0.1",
        },
        "e2": {
            "name": "web.2.x", "address": "10.0.1.4", "service": "web", "service_id": "s", "vip": "10.0.1.2",
            "ports": [["tcp", 80, 8080], ["udp", 53, 5353]], "disabled": True, "node": "",
        },
        "e3": {
            "name": "by-hand", "address": "10.0.1.9", "service": "", "service_id": "", "vip": "",
            "ports": [], "disabled": False, "node": "192.168.0.2",
        },
    },
    "neighbours": {},
}  # fmt: skip


def test_nodes_are_shown_as_docker_shows_its_peers() -> None:
    assert overlay_json.peers(SHOWN) == [
        {"Name": "a1", "IP": "192.168.0.1"},
        {"Name": "b2", "IP": "192.168.0.2"},
    ]


def test_services_are_shown_with_their_tasks_and_containers_of_none_below_an_empty_name() -> None:
    assert overlay_json.services(SHOWN) == {
        "web": {
            "VIP": "10.0.1.2",
            "Ports": ["Target: 80, Publish: 8080", "Target: 53, Publish: 5353"],
            "LocalLBIndex": 0,
            "Tasks": [
                {"Name": "web.1.x", "EndpointID": "e1", "EndpointIP": "10.0.1.3", "Info": {"Host IP": "192.168.0.1"}},
                {"Name": "web.2.x", "EndpointID": "e2", "EndpointIP": "10.0.1.4", "Info": None},
            ],
        },
        "": {
            "VIP": "<nil>",
            "Ports": [],
            "LocalLBIndex": 0,
            "Tasks": [
                {"Name": "by-hand", "EndpointID": "e3", "EndpointIP": "10.0.1.9", "Info": {"Host IP": "192.168.0.2"}},
            ],
        },
    }
