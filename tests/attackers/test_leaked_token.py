"""A worker's join token in the wrong hands: somebody makes nodes that never register, as fast as possible."""

import asyncio
import json
import ssl
import time
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
from tests.cluster.swarms import join, make_swarm, nodes, token
from tests.cluster.test_failover import wait_statuses, write
from tests.cluster.test_stolen import channel
from tests.harness.hosts import Host, eventually
from tests.harness.inside import play
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

TIMEOUT = 30.0
FLOOD = 400
JUNK = 150
# A stranger's connection carries 16 calls at a time and 100 before it is sent away (manager/port/allowances.py).
AT_ONCE = 16
OF_A_CONNECTION = 80


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
    """Ask for certificates, as many at once as a stranger may. Returns the statuses, each with the node's id or the
    error text.
    """

    async def story() -> list[tuple[Status, str]]:
        found: list[tuple[Status, str]] = []
        for begin in range(0, len(requests), OF_A_CONNECTION):
            async with channel(at, scene.context, CA_SERVER_NAME) as opened:
                stub, left = NodeCAStub(opened), iter(requests[begin : begin + OF_A_CONNECTION])

                async def work(stub: NodeCAStub = stub, left: Iterator[bytes] = left) -> None:
                    for csr in left:
                        request = api.IssueNodeCertificateRequest(csr=csr, token=secret)
                        try:
                            answer = await stub.IssueNodeCertificate(request, timeout=TIMEOUT)
                            found.append((Status.OK, answer.node_id))
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
    junk = [b"junk", b"x" * (MAX_CSR_BYTES + 1), b"x" * 20_000, wrong, make_csr(new_key())[:-40]]
    told = ask(scene, scene.managers[0], [junk[number % len(junk)] for number in range(JUNK)], scene.secret)
    assert {status for status, _ in told} == {Status.INVALID_ARGUMENT}
    assert count(scene.managers[0]) == before


def test_a_flood_makes_no_more_nodes_than_it_has_answers_and_others_join(scene: Scene) -> None:
    """The limits, 2,000 from a host and 5,000 in all, are tested in unit/manager/certificates, test_absent.py and
    test_issuing.py.
    """
    before = count(scene.managers[0])
    # Each with a key of its own, or they would be one node. The keys are made beforehand, as an attacker would do.
    requests = [make_csr(new_key()) for _ in range(FLOOD)]
    begun = time.monotonic()
    told = ask(scene, scene.managers[0], requests[: FLOOD // 2], scene.secret)
    told += ask(scene, scene.managers[1], requests[FLOOD // 2 :], scene.secret)
    answers = Counter(status for status, _ in told)
    assert set(answers) <= {Status.OK, Status.UNAVAILABLE}, answers  # another manager may become the leader meanwhile
    made = count(scene.managers[0]) - before
    assert answers[Status.OK] <= made <= FLOOD
    # All strangers of a host together get a twentieth of each second: at most this many calls.
    assert made < 100 * (time.monotonic() - begun) + 2 * OF_A_CONNECTION
    newcomer = scene.net.add("newcomer")
    join(newcomer, scene.managers[1], scene.secret)
    eventually(lambda: nodes(scene.managers[0]).get("newcomer") == "Ready", "others join", patience=60, every=0.5)


def test_a_new_token_ends_it(scene: Scene) -> None:
    manager = scene.managers[0]
    manager.docker("swarm", "join-token", "--rotate", "worker")
    (told,) = ask(scene, manager, [make_csr(new_key())], scene.secret)
    assert told == (Status.INVALID_ARGUMENT, "A valid join token is necessary to join this cluster")
