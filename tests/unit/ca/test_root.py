from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import InvalidCertificate, PrivateKey, read_chain
from shoal.ca.root import DEFAULT_NODE_LIFETIME, RootCA, check_root, create_root, key_to_pem, root_from_api
from tests.unit.ca.swarms import CLUSTER_ID, NOW


def leaf(root: RootCA, role: int = api.WORKER, lifetime: timedelta | None = None) -> x509.Certificate:
    pem = root.issue(make_csr(new_key()), "node", role, CLUSTER_ID, now=NOW, lifetime=lifetime)
    return read_chain(pem)[0]


def own_root(key: PrivateKey, algorithm: hashes.HashAlgorithm = hashes.SHA256()) -> RootCA:  # noqa: B008
    """Return a root as a user may bring it: with another name and without key identifiers."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our company")])
    start = datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, algorithm)  # type: ignore[arg-type]
    )
    return RootCA(certificate.public_bytes(Encoding.PEM), key_to_pem(key))


def test_a_fresh_root_has_swarms_profile() -> None:
    root = create_root(NOW)
    root.check(NOW)
    certificate = root.certificates[0]
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=swarm-ca"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(seconds=630_720_000)
    assert 4 * 60 <= NOW - certificate.not_valid_before_utc.timestamp() <= 6 * 60
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert not usage.digital_signature
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, None)
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())


@pytest.mark.parametrize(
    ("role", "unit", "names"),
    [
        (api.WORKER, "swarm-worker", ["swarm-worker", "node"]),
        (api.MANAGER, "swarm-manager", ["swarm-manager", "node", "swarm-ca"]),
    ],
)
def test_a_node_certificate_has_swarms_profile(role: int, unit: str, names: list[str]) -> None:
    root = create_root(NOW)
    certificate = leaf(root, role)
    assert certificate.subject.rfc4514_string() == f"CN=node,OU={unit},O={CLUSTER_ID}"
    extensions = certificate.extensions
    assert (
        extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == names
    )
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    signer = root.certificates[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert authority == signer.digest
    assert 0 < certificate.serial_number < 1 << 159
    assert 59 * 60 <= NOW - certificate.not_valid_before_utc.timestamp() <= 61 * 60


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, DEFAULT_NODE_LIFETIME),
        (timedelta(minutes=59), DEFAULT_NODE_LIFETIME),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(days=7), timedelta(days=7)),
    ],
)
def test_a_lifetime_under_an_hour_means_the_default(asked: timedelta | None, given: timedelta) -> None:
    certificate = leaf(create_root(NOW), lifetime=asked)
    assert abs(certificate.not_valid_after_utc.timestamp() - NOW - given.total_seconds()) <= 60


def test_the_names_that_a_request_asks_for_do_not_count() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(new_key(), hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    pem = create_root(NOW).issue(greedy, "node", api.WORKER, CLUSTER_ID, now=NOW)
    certificate = read_chain(pem)[0]
    assert certificate.subject.rfc4514_string() == f"CN=node,OU=swarm-worker,O={CLUSTER_ID}"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
    ],
)
def test_a_users_own_root_signs(key: PrivateKey) -> None:
    root = own_root(key, hashes.SHA384())
    root.check(NOW)
    leaf(root).verify_directly_issued_by(root.certificates[0])


def test_a_users_root_that_is_weak_or_not_its_own_is_refused() -> None:
    with pytest.raises(InvalidCertificate, match="RSA"):
        check_root(own_root(rsa.generate_private_key(65537, 1024)).certificates[0], NOW)
    with pytest.raises(InvalidCertificate, match="key algorithm"):
        check_root(own_root(ec.generate_private_key(ec.SECP224R1())).certificates[0], NOW)
    with pytest.raises(InvalidCertificate, match="unknown authority"):
        check_root(leaf(create_root(NOW)), NOW)
    with pytest.raises(InvalidCertificate, match="expired"):
        own_root(new_key()).check(NOW + 400 * 10 * 86400)


def test_a_key_of_another_root_is_refused() -> None:
    with pytest.raises(InvalidCertificate, match="does not belong"):
        RootCA(create_root(NOW).certs_pem, create_root(NOW).key_pem).check(NOW)


def test_the_cluster_object_gives_the_root_back() -> None:
    root = create_root(NOW)
    held = root_from_api(api.RootCA(ca_cert=root.certs_pem, ca_key=root.key_pem))
    assert held.digest == root.digest
    assert held.can_sign
    assert not root_from_api(api.RootCA(ca_cert=root.certs_pem)).can_sign


def test_during_a_rotation_the_new_key_signs_and_the_old_root_is_trusted() -> None:
    old, new = create_root(NOW), create_root(NOW)
    rotation = api.RootRotation(
        ca_cert=new.certs_pem, ca_key=new.key_pem, cross_signed_ca_cert=old.cross_sign(new.certs_pem)
    )
    root = root_from_api(api.RootCA(ca_cert=old.certs_pem, ca_key=old.key_pem, root_rotation=rotation))
    root.check(NOW)
    assert root.digest == old.digest
    chain = read_chain(root.issue(make_csr(new_key()), "n", api.WORKER, CLUSTER_ID, now=NOW))
    chain[0].verify_directly_issued_by(new.certificates[0])
    chain[1].verify_directly_issued_by(old.certificates[0])


def test_the_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(create_root(NOW))
