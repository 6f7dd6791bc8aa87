from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.node.types import InitRequest, JoinRequest
from tests.unit.engine.fakes import FakeNode, backend, client, manager_node


def cluster() -> api.Cluster:
    return api.Cluster(
        id="cluster-1",
        spec=api.ClusterSpec(
            annotations=api.Annotations(name="default"),
            orchestration=api.OrchestrationConfig(task_history_retention_limit=5),
            raft=api.RaftConfig(snapshot_interval=10_000, election_tick=10, heartbeat_tick=1),
            ca_config=api.CAConfig(node_cert_expiry={"seconds": 7_776_000}),
            dispatcher=api.DispatcherConfig(heartbeat_period={"seconds": 5}),
        ),
        root_ca=api.RootCA(
            ca_key=b"secret key", ca_cert=b"PEM", join_tokens=api.JoinTokens(worker="SWMTKN-1-w", manager="SWMTKN-1-m")
        ),
    )


def served() -> Any:
    return client(backend(node=manager_node(cluster())[0]))


async def test_the_swarm_is_shown_with_its_tokens_and_without_its_key() -> None:
    async with served() as http:
        answer = await http.get("/swarm")
        assert "secret" not in await answer.text()
        shown = await answer.json()
        for given in ("Version", "CreatedAt", "UpdatedAt"):
            shown.pop(given)
        assert shown == {
            "ID": "cluster-1",
            "Spec": {
                "Name": "default",
                "Labels": {},
                "Orchestration": {"TaskHistoryRetentionLimit": 5},
                "Raft": {"SnapshotInterval": 10_000, "KeepOldSnapshots": 0, "ElectionTick": 10, "HeartbeatTick": 1},
                "Dispatcher": {"HeartbeatPeriod": 5_000_000_000},
                "CAConfig": {"NodeCertExpiry": 7_776_000_000_000_000},
                "TaskDefaults": {},
                "EncryptionConfig": {"AutoLockManagers": False},
            },
            "TLSInfo": {"TrustRoot": "PEM"},
            "RootRotationInProgress": False,
            "DefaultAddrPool": ["10.0.0.0/8"],
            "SubnetSize": 24,
            "DataPathPort": 4789,
            "JoinTokens": {"Worker": "SWMTKN-1-w", "Manager": "SWMTKN-1-m"},
        }


async def test_the_swarm_is_updated_as_a_whole() -> None:
    async with served() as http:
        shown = await (await http.get("/swarm")).json()
        version, spec = shown["Version"]["Index"], shown["Spec"]
        spec["Orchestration"] = {}
        answer = await http.post(f"/swarm/update?version={version}&rotateWorkerToken=true", json=spec)
        assert (answer.status, await answer.read()) == (200, b"")
        now = await (await http.get("/swarm")).json()
        assert now["Spec"]["Orchestration"] == {"TaskHistoryRetentionLimit": 0}
        assert now["JoinTokens"]["Worker"] != "SWMTKN-1-w"
        assert now["JoinTokens"]["Manager"] == "SWMTKN-1-m"
        answer = await http.post(f"/swarm/update?version={version}", json=spec)
        assert (await answer.json())["message"] == "rpc error: code = Unknown desc = update out of sequence"
        answer = await http.post("/swarm/update?version=1&rotateWorkerToken=x", json=spec)
        assert (answer.status, await answer.json()) == (400, {"message": "invalid value for rotateWorkerToken: x"})


