from shoal.api import v1 as api
from shoal.engine.network_store_json import networks_of, on_network
from shoal.store.memory import Memory
from tests.unit.manager.builders import node, service, task

BLUE = api.Network(id="blue")


def on_blue(made: api.Task, *addresses: str) -> api.Task:
    made.networks.add(network=BLUE, addresses=addresses)
    return made


def test_tasks_that_have_a_node_and_have_not_ended_are_expected() -> None:
    web = service()
    web.endpoint.virtual_ips.add(network_id="blue", addr="10.0.1.2/24")
    web.endpoint.virtual_ips.add(network_id="blue", addr="fd00::2/64")
    web.endpoint.virtual_ips.add(network_id="red", addr="10.0.2.2/24")
    first = node("a")
    first.attachments.add(network=BLUE, addresses=["10.0.1.9/24"])
    tasks = [
        on_blue(task("web.2", node="a"), "10.0.1.3/24", "fd00::3/64"),
        on_blue(task("web.1", api.STARTING, node="b"), "10.0.1.4/24"),
        on_blue(task("web.3", api.FAILED, node="a"), "10.0.1.5/24"),
        on_blue(task("web.4", api.PENDING), "10.0.1.6/24"),
        on_blue(task("web.5", node="a")),
        task("web.6", node="a"),
    ]
    found = on_network(Memory.of([web, first, node("b"), *tasks]), "blue")
    assert found["VirtualIPs"] == {"10.0.1.2": "web", "fd00::2": "web"}
    assert [each["ID"] for each in found["Nodes"]] == ["a"]
    assert [(each["Name"], each["Addresses"], each["NodeID"], each["State"]) for each in found["Tasks"]] == [
        ("web.1", ["10.0.1.4"], "b", "starting"),
        ("web.2", ["10.0.1.3", "fd00::3"], "a", "running"),
    ]
    assert {each["DesiredState"] for each in found["Tasks"]} == {"running"}


def test_a_services_networks_are_those_it_is_attached_to_and_ingress() -> None:
    web = service()
    web.spec.task.networks.add(target="blue")
    web.endpoint.virtual_ips.add(network_id="ingress")
    web.endpoint.virtual_ips.add(network_id="blue")
    assert networks_of(web) == ["blue", "ingress"]
