import dataclasses
from pathlib import Path

from shoal.api import v1 as api
from shoal.errors import Unauthenticated
from shoal.network.connections import Table
from shoal.node.types import LocalState, SwarmInfo
from shoal.runtime.image_types import RegistryAuth
from shoal.runtime.types import Container, ContainerConfig, Image, Mount, Phase, Volume
from tests.unit.engine.fakes import FACTS, FakeNode, FakeTable, backend, client
from tests.unit.engine.host_fakes import FakeImages, host

IMAGE = Image("sha256:" + "1" * 64, {"architecture": "amd64"}, ("sha256:2",), 1000, ("busybox:latest",), (), 1.0)
CONTAINER = Container(
    id="c" * 64,
    config=ContainerConfig(name="web", image="busybox"),
    image_id=IMAGE.id,
    phase=Phase.RUNNING,
    created_at=1.0,
    mounts=(Mount("volume", "/data", "v1"),),
)


async def test_version_names_the_parts() -> None:
    async with client() as http:
        shown = await (await http.get("/version")).json()
        assert (shown["ApiVersion"], shown["MinAPIVersion"], shown["Os"], shown["Arch"]) == (
            "1.50",
            "1.24",
            "linux",
            "amd64",
        )
        assert shown["Components"][0]["Name"] == "Engine"


async def test_info_counts_what_is_here_and_tells_the_swarm() -> None:
    swarm = SwarmInfo(
        LocalState.ACTIVE,
        node_id="m1",
        node_addr="10.0.0.1",
        control_available=True,
        remote_managers=(("m1", "10.0.0.1:2377"),),
        cluster=api.Cluster(id="cl", root_ca=api.RootCA(join_tokens=api.JoinTokens(worker="SWMTKN"))),
        nodes=3,
        managers=2,
    )
    parts = backend(containers=FakeTable([CONTAINER]), images=FakeTable([IMAGE]), node=FakeNode(swarm))
    async with client(parts) as http:
        answer = await http.get("/info")
        shown = await answer.json()
        assert (shown["Containers"], shown["ContainersRunning"], shown["Images"]) == (1, 1, 1)
        assert (shown["NCPU"], shown["Name"], shown["Labels"]) == (2, "host-1", ["zone=a"])
        assert shown["Swarm"]["LocalNodeState"] == "active"
        assert shown["Swarm"]["RemoteManagers"] == [{"NodeID": "m1", "Addr": "10.0.0.1:2377"}]
        assert shown["Swarm"]["Cluster"]["ID"] == "cl"
        assert shown["Swarm"]["Cluster"]["DefaultAddrPool"] == ["10.0.0.0/8"]
        assert "SWMTKN" not in await answer.text()
        assert "two-manager configuration" in shown["Warnings"][0]
        old = await (await http.get("/v1.40/info")).json()
        assert "Expected" in old["RuncCommit"]
        assert (await http.get("/_ping")).headers["Swarm"] == "active/manager"


async def test_a_full_table_of_connections_is_warned_of() -> None:
    parts = backend()
    async with client(parts) as http:
        assert (await (await http.get("/info")).json())["Warnings"] is None
        parts.connections.look(Table(10, 10), 0.0)
        (warning,) = (await (await http.get("/info")).json())["Warnings"]
        assert warning.startswith("WARNING: the table of tracked connections is full (10 of 10): ")


async def test_info_names_apparmor_where_containers_are_held_to_a_profile() -> None:
    for profile, shown in (("", False), ("shoal-default", True)):
        async with client(backend(facts=dataclasses.replace(FACTS, apparmor=profile))) as http:
            options = (await (await http.get("/info")).json())["SecurityOptions"]
            assert ("name=apparmor" in options) is shown


async def test_info_of_a_node_alone() -> None:
    async with client() as http:
        swarm = (await (await http.get("/info")).json())["Swarm"]
        assert swarm == {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        }


async def test_disk_usage_is_asked_of_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"x" * 10)
    volume = Volume("v1", str(tmp_path), 1.0)
    parts = backend(containers=FakeTable([CONTAINER]), images=FakeTable([IMAGE]), volumes=FakeTable([volume]))
    async with client(parts) as http:
        shown = await (await http.get("/system/df")).json()
        assert shown["LayersSize"] == 1000
        assert shown["Images"][0]["Containers"] == 1
        assert shown["Containers"][0]["Id"] == "c" * 64
        assert shown["Volumes"][0]["UsageData"] == {"Size": 10, "RefCount": 1}
        assert set(await (await http.get("/system/df?type=volume")).json()) == {"Volumes"}
        assert (await http.get("/system/df?type=x")).status == 400


async def test_what_docker_has_and_shoal_has_not_answers_in_json() -> None:
    async with client() as http:
        assert await (await http.get("/plugins")).json() == []
        for method, path, status in (
            ("POST", "/session", 501),
            ("GET", "/plugins/a/b/json", 404),
            ("POST", "/plugins/pull", 501),
        ):
            answer = await http.request(method, path)
            assert answer.status == status
            assert (await answer.json())["message"]


async def test_login_is_asked_of_the_registry() -> None:
    images = FakeImages()
    async with client(host(images=images)) as http:
        login = {"username": "me", "password": "pw", "serveraddress": "registry:5000"}
        answer = await http.post("/auth", json=login)
        assert await answer.json() == {"Status": "Login Succeeded", "IdentityToken": ""}
        assert images.asked == [("login", RegistryAuth("me", "pw", "", "registry:5000"))]
        images.fails = Unauthenticated("unauthorized: authentication required")
        assert (await http.post("/auth", json=login)).status == 401
