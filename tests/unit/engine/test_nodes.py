from typing import Any

from shoal.api import v1 as api
from tests.unit.engine.fakes import backend, client, manager_node

CLUSTER = api.Cluster(id="cl", spec=api.ClusterSpec(annotations=api.Annotations(name="default")))


def node(node_id: str, hostname: str, role: int = api.WORKER) -> api.Node:
    return api.Node(
        id=node_id,
        role=role,  # type: ignore[arg-type]
        spec=api.NodeSpec(desired_role=role, membership=api.NodeSpec.ACCEPTED),  # type: ignore[arg-type]
        description=api.NodeDescription(
            hostname=hostname,
            platform=api.Platform(architecture="x86_64", os="linux"),
            resources=api.Resources(nano_cpus=2_000_000_000, memory_bytes=1 << 30),
            engine=api.EngineDescription(
                engine_version="0.1.0", plugins=[api.PluginDescription(type="Log", name="local")]
            ),
            tls_info=api.NodeTLSInfo(trust_root=b"PEM", cert_issuer_subject=b"\x01"),
        ),
        status=api.NodeStatus(state=api.NodeStatus.READY, addr="10.0.0.1"),
    )


def served() -> Any:
    return client(backend(node=manager_node(CLUSTER, node("m1", "host-1", api.MANAGER), node("w1", "host-2"))[0]))


async def test_nodes_are_shown_with_their_part_in_the_quorum() -> None:
    async with served() as http:
        manager, worker = sorted(await (await http.get("/nodes")).json(), key=lambda each: str(each["ID"]))
        assert manager["ManagerStatus"] == {"Leader": True, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}
        assert "ManagerStatus" not in worker
        assert worker["Spec"] == {"Labels": {}, "Role": "worker", "Availability": "active"}
        assert worker["Status"] == {"State": "ready", "Addr": "10.0.0.1"}
        assert worker["Description"] == {
            "Hostname": "host-2",
            "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 1 << 30},
            "Engine": {"EngineVersion": "0.1.0", "Plugins": [{"Type": "Log", "Name": "local"}]},
            "TLSInfo": {"TrustRoot": "PEM", "CertIssuerSubject": "AQ=="},
        }
        assert await (await http.get("/nodes/host-2")).json() == worker


async def test_a_node_is_updated_and_removed() -> None:
    async with served() as http:
        version = (await (await http.get("/nodes/w1")).json())["Version"]["Index"]
        body = {"Role": "worker", "Availability": "drain", "Labels": {"zone": "a"}}
        answer = await http.post(f"/nodes/w1/update?version={version}", json=body)
        assert (answer.status, await answer.read()) == (200, b"")
        assert (await (await http.get("/nodes/w1")).json())["Spec"]["Availability"] == "drain"
        answer = await http.delete("/nodes/w1")
        assert answer.status == 400
        assert "is not down and can't be removed" in (await answer.json())["message"]
        assert (await http.delete("/nodes/w1?force=1")).status == 200
        answer = await http.get("/nodes/w1")
        assert (answer.status, await answer.json()) == (404, {"message": "node w1 not found"})


async def test_role_and_availability_are_asked_for() -> None:
    async with served() as http:
        answer = await http.post("/nodes/w1/update?version=1", json={"Availability": "drain"})
        assert (answer.status, await answer.json()) == (400, {"message": 'invalid Role: ""'})


async def test_nodes_are_filtered() -> None:
    async with served() as http:
        [worker] = await (await http.get("/nodes", params={"filters": '{"role":["worker"]}'})).json()
        assert worker["ID"] == "w1"
        answer = await http.get("/nodes", params={"filters": '{"role":["boss"]}'})
        assert (answer.status, await answer.json()) == (500, {"message": "Invalid role filter: 'boss'"})


async def test_a_lone_surrogate_is_refused_like_any_other_text() -> None:
    async with served() as http:
        body = b'{"Role": "\\ud800", "Availability": "drain"}'
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/nodes/w1/update?version=1", data=body, headers=headers)
        assert (answer.status, await answer.json()) == (400, {"message": 'invalid Role: "\ufffd"'})
