from dataclasses import replace
from pathlib import Path
from typing import Any

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.manager.allocator.networks import Networks
from shoal.network.configurations import Configurations
from shoal.network.types import Endpoint, LocalNetwork, Sandbox
from shoal.network.wanted import Overlay, Wanted
from shoal.runtime.types import Container, ContainerConfig, Phase
from shoal.store.changes import Object
from tests.unit.engine.fakes import FakeNode, FakeOverlays, FakeTable, backend, client, manager_node
from tests.unit.manager.allocator.objects import network, service
from tests.unit.manager.stores import MemoryStore

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
            ({"Name": "host"}, 409, "network with name host already exists"),
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


def swarm(*objects: Object) -> tuple[Any, MemoryStore]:
    node, store = manager_node(SWARM_HOST, *objects)
    return client(backend(node=node, network=FakeTable([BRIDGE, HOST]), containers=FakeTable())), store


def allocated(name: str, **labels: str) -> api.Network:
    made = Networks().allocate(network(name))
    assert isinstance(made, api.Network)
    made.spec.annotations.labels.update(labels)
    return made


async def test_a_network_of_the_swarm_is_made_shown_and_removed() -> None:
    served, store = swarm()
    async with served as http:
        body = {"Name": "blue", "Driver": "overlay", "Attachable": True, "Labels": {"a": "b"}}
        answer = await http.post("/networks/create", json=body)
        assert (answer.status, await answer.json()) == (201, {"Id": "id1", "Warning": ""})
        again = await http.post("/networks/create", json=body)
        assert (again.status, await again.json()) == (409, {"message": "network with name blue already exists"})
        await store.update(lambda tx: tx.update(_found(Networks().allocate(_found(tx.networks.get("id1"))))))
        shown = await (await http.get("/networks/blue")).json()
        assert shown["Name"] == "blue"
        assert shown["Attachable"]
        assert shown["Driver"] == "overlay"
        assert shown["Scope"] == "swarm"
        assert shown["Containers"] is None
        assert shown["IPAM"]["Config"] == [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]
        assert shown["Options"] == {"com.docker.network.driver.overlay.vxlanid_list": "4096"}
        assert (await http.delete("/networks/blue")).status == 204
        assert (await http.delete("/networks/blue")).status == 404


async def test_networks_of_one_host_are_not_made_yet() -> None:
    served, _ = swarm()
    async with served as http:
        for local in (
            {"Name": "red"},
            {"Name": "red", "Driver": "bridge"},
        ):
            assert (await http.post("/networks/create", json=local)).status == 501
        body: Any = {"Name": "red", "Driver": "macvlan", "Scope": "swarm", "ConfigFrom": {"Network": "base"}}
        assert (await http.post("/networks/create", json=body)).status == 201
        assert (await (await http.get("/networks/red")).json())["ConfigFrom"] == {"Network": "base"}


async def test_a_configuration_is_made_shown_and_removed(tmp_path: Path) -> None:
    node, _ = manager_node(SWARM_HOST)
    configurations = Configurations(tmp_path / "c.json")
    parts = backend(node=node, network=FakeTable([BRIDGE]), containers=FakeTable(), configurations=configurations)
    async with client(parts) as http:
        body: Any = {
            "Name": "base",
            "Driver": "macvlan",
            "ConfigOnly": True,
            "IPAM": {"Config": [{"Subnet": "192.0.2.0/24", "IPRange": "192.0.2.128/25"}]},
            "Options": {"parent": "eth0"},
            "Labels": {"a": "b"},
        }
        made = await http.post("/networks/create", json=body)
        assert made.status == 201
        assert (await http.post("/networks/create", json=body)).status == 409
        shown = await (await http.get("/networks/base")).json()
        assert shown["Id"] == (await made.json())["Id"]
        assert (shown["Driver"], shown["Scope"], shown["ConfigOnly"]) == ("null", "local", True)
        assert shown["IPAM"]["Config"] == [{"Subnet": "192.0.2.0/24", "IPRange": "192.0.2.128/25"}]
        assert (shown["Options"], shown["Labels"]) == ({"parent": "eth0"}, {"a": "b"})
        assert "base" in [one["Name"] for one in await (await http.get("/networks")).json()]
        assert (await (await http.post("/networks/prune")).json()) == {"NetworksDeleted": None}
        assert (await http.delete("/networks/base")).status == 204
        assert (await http.get("/networks/base")).status == 404