async def test_init_hands_on_what_was_asked_and_merges_the_spec_over_the_defaults() -> None:
    node, _ = manager_node(cluster())
    async with client(backend(node=node)) as http:
        body = {
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": "eth0",
            "DefaultAddrPool": ["10.20.0.0/16"],
            "SubnetSize": 26,
            "DataPathPort": 7777,
            "Availability": "drain",
            "Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 0}, "Labels": None, "Dispatcher": {}},
        }
        answer = await http.post("/swarm/init", json=body)
        assert (answer.status, await answer.json()) == (200, "node-1")
        assert node.asked == [
            InitRequest(
                listen_addr="0.0.0.0:2377",
                advertise_addr="eth0",
                data_path_port=7777,
                default_addr_pool=("10.20.0.0/16",),
                subnet_size=26,
                availability=api.NodeSpec.DRAIN,
            )
        ]
        spec = (await (await http.get("/swarm")).json())["Spec"]
        assert spec["Orchestration"] == {"TaskHistoryRetentionLimit": 0}
        assert spec["Dispatcher"] == {"HeartbeatPeriod": 5_000_000_000}
        await http.post("/v1.38/swarm/init", json=body)
        assert (node.asked[-1].default_addr_pool, node.asked[-1].data_path_port) == ((), 0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'invalid ListenAddr "": invalid empty address'),
        ({"ListenAddr": "a", "Spec": {"Name": "x"}}, 'swarm spec must be named "default"'),
        ({"ListenAddr": "a", "Availability": "x"}, 'invalid Availability: "x"'),
        (
            {"ListenAddr": "a", "SubnetSize": "x"},
            "invalid JSON: json: cannot unmarshal string into Go struct field InitRequest.SubnetSize of type uint32",
        ),
    ],
)
async def test_a_wrong_init_is_refused_before_anything_is_made(body: dict[str, Any], message: str) -> None:
    node = FakeNode()
    async with client(backend(node=node)) as http:
        answer = await http.post("/swarm/init", json=body)
        assert (answer.status, await answer.json()) == (400, {"message": message})
        assert node.asked == []


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"TaskDefaults": {"LogDriver": {"Name": "none"}}}, 501),
        ({"CAConfig": {"NodeCertExpiry": 1}}, 400),
    ],
)
async def test_a_refused_spec_leaves_no_swarm_behind(spec: dict[str, Any], status: int) -> None:
    node = FakeNode()
    async with client(backend(node=node)) as http:
        answer = await http.post("/swarm/init", json={"ListenAddr": "a", "Spec": spec})
        assert answer.status == status
        assert node.asked == []
        # The modules that check the spec are imported by the node itself, and not at the same time in another thread.
        assert node.is_prepared


@pytest.mark.parametrize("alone", [False, True])
async def test_a_spec_that_the_new_swarm_refuses_leaves_none_behind(alone: bool) -> None:
    node, _ = manager_node(cluster())
    body = {
        "ListenAddr": "a",
        "ForceNewCluster": alone,
        "Spec": {"CAConfig": {"SigningCACert": "rubbish", "SigningCAKey": "rubbish"}},
    }
    async with client(backend(node=node)) as http:
        answer = await http.post("/swarm/init", json=body)
        assert answer.status == 400
        # A node that goes on alone was in a swarm before, with all its objects.
        assert node.asked[1:] == ([] if alone else [True])


async def test_leave_and_unlock() -> None:
    node, _ = manager_node(cluster())
    async with client(backend(node=node)) as http:
        assert await (await http.get("/swarm/unlockkey")).json() == {"UnlockKey": ""}
        assert (await http.post("/swarm/leave?force=true")).status == 200
        assert (await http.post("/swarm/unlock", json={"UnlockKey": "SWMKEY-1-x"})).status == 200
        assert node.asked == [True, "SWMKEY-1-x"]


async def test_join_hands_on_what_was_asked_for() -> None:
    node = FakeNode()
    body = {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": "eth0",
        "DataPathAddr": "eth1",
        "RemoteAddrs": ["10.0.0.1:2377"],
        "JoinToken": "SWMTKN-1-x",
        "Availability": "Drain",
    }
    async with client(backend(node=node)) as http:
        assert (await http.post("/swarm/join", json=body)).status == 200
        answer = await http.post("/swarm/join", json={"RemoteAddrs": 3})
        assert answer.status == 400
        assert "JoinRequest.RemoteAddrs" in (await answer.json())["message"]
    expected = JoinRequest("0.0.0.0:2377", ("10.0.0.1:2377",), "SWMTKN-1-x", "eth0", "eth1", api.NodeSpec.DRAIN)
    assert node.asked == [expected]
