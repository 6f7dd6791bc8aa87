"""A worker's join token in the wrong hands: it makes nodes that never come, as fast as it can."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import NodeCAStub
from shoal.ca.csr import MAX_CSR_BYTES, make_csr, new_key
from shoal.ca.security import CA_SERVER_NAME, joining_context
from shoal.manager.issuing import MAX_ABSENT_OF_HOST
from tests.cluster.swarms import join, make_swarm, nodes, token
from tests.cluster.test_failover import wait_statuses, write
from tests.cluster.test_stolen import channel
from tests.harness.hosts import Host, eventually
from tests.harness.inside import play
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

TIMEOUT = 30.0
CALLS = MAX_ABSENT_OF_HOST + 500
JUNK = 300
AT_ONCE = 50


@dataclass
class Scene:
    net: Network
    managers: list[Host]
    secret: str
    beside: Host
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with network("leaked") as net:
        managers = [net.add("m1"), net.add("m2")]
        secret = make_swarm(managers[0])
        join(managers[1], managers[0], token(managers[0], "manager"))
        wait_statuses(managers[0], ["Leader", "Reachable"])
        root = (managers[0].data_root / "swarm" / "certificates" / "swarm-root-ca.crt").read_bytes()
        yield Scene(net, managers, secret, net.add("beside", start=False), joining_context(root))
        assert write(managers[1], "after-all")
        for host in managers:
            assert "Traceback" not in host.log()


def count(manager: Host) -> int:
    return len(json.loads(manager.curl("/nodes")))


def ask(scene: Scene, at: Host, requests: list[bytes], secret: str) -> list[tuple[Status, str]]:
    """Ask for certificates, many at once, as a host beside the swarm; the statuses, each with the id or the text."""

    async def story() -> list[tuple[Status, str]]:
        found: list[tuple[Status, str]] = []
        left = iter(requests)
        async with channel(at, scene.context, CA_SERVER_NAME) as opened:
            stub = NodeCAStub(opened)

            async def work() -> None:
                for csr in left:
                    request = api.IssueNodeCertificateRequest(csr=csr, token=secret)
                    try:
                        found.append((Status.OK, (await stub.IssueNodeCertificate(request, timeout=TIMEOUT)).node_id))
                    except GRPCError as error:
                        found.append((error.status, error.message or ""))

            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        return found

    return play(scene.beside, story)


def test_the_same_joiner_is_one_node_by_whichever_manager_it_asks(scene: Scene) -> None:
    key, before = new_key(), count(scene.managers[0])
    requests = [make_csr(key) for _ in range(20)]
    told = [answer for host in scene.managers for answer in ask(scene, host, requests, scene.secret)]
    assert len(set(told)) == 1, set(told)
    assert told[0][0] is Status.OK
    assert count(scene.managers[0]) == before + 1


def test_junk_makes_no_node(scene: Scene) -> None:
    before = count(scene.managers[0])
    huge = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    spoilt = bytearray(builder.sign(huge, hashes.SHA256()).public_bytes(Encoding.DER))
    spoilt[-1] ^= 1
    wrong = x509.load_der_x509_csr(bytes(spoilt)).public_bytes(Encoding.PEM)
    junk = [b"junk", b"x" * (MAX_CSR_BYTES + 1), b"x" * 60_000, wrong, make_csr(new_key())[:-40]]
    told = ask(scene, scene.managers[0], [junk[number % len(junk)] for number in range(JUNK)], scene.secret)
    assert {status for status, _ in told} == {Status.INVALID_ARGUMENT}
    assert count(scene.managers[0]) == before


def test_nodes_that_never_come_are_bounded_and_others_join(scene: Scene) -> None:
    before = count(scene.managers[0])
    # Keys of their own, or they would be one node; made beforehand, as an attacker would.
    requests = [make_csr(new_key()) for _ in range(CALLS)]
    half = CALLS // 2
    told = ask(scene, scene.managers[0], requests[:half], scene.secret)
    told += ask(scene, scene.managers[1], requests[half:], scene.secret)
    answers = Counter(status for status, _ in told)
    # One of this host is there from before.
    assert answers == {Status.OK: MAX_ABSENT_OF_HOST - 1, Status.RESOURCE_EXHAUSTED: CALLS - MAX_ABSENT_OF_HOST + 1}
    assert f"that joined from {scene.beside.address} have never come" in told[-1][1]
    assert count(scene.managers[0]) == before + MAX_ABSENT_OF_HOST - 1
    newcomer = scene.net.add("newcomer")
    join(newcomer, scene.managers[1], scene.secret)
    eventually(lambda: nodes(scene.managers[0]).get("newcomer") == "Ready", "others join", patience=60, every=0.5)


def test_a_new_token_ends_it(scene: Scene) -> None:
    manager = scene.managers[0]
    manager.docker("swarm", "join-token", "--rotate", "worker")
    (told,) = ask(scene, manager, [make_csr(new_key())], scene.secret)
    assert told == (Status.INVALID_ARGUMENT, "A valid join token is necessary to join this cluster")