async def test_what_a_configuration_cannot_say_is_refused_in_dockers_words() -> None:
    served, _ = swarm()
    subnet: Any = {"Config": [{"Subnet": "192.0.2.0/24"}]}
    of_base: Any = {"Name": "red", "Driver": "bridge", "Scope": "swarm", "ConfigFrom": {"Network": "base"}}
    operator = (
        "configuration network can only contain network specific fields. "
        "Network operator fields like [ ingress | internal | attachable | scope ] are not supported."
    )
    specified = "user specified configurations are not supported if the network depends on a configuration network"
    options = "network driver options are not supported if the network depends on a configuration network"
    async with served as http:
        for body, status, message in (
            ({"Name": "base", "ConfigOnly": True, "Internal": True}, 403, operator),
            ({"Name": "base", "ConfigOnly": True, "Scope": "swarm"}, 403, operator),
            (
                {"Name": "base", "ConfigOnly": True, "ConfigFrom": {"Network": "other"}},
                403,
                "a configuration network cannot depend on another configuration network",
            ),
            ({**of_base, "IPAM": subnet}, 403, specified),
            ({**of_base, "Labels": {"a": "b"}}, 403, specified),
            ({**of_base, "Options": {"parent": "eth0"}}, 403, options),
            (
                {"Name": "base", "ConfigOnly": True, "IPAM": {"Config": [{"Subnet": "x"}]}},
                400,
                "ipam configuration: invalid subnet x",
            ),
        ):
            answer = await http.post("/networks/create", json=body)
            assert (answer.status, await answer.json()) == (status, {"message": message})


async def test_ipv4_is_disabled_only_where_it_can_be() -> None:
    """Known to clients of API 1.48 and later; others' word is not read, as in Docker."""
    served, _ = swarm()
    blue: Any = {"Name": "blue", "Driver": "overlay", "EnableIPv4": False}
    config: Any = {"Name": "base", "ConfigOnly": True, "EnableIPv4": False}
    of_base: Any = {"Name": "red", "Driver": "bridge", "Scope": "swarm", "ConfigFrom": {"Network": "base"}}
    second, both = [{"Subnet": "fd00::/64"}], [{"Subnet": "fd00::/64"}, {"Subnet": "10.9.0.0/24"}]
    docker = "IPv4 cannot be disabled in a Swarm scoped network"
    specified = "user specified configurations are not supported if the network depends on a configuration network"
    async with served as http:
        for body, status, message in (
            (blue, 400, docker),
            ({**blue, "EnableIPv6": True}, 400, docker),
            ({**blue, "EnableIPv6": True, "IPAM": {"Config": both}}, 400, docker),
            ({**blue, "IPAM": {"Config": second}}, 400, docker),
            ({**of_base, "EnableIPv4": False}, 403, specified),
            (config, 400, "IPv4 cannot be disabled in a configuration, which networks of the swarm are made from"),
        ):
            answer = await http.post("/v1.48/networks/create", json=body)
            assert (answer.status, await answer.json()) == (status, {"message": message})
        answer = await http.post("/networks/create", json={**blue, "EnableIPv4": 1})
        assert (answer.status, (await answer.json())["message"]) == (
            400,
            "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.EnableIPv4 of type bool",
        )
        alone = {**blue, "EnableIPv6": True, "IPAM": {"Config": second}}
        assert (await http.post("/networks/create", json=alone)).status == 201
        assert not (await (await http.get("/networks/blue")).json())["EnableIPv4"]
        for number, body in enumerate(({**blue, "EnableIPv4": True}, {**blue, "EnableIPv4": None})):
            assert (await http.post("/networks/create", json={**body, "Name": f"n{number}"})).status == 201
        assert (await http.post("/v1.47/networks/create", json={**blue, "Name": "old"})).status == 201
        assert (await (await http.get("/networks/old")).json())["EnableIPv4"]


async def test_the_managers_refusals_keep_dockers_words() -> None:
    web = service("web", "blue", ports="80:80")
    served, _ = swarm(allocated("blue"), network("ingress", ingress=True), web)
    async with served as http:
        for call, status, message in (
            (
                http.delete("/networks/blue"),
                400,
                "rpc error: code = FailedPrecondition desc = network blue is in use by service web",
            ),
            (
                http.delete("/networks/ingress"),
                400,
                "rpc error: code = FailedPrecondition desc = "
                "ingress network cannot be removed because service web depends on it",
            ),
            (
                http.post("/networks/create", json={"Name": "mine", "Driver": "overlay", "Ingress": True}),
                409,
                "rpc error: code = AlreadyExists desc = ingress network (ingress) is already present",
            ),
        ):
            answer = await call
            assert (answer.status, await answer.json()) == (status, {"message": message})


