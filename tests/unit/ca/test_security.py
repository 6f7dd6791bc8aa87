import ssl
import time
from datetime import timedelta
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import InvalidCertificate, public_key_der
from shoal.ca.keyfile import Locked
from shoal.ca.root import create_root
from shoal.ca.security import (
    CA_SERVER_NAME,
    MANAGER_SERVER_NAME,
    SecurityConfig,
    joining_context,
    unverified_context,
)
from shoal.errors import DamagedState
from tests.unit.ca.swarms import CLUSTER_ID, NOW, Swarm


class Wire:
    """Both ends of a TLS connection, in memory."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name)

    def shake(self) -> None:
        done = [False, False]
        for _ in range(10):
            for place, end in enumerate((self.client, self.server)):
                if not done[place]:
                    try:
                        end.do_handshake()
                        done[place] = True
                    except ssl.SSLWantReadError:
                        pass
        assert all(done)

    def client_name(self) -> str:
        certificate = self.server.getpeercert()
        assert certificate
        return dict(pair for relative in certificate["subject"] for pair in relative)["commonName"]  # type: ignore[misc]


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:

    return Swarm(tmp_path, now=time.time())


async def renewed(swarm: Swarm, held: SecurityConfig, role: int = api.MANAGER) -> SecurityConfig:
    key = new_key()
    chain = swarm.root.issue(make_csr(key), held.node_id, role, swarm.cluster_id, now=swarm.now)
    await held.renew(chain, key, swarm.now)
    return held


def test_a_node_and_a_manager_know_each_other(swarm: Swarm) -> None:
    wire = Wire(swarm.manager().server_context(), swarm.node("worker").client_context(), MANAGER_SERVER_NAME)
    wire.shake()
    assert wire.client_name() == "worker"
    assert wire.server.selected_alpn_protocol() == wire.client.selected_alpn_protocol() == "h2"
    assert wire.client.version() == "TLSv1.3"


def test_tls_1_2_takes_only_the_suites_of_swarm(swarm: Swarm) -> None:
    client = swarm.node("worker").client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    wire = Wire(swarm.manager().server_context(), client, MANAGER_SERVER_NAME)
    wire.shake()
    cipher = wire.client.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-ECDSA-")
    client.set_ciphers("ECDHE+AES:!AESGCM:!AESCCM")  # only CBC
    with pytest.raises(ssl.SSLError):
        Wire(swarm.manager("m2").server_context(), client, MANAGER_SERVER_NAME).shake()


def test_a_joiner_connects_without_a_certificate(swarm: Swarm) -> None:
    wire = Wire(swarm.manager().server_context(), joining_context(swarm.root.certs_pem), CA_SERVER_NAME)
    wire.shake()
    assert wire.server.getpeercert() is None
    Wire(swarm.manager("m2").server_context(), unverified_context(), None).shake()


def test_a_worker_is_no_ca_and_no_manager(swarm: Swarm) -> None:
    for name in (CA_SERVER_NAME, MANAGER_SERVER_NAME):
        wire = Wire(swarm.node(f"w-{name}").server_context(), joining_context(swarm.root.certs_pem), name)
        with pytest.raises(ssl.SSLCertVerificationError):
            wire.shake()


def test_a_node_of_another_swarm_is_refused_by_both_sides(swarm: Swarm, tmp_path: Path) -> None:
    other = Swarm(tmp_path / "other", now=swarm.now)
    with pytest.raises(ssl.SSLCertVerificationError):
        Wire(other.manager().server_context(), swarm.node("w").client_context(), MANAGER_SERVER_NAME).shake()
    foreign = other.node("w").client_context()
    foreign.check_hostname, foreign.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        Wire(swarm.manager().server_context(), foreign, None).shake()


async def test_a_renewal_shows_in_contexts_that_were_handed_out_before(swarm: Swarm) -> None:
    manager, node = swarm.manager(), swarm.node("node")
    server, client = manager.server_context(), node.client_context()
    await renewed(swarm, node)
    await renewed(swarm, manager)
    assert node.is_manager
    wire = Wire(server, client, MANAGER_SERVER_NAME)
    wire.shake()
    seen = wire.server.getpeercert(True)
    assert seen == ssl.PEM_cert_to_DER_cert(node.chain_pem.decode())


async def test_a_renewal_is_on_disk_with_the_data_key_kept(swarm: Swarm) -> None:
    node = swarm.node("node")
    data_key = node.data_key
    assert data_key is not None
    assert len(data_key) == 32
    await renewed(swarm, node)
    again = SecurityConfig.load(swarm.folder / "node", swarm.now)
    assert again is not None
    assert (again.chain_pem, again.data_key, again.identity) == (node.chain_pem, data_key, node.identity)


async def test_a_certificate_that_is_not_for_us_changes_nothing(swarm: Swarm, tmp_path: Path) -> None:
    node = swarm.node("node")
    before = node.chain_pem
    other = create_root(swarm.now)
    key = new_key()
    foreign = other.issue(make_csr(key), "node", api.WORKER, swarm.cluster_id, now=swarm.now)
    with pytest.raises(InvalidCertificate, match="unknown authority"):
        await node.renew(foreign, key, swarm.now)
    ours = swarm.root.issue(make_csr(key), "node", api.WORKER, swarm.cluster_id, now=swarm.now)
    with pytest.raises(InvalidCertificate, match="does not belong to the private key"):
        await node.renew(ours, new_key(), swarm.now)
    again = SecurityConfig.load(swarm.folder / "node", swarm.now)
    assert again is not None
    assert node.chain_pem == again.chain_pem == before


async def test_a_new_root_is_taken_over_if_our_certificate_holds_under_it(swarm: Swarm) -> None:
    node = swarm.node("node")
    bundle = swarm.root.certs_pem + create_root(swarm.now).certs_pem
    assert not await node.trust(swarm.root.certs_pem, swarm.now)
    assert await node.trust(bundle, swarm.now)
    assert node.tls_info().trust_root == bundle
    again = SecurityConfig.load(swarm.folder / "node", swarm.now)
    assert again is not None
    assert again.root_pem == bundle
    with pytest.raises(InvalidCertificate, match="unknown authority"):
        await node.trust(create_root(swarm.now).certs_pem, swarm.now)
    assert node.root_pem == bundle
    Wire(swarm.manager().server_context(), node.client_context(), MANAGER_SERVER_NAME).shake()


async def test_autolock_seals_the_file_and_a_renewal_keeps_it_sealed(swarm: Swarm) -> None:
    kek, folder = b"k" * 32, swarm.folder / "manager"
    manager = swarm.manager()
    await manager.set_kek(kek, 5)
    await renewed(swarm, manager)
    with pytest.raises(Locked):
        SecurityConfig.load(folder, swarm.now)
    opened = SecurityConfig.load(folder, swarm.now, kek)
    assert opened is not None
    assert (opened.data_key, opened.kek_version) == (manager.data_key, 5)
    await opened.set_kek(None, 4)  # older roots
    with pytest.raises(Locked):
        SecurityConfig.load(folder, swarm.now)
    await opened.set_kek(None, 6)
    assert SecurityConfig.load(folder, swarm.now) is not None


async def test_another_data_key_survives_a_restart(swarm: Swarm) -> None:
    manager = swarm.manager()
    await manager.set_data_key(b"x" * 32)
    again = SecurityConfig.load(swarm.folder / "manager", swarm.now)
    assert again is not None
    assert again.data_key == b"x" * 32


def test_an_expired_certificate_still_says_who_we_were(tmp_path: Path) -> None:
    Swarm(tmp_path).node("node")
    again = SecurityConfig.load(tmp_path / "node", NOW + timedelta(days=200).total_seconds())
    assert again is not None
    assert again.identity.not_after_at < NOW + timedelta(days=200).total_seconds()
    assert again.cluster_id == CLUSTER_ID


def test_files_of_two_swarms_are_a_damaged_state(tmp_path: Path) -> None:
    Swarm(tmp_path).node("node")
    (tmp_path / "node" / "swarm-root-ca.crt").write_bytes(create_root(NOW).certs_pem)
    with pytest.raises(DamagedState, match=r"swarm-node.crt is damaged .*unknown authority"):
        SecurityConfig.load(tmp_path / "node", NOW)
    assert SecurityConfig.load(tmp_path / "nothing", NOW) is None


def test_the_description_names_the_issuer(swarm: Swarm) -> None:
    info = swarm.node("node").tls_info()
    root = swarm.root.certificates[0]
    assert info.trust_root == swarm.root.certs_pem
    assert info.cert_issuer_subject == root.subject.public_bytes()
    assert info.cert_issuer_public_key == public_key_der(root)
