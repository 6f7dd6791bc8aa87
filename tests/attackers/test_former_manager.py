"""A manager's keys in the wrong hands: before it is demoted, after that, and after its node was removed.

Somebody with a copy of the keys is not the host to which they belong, so the copy is used from another host beside the
swarm.
"""

import asyncio
import json
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from grpclib.client import UnaryStreamMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import NodeCAStub
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import identity_of, read_chain
from shoal.ca.security import SecurityConfig
from shoal.manager.port.authorization import FORWARDED_CN, FORWARDED_MARK, FORWARDED_ORG, FORWARDED_OU
from tests.cluster.swarms import containers, create, join, make_swarm, node_id, nodes, token, wait_running
from tests.cluster.test_failover import change_role, leader_of, wait_statuses, write
from tests.cluster.test_stolen import FOR_NODES, NOT_SERVED, channel, walk
from tests.harness.hosts import Host, eventually
from tests.harness.inside import play
from tests.harness.network import Network, network
from tests.unit.manager.etcd_peers import head, message, post

pytestmark = pytest.mark.root

TIMEOUT = 5.0
PATIENCE = 60.0
LAST_TERM = 2**64 - 1


@dataclass
class Scene:
    """Three managers and a host beside them. `kept`: the keys of the third manager. `ids`: etcd's ids of all."""

    net: Network
    managers: list[Host]
    beside: Host
    kept: SecurityConfig
    ids: dict[str, int] = field(default_factory=dict)
    cluster: str = ""

    @property
    def victim(self) -> Host:
        return self.managers[2]

    @property
    def others(self) -> list[Host]:
        """Return the leader and the other manager."""
        leader = leader_of(self.managers[:2], self.managers[0])
        return sorted(self.managers[:2], key=lambda host: host is not leader)


def copied(host: Host, to: Path) -> SecurityConfig:
    """Return a copy of a host's present keys."""
    shutil.copytree(host.data_root / "swarm" / "certificates", to)
    loaded = SecurityConfig.load(to, time.time())
    assert loaded is not None
    return loaded


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with network("former") as net:
        managers = [net.add(name) for name in ("m1", "m2", "m3")]
        make_swarm(managers[0])
        for host in managers[1:]:
            join(host, managers[0], token(managers[0], "manager"))
        wait_statuses(managers[0], ["Leader", "Reachable", "Reachable"])
        create(managers[0], "web", 1, "--constraint", "node.hostname==m3")
        wait_running(managers[0], "web", {"m3": 1})
        kept = copied(managers[2], tmp_path_factory.mktemp("kept") / "certificates")
        assert kept.is_manager
        yield Scene(net, managers, net.add("beside", start=False), kept)
        for host in managers:
            assert "Traceback" not in host.log()
            # An etcd whose member was removed ends with a message of its own. Nothing else may make an etcd panic.
            panics = [line for line in host.log().splitlines() if "panic: " in line]
            assert all("failed to find local ID in cluster members" in line for line in panics), panics


