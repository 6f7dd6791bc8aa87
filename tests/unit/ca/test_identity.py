import contextlib
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import (
    CA_NAME,
    InvalidCertificate,
    PrivateKey,
    identity_of,
    is_ca,
    issuer_of,
    public_key_der,
    read_chain,
    unit_of,
    validate_chain,
)
from shoal.ca.root import create_root
from shoal.errors import InvalidArgument
from tests.unit.ca.swarms import CLUSTER_ID, NOW, bent

ROOT = create_root(NOW)
KEY = new_key()
LEAF = read_chain(ROOT.issue(make_csr(KEY), "node", api.WORKER, CLUSTER_ID, now=NOW))


def test_a_node_certificate_says_who_where_and_when() -> None:
    identity = identity_of(LEAF[0])
    assert (identity.node_id, identity.role, identity.organization) == ("node", api.WORKER, CLUSTER_ID)
    assert identity.not_before_at < NOW < identity.not_after_at


def test_a_root_is_nobodys_identity() -> None:
    with pytest.raises(InvalidCertificate, match="exactly one organizational unit"):
        identity_of(ROOT.certificates[0])


def test_a_chain_is_believed_under_its_own_root_and_in_its_time() -> None:
    validate_chain(LEAF, ROOT.certificates, NOW)
    other = create_root(NOW)
    with pytest.raises(InvalidCertificate, match="unknown authority"):
        validate_chain(LEAF, other.certificates, NOW)
    validate_chain(LEAF, [*other.certificates, *ROOT.certificates], NOW)
    late = NOW + timedelta(days=91).total_seconds()
    with pytest.raises(InvalidCertificate, match="expired"):
        validate_chain(LEAF, ROOT.certificates, late)
    with pytest.raises(InvalidCertificate, match=r"not valid before .*, and this host's clock says 2026-"):
        validate_chain(LEAF, ROOT.certificates, NOW - 7200)
    century = timedelta(days=36_500).total_seconds()
    for moment in (late, NOW - century, NOW + century):
        validate_chain(LEAF, ROOT.certificates, moment, any_time=True)
        with pytest.raises(InvalidCertificate, match="unknown authority"):
            validate_chain(LEAF, other.certificates, moment, any_time=True)


def test_a_node_cannot_act_as_an_intermediate() -> None:
    forged = create_root(NOW)
    fake = type(ROOT)(ROOT.certs_pem, forged.key_pem)
    with pytest.raises(InvalidCertificate, match="does not belong"):
        fake.issue(make_csr(KEY), "evil", api.MANAGER, CLUSTER_ID, now=NOW)
    with pytest.raises(InvalidCertificate, match="not one of a CA"):
        validate_chain([LEAF[0], LEAF[0]], ROOT.certificates, NOW)


def test_while_a_root_is_rotated_old_and_new_nodes_are_believed_under_the_old_root() -> None:
    new = create_root(NOW)
    cross = ROOT.cross_sign(new.certs_pem)
    rotating = type(ROOT)(ROOT.certs_pem, new.key_pem, cross, cross)
    rotating.check(NOW)
    chain = read_chain(rotating.issue(make_csr(KEY), "node", api.WORKER, CLUSTER_ID, now=NOW))
    assert len(chain) == 2
    validate_chain(chain, ROOT.certificates, NOW)
    validate_chain(chain, new.certificates, NOW)  # as on a node after the new root has become the swarm's
    with pytest.raises(InvalidCertificate, match="unknown authority"):
        validate_chain(chain, create_root(NOW).certificates, NOW)
    subject, public_key = issuer_of(chain, ROOT.certificates)
    assert subject == new.certificates[0].subject.public_bytes()
    assert public_key == public_key_der(new.certificates[0])


def test_bytes_that_are_no_certificate_are_refused() -> None:
    for data in (b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(InvalidCertificate):
            read_chain(data)


@pytest.mark.parametrize("key", [new_key(), rsa.generate_private_key(65537, 2048)], ids=["ecdsa", "rsa"])
def test_a_certificate_with_a_wrong_byte_is_read_whole_or_refused(key: PrivateKey) -> None:
    """Loading is not enough: its key, names and times are read later, where nobody expects an error."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)])
    start = datetime.fromtimestamp(NOW, UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, start, start + timedelta(days=90))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of serial numbers
        for pem in bent("CERTIFICATE", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)):
            try:
                certificate = read_chain(pem)[0]
            except InvalidCertificate:
                refused += 1
                continue
            public_key_der(certificate)
            is_ca(certificate)
            with contextlib.suppress(InvalidCertificate):
                validate_chain([certificate], [certificate], NOW)
    assert refused > 0


def test_only_two_roles_have_a_unit() -> None:
    assert [unit_of(role) for role in (api.WORKER, api.MANAGER)] == ["swarm-worker", "swarm-manager"]
    with pytest.raises(InvalidArgument):
        unit_of(7)


def test_the_issuer_is_found_by_name(tmp_path: Path) -> None:
    subject, public_key = issuer_of(LEAF, ROOT.certificates)
    assert x509.load_pem_x509_certificate(ROOT.certs_pem).subject.public_bytes() == subject
    assert public_key == public_key_der(ROOT.certificates[0])