async def test_prune_takes_what_nothing_uses_and_leaves_ingress() -> None:
    web = service("web", "used")
    served, store = swarm(
        allocated("used"), allocated("kept", keep="1"), allocated("gone"), network("ingress", ingress=True), web
    )
    async with served as http:
        pruned = await http.post("/networks/prune", params={"filters": '{"label!":["keep"]}'})
        assert await pruned.json() == {"NetworksDeleted": ["gone"]}
        pruned = await http.post("/networks/prune", params={"filters": '{"until":["-5"]}'})
        assert await pruned.json() == {"NetworksDeleted": None}
        pruned = await http.post("/networks/prune")
        assert await pruned.json() == {"NetworksDeleted": ["kept"]}
        assert {each.id for each in store.view().networks.all()} == {"net-host", "used", "ingress"}


async def test_the_swarms_networks_pass_the_filters() -> None:
    served, _ = swarm(allocated("blue", colour="b"), network("ingress", ingress=True))
    async with served as http:
        for filters, names in (
            ('{"scope":["swarm"]}', ["blue", "ingress"]),
            ('{"driver":["overlay"]}', ["blue", "ingress"]),
            ('{"label":["colour=b"]}', ["blue"]),
            ('{"type":["custom"]}', ["blue", "ingress"]),
            ('{"name":["lu"]}', ["blue"]),
            ('{"dangling":["true"]}', ["blue", "ingress"]),
        ):
            listed = await (await http.get("/networks", params={"filters": filters})).json()
            assert [each["Name"] for each in listed] == names, filters


def _found(value: Any) -> api.Network:
    assert isinstance(value, api.Network)
    return value


def taking_part(*, manages: bool) -> Any:
    """A node on the network blue, which is told of it, and of another one that it is not on."""
    blue, red = allocated("blue"), allocated("red")
    node = manager_node(SWARM_HOST, blue, red)[0] if manages else FakeNode()
    node.told = [blue, red]
    on = Endpoint(network_id=blue.id, endpoint_id="e1", address="10.0.0.3", prefix_length=24, mac="02:42")
    way_out = Endpoint(network_id="b" * 64, endpoint_id="e2", address="172.18.0.2", prefix_length=16, mac="02:43")
    container = replace(CONTAINER, sandbox=Sandbox("/n", (on,), way_out))
    shown = {
        "nodes": [{"name": "a1", "address": "192.168.0.1"}],
        "endpoints": {
            "e1": {
                "name": "web.1.x", "address": "10.0.0.3", "service": "web", "vip": "", "ports": [],
                "node": "192.168.0.1",
            },
        },
    }  # fmt: skip
    return client(
        backend(
            node=node,
            network=FakeTable([BRIDGE]),
            containers=FakeTable([container]),
            overlays=FakeOverlays({blue.id: shown}, Wanted(1, overlays=(Overlay(blue.id, "blue", ()),))),
        )
    )


async def test_a_network_that_this_node_is_on_shows_who_is_there() -> None:
    for manages in (True, False):
        async with taking_part(manages=manages) as http:
            shown = await (await http.get("/networks/blue")).json()
            assert shown["Peers"] == [{"Name": "a1", "IP": "192.168.0.1"}]
            assert {key: each["IPv4Address"] for key, each in shown["Containers"].items()} == {"c" * 64: "10.0.0.3/24"}
            assert "Services" not in shown
            verbose = await (await http.get("/networks/blue?verbose=true")).json()
            assert list(verbose.pop("Services")) == ["web"]
            assert verbose == shown
            refused = await http.get("/networks/blue?verbose=maybe")
            assert (refused.status, await refused.json()) == (
                400,
                {"message": 'invalid value for verbose: maybe: strconv.ParseBool: parsing "maybe": invalid syntax'},
            )


async def test_a_network_that_this_node_is_not_on_is_known_to_managers_alone() -> None:
    async with taking_part(manages=True) as http:
        shown = await (await http.get("/networks/red?verbose=true")).json()
        assert shown["Name"] == "red"
        assert shown["Containers"] is None
        assert not {"Peers", "Services"} & shown.keys()
    async with taking_part(manages=False) as http:
        answer = await http.get("/networks/red?verbose=true")
        assert (answer.status, await answer.json()) == (404, {"message": "network red not found"})
        assert [each["Name"] for each in await (await http.get("/networks")).json()] == ["blue", "bridge"]
        # They are the managers' to remove.
        assert await (await http.post("/networks/prune")).json() == {"NetworksDeleted": None}
        assert (await http.delete("/networks/blue")).status == 503