def ask(scene: Scene, at: Host, *said: bytes) -> list[bytes]:
    """Send requests to a manager's etcd with the kept keys, each on a connection of its own. Returns the first line of
    each answer.
    """

    async def story() -> list[bytes]:
        answers = []
        for request in said:
            answer = b""
            with suppress(ConnectionError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(TIMEOUT):
                    reader, writer = await asyncio.open_connection(
                        at.address, 2377, ssl=scene.kept.peer_context(), server_hostname="swarm-manager"
                    )
                    try:
                        writer.write(request)
                        answer = await reader.read(4096)
                    finally:
                        writer.transport.abort()
            answers.append(answer)
        return answers

    return play(scene.beside, story)


def attacks(scene: Scene) -> dict[str, bytes]:
    """Return requests that break a swarm, from the kept keys' own member and in the names of the others."""
    facts = {"X_Etcd_Cluster_ID": scene.cluster, "X_Server_Version": "3.4.23", "X_Min_Cluster_Version": "3.0.0"}
    said: dict[str, bytes] = {}
    for name, sender in scene.ids.items():
        for kind, term in ((8, LAST_TERM), (8, 7), (3, LAST_TERM), (6, LAST_TERM)):
            for to in scene.ids.values():
                body = message(sender, kind=kind, term=term, to=to, index=2**62)
                named = head("POST", "/raft", sender, Content_Length=str(len(body)), **facts) + body
                said[f"message {kind} of term {term} from {name} to {to:x}"] = named
                own = head("POST", "/raft", scene.ids["m3"], Content_Length=str(len(body)), **facts) + body
                said[f"the same in a request of m3's, {kind} {term} {name} {to:x}"] = own
        said[f"stream of {name}"] = head("GET", f"/raft/stream/msgapp/{sender:x}", sender, **facts)
        said[f"snapshot of {name}"] = post(sender, (30).to_bytes(8, "big") + message(sender, kind=7), "/raft/snapshot")
    said["client's API"] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    said["leases"] = head("POST", "/leases", None, Content_Length="0")
    said["members"] = head("GET", "/members", None)
    said["version"] = head("GET", "/version", None)
    said["promotion"] = head("POST", f"/members/promote/{scene.ids['m1']}", None, Content_Length="0")
    return said


def check_swarm(scene: Scene, name: str) -> None:
    """Check that the managers agree as before, and can write."""
    assert write(scene.managers[0], name)
    for host in scene.managers[:2]:
        assert json.loads(host.curl("/info"))["Swarm"]["ControlAvailable"] is True


def test_a_present_manager_learns_what_is_its_own_and_speaks_for_itself(scene: Scene) -> None:
    for host in scene.managers:
        # Three managers joined and wrote, and no etcd sent what it may not send. One may have connected too early to
        # another that lags.
        refusals = [line for line in host.log().splitlines() if "was refused (" in line]
        assert all("is not a member" in line for line in refusals), refusals
    (answer,) = ask(scene, scene.managers[0], head("GET", "/members", None))
    assert answer.startswith(b"HTTP/1.1 200")
    top, _, body = answer.partition(b"\r\n\r\n")
    by_node = {each["name"]: each["id"] for each in json.loads(body)}
    scene.ids = {host.hostname: by_node[node_id(host)] for host in scene.managers}
    scene.cluster = dict(
        line.lower().split(b": ") for line in top.split(b"\r\n")[1:]
    )[b"x-etcd-cluster-id"].decode()  # fmt: skip
    allowed = {"members", "version", "stream of m3", "snapshot of m3", "promotion"}
    for host in scene.others:
        said = {
            what: request
            for what, request in attacks(scene).items()
            # A member may send what Raft lets it decide: that its own term is 7, or that it is still there.
            if what not in allowed and "of term 7 from m3" not in what and "m3's, 8 7 m3" not in what
        }
        answers = dict(zip(said, ask(scene, host, *said.values()), strict=True))
        assert set(answers.values()) == {b""}, {what: told for what, told in answers.items() if told}
    check_swarm(scene, "present")


@pytest.fixture(scope="module")
def demoted(scene: Scene) -> Scene:
    """Demote the third manager while connections of the kept keys are open. All of them must end."""

    async def story() -> list[str]:
        loop = asyncio.get_running_loop()
        context = scene.kept.peer_context()
        held = [
            await asyncio.open_connection(host.address, 2377, ssl=context, server_hostname="swarm-manager")
            for host in scene.others
        ]
        for reader, writer in held:
            writer.write(head("GET", "/version", None))
            assert (await reader.read(4096)).startswith(b"HTTP/1.1 200")
        async with asyncio.TaskGroup() as group:
            logs = [group.create_task(follow_logs(scene, host)) for host in scene.others]
            idle = [group.create_task(until_end(reader)) for reader, _ in held]
            await asyncio.sleep(0.5)
            assert not any(child.done() for child in (*logs, *idle))
            await loop.run_in_executor(None, change_role, scene.others[0], "demote", scene.victim)
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait([*logs, *idle])
        for _, writer in held:
            writer.transport.abort()
        return [child.result() for child in logs]

    ends = play(scene.beside, story)
    assert len(ends) == 2
    wait_statuses(scene.others[0], ["Leader", "Reachable", ""])
    return scene


async def until_end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while await reader.read(4096):
            pass


async def follow_logs(scene: Scene, at: Host) -> str:
    """Follow a service's logs as a manager may, until the call is ended. Returns the error that ended it."""
    service = json.loads(at.curl("/services/web"))["ID"]
    selector = api.LogSelector(service_ids=[service])
    request = api.SubscribeLogsRequest(selector=selector, options=api.LogSubscriptionOptions(follow=True))
    async with channel(at, scene.kept.client_context()) as opened:
        method = UnaryStreamMethod(
            opened, "/docker.swarmkit.v1.Logs/SubscribeLogs", api.SubscribeLogsRequest, api.SubscribeLogsMessage
        )
        try:
            await method(request)
        except (GRPCError, StreamTerminatedError, ConnectionError) as error:
            return str(error)
    return "the end"


def refused(scene: Scene, keys: SecurityConfig, why: str) -> None:
    """Check that every manager refuses every call with this certificate, except the calls that are open to anybody."""
    for host in scene.others:
        answers = walk(host, scene.beside, keys.client_context(), FOR_NODES)
        for path, (status, text) in answers.items():
            assert status is Status.PERMISSION_DENIED or (status, text) == NOT_SERVED, (path, status, text)
        # The others refuse a worker's certificate because of its role.
        assert sum(why in text for _, text in answers.values()) > (20 if keys.is_manager else 5), answers


def test_a_demoted_managers_keys_open_nothing(demoted: Scene) -> None:
    why = f"node {demoted.kept.node_id} is not a manager any more"
    refused(demoted, demoted.kept, why)
    for host in demoted.others:
        said = attacks(demoted)
        # It is told that it was removed, so that its own etcd ends.
        gone = ask(demoted, host, said.pop("stream of m3"))
        assert gone[0].startswith(b"HTTP/1.1 410 Gone")
        answers = dict(zip(said, ask(demoted, host, *said.values()), strict=True))
        assert set(answers.values()) == {b""}, {what: told for what, told in answers.items() if told}
    check_swarm(demoted, "demoted")


def test_they_forward_no_call_of_another_node(demoted: Scene) -> None:
    claim = [
        (FORWARDED_MARK, "true"),
        (FORWARDED_CN, node_id(demoted.managers[0])),
        (FORWARDED_ORG, demoted.kept.cluster_id),
        (FORWARDED_OU, "swarm-manager"),
    ]
    leader = demoted.others[0]
    for path, (status, text) in walk(leader, demoted.beside, demoted.kept.client_context(), FOR_NODES, claim).items():
        assert status is Status.PERMISSION_DENIED or (status, text) == NOT_SERVED, (path, status, text)

    async def story() -> None:
        async with channel(leader, demoted.kept.client_context()) as opened:
            request = api.IssueNodeCertificateRequest(csr=make_csr(new_key()))
            await NodeCAStub(opened).IssueNodeCertificate(request, timeout=TIMEOUT, metadata=claim)

    with pytest.raises(GRPCError, match="not one any more: ask another"):
        play(demoted.beside, story)


def test_they_are_renewed_as_a_workers(demoted: Scene) -> None:
    key = new_key()

    async def story() -> bytes:
        async with channel(demoted.others[1], demoted.kept.client_context()) as opened:
            stub = NodeCAStub(opened)
            request = api.IssueNodeCertificateRequest(csr=make_csr(key), role=api.MANAGER)
            made = await stub.IssueNodeCertificate(request, timeout=TIMEOUT)
            status = api.NodeCertificateStatusRequest(node_id=made.node_id)
            return bytes((await stub.NodeCertificateStatus(status, timeout=TIMEOUT)).certificate.certificate)

    identity = identity_of(read_chain(play(demoted.beside, story))[0])
    assert (identity.node_id, identity.role) == (demoted.kept.node_id, api.WORKER)


def test_the_node_itself_works_on(demoted: Scene) -> None:
    manager = demoted.others[0]
    eventually(
        lambda: nodes(manager)["m3"] == "Ready", "it is a worker now", patience=PATIENCE, show=demoted.victim.log
    )
    wait_running(manager, "web", {"m3": 1}, patience=PATIENCE)


def test_a_live_node_that_is_removed_says_so_and_ends_its_tasks(demoted: Scene, tmp_path: Path) -> None:
    of_worker = copied(demoted.victim, tmp_path / "certificates")
    assert not of_worker.is_manager
    demoted.others[0].docker("node", "rm", "--force", demoted.kept.node_id)
    told = f"node {demoted.kept.node_id} was removed from swarm"

    def says_so() -> bool:
        swarm = json.loads(demoted.victim.curl("/info"))["Swarm"]
        return swarm["LocalNodeState"] == "error" and told in swarm["Error"]

    eventually(says_so, "it says that it was removed", patience=PATIENCE, show=demoted.victim.log)
    eventually(lambda: containers(demoted.victim) == 0, "its tasks have ended")
    for keys in (demoted.kept, of_worker):
        refused(demoted, keys, told)
    for host in demoted.others:
        said = attacks(demoted)
        assert set(ask(demoted, host, *said.values())) == {b""}
    demoted.victim.stop()
    demoted.victim.start()
    eventually(says_so, "it still says so", patience=PATIENCE, show=demoted.victim.log)
    check_swarm(demoted, "removed")


def test_it_may_join_again_and_a_manager_that_was_removed_while_away_says_so_as_well(demoted: Scene) -> None:
    demoted.victim.docker("swarm", "leave", "--force")
    join(demoted.victim, demoted.others[0], token(demoted.others[0], "manager"))
    leader, away = demoted.others
    wait_statuses(leader, ["Leader", "Reachable", "Reachable"])
    gone = node_id(away)
    away.stop()
    wait_statuses(leader, ["Leader", "Reachable", "Unreachable"])
    leader.docker("node", "demote", gone)
    eventually(
        lambda: leader.docker("node", "rm", "--force", gone, check=False).returncode == 0, "removed", patience=PATIENCE
    )
    away.start()

    def says_so() -> bool:
        swarm = json.loads(away.curl("/info"))["Swarm"]
        return swarm["LocalNodeState"] == "error" and f"node {gone} was removed from swarm" in swarm["Error"]

    eventually(says_so, "it says that it was removed", patience=PATIENCE, show=away.log)
    refused_now = away.docker("node", "ls", check=False).stderr
    assert "was removed from swarm" in refused_now
    assert write(leader, "after-all")
