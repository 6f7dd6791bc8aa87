from typing import Any

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.network.types import Endpoint, LocalNetwork, Sandbox
from shoal.runtime.types import Container, ContainerConfig, Phase
from tests.unit.engine.fakes import FakeTable, backend, client, manager_node

BRIDGE = LocalNetwork(
    id="b" * 64,
    name="bridge",
    driver="bridge",
    created_at=1_700_000_000.0,
    subnet="172.18.0.0/16",
    gateway="172.18.0.1",
)
HOST = LocalNetwork(id="f" * 64, name="host", driver="host", created_at=1_700_000_000.0)
SWARM_HOST = api.Network(
    id="net-host",
    spec=api.NetworkSpec(
        annotations=api.Annotations(name="host", labels={LABEL: "true"}), driver_config=api.Driver(name="host")
    ),
)
CONTAINER = Container(
    id="c" * 64,
    config=ContainerConfig(name="web", image="busybox"),
    image_id="sha256:1",
    phase=Phase.RUNNING,
    created_at=1.0,
    pid=7,
    sandbox=Sandbox(
        "/n",
        (Endpoint(network_id="b" * 64, endpoint_id="e1", address="172.18.0.2", prefix_length=16, mac="02:42"),),
    ),
)


def served(in_swarm: bool = True) -> Any:
    parts: dict[str, Any] = {"network": FakeTable([BRIDGE, HOST]), "containers": FakeTable([CONTAINER])}
    if in_swarm:
        parts["node"] = manager_node(SWARM_HOST)[0]
    return client(backend(**parts))


async def test_networks_are_listed_without_the_swarms_stand_ins() -> None:
    for in_swarm in (True, False):
        async with served(in_swarm) as http:
            listed = await (await http.get("/networks")).json()
            assert [(each["Name"], each["Scope"]) for each in listed] == [("bridge", "local"), ("host", "local")]
            for filters, names in (
                ('{"driver":["host"]}', ["host"]),
                ('{"id":["bb"]}', ["bridge"]),
                ('{"type":["custom"]}', []),
                ('{"scope":["swarm"]}', []),
            ):
                listed = await (await http.get("/networks", params={"filters": filters})).json()
                assert [each["Name"] for each in listed] == names


async def test_a_local_network_shows_who_is_on_it() -> None:
    async with served() as http:
        for ref in ("bridge", "b" * 64, "bbbb"):
            shown = await (await http.get(f"/networks/{ref}")).json()
            assert shown["Id"] == "b" * 64
            assert shown["IPAM"]["Config"] == [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
            assert shown["Containers"] == {
                "c" * 64: {
                    "Name": "web",
                    "EndpointID": "e1",
                    "MacAddress": "02:42",
                    "IPv4Address": "172.18.0.2/16",
                    "IPv6Address": "",
                }
            }


async def test_the_scope_tells_a_local_network_from_the_swarms() -> None:
    async with served() as http:
        assert (await (await http.get("/networks/host")).json())["Id"] == "f" * 64
        swarm = await (await http.get("/networks/host?scope=swarm")).json()
        assert (swarm["Id"], swarm["Scope"], swarm["Driver"]) == ("net-host", "swarm", "host")
        answer = await http.get("/networks/x")
        assert (answer.status, await answer.json()) == (404, {"message": "network x not found"})


async def test_making_networks_is_refused_in_docker_words_first() -> None:
    async with served() as http:
        for body, status, message in (
            ({"Name": "bridge"}, 403, "bridge is a pre-defined network and cannot be created"),
            ({}, 400, "invalid network name: name is empty"),
        ):
            answer = await http.post("/networks/create", json=body)
            assert (answer.status, await answer.json()) == (status, {"message": message})
        assert (await http.post("/networks/create", json={"Name": "blue"})).status == 501
        answer = await http.delete("/networks/bridge")
        assert (answer.status, await answer.json()) == (
            403,
            {"message": "bridge is a pre-defined network and cannot be removed"},
        )
