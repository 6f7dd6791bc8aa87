"""Reads what a certificate says about a node, and checks whether it is valid here.

In: PEM bytes, the time. Out: an `Identity`, or `InvalidCertificate` with the reason. Source: SwarmKit
ca/certificates.go (`ValidateCertChain`), ca/transport.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from shoal.api import v1 as api
from shoal.errors import InvalidArgument

MANAGER_OU = "swarm-manager"
WORKER_OU = "swarm-worker"
CA_NAME = "swarm-ca"
_ROLES = {MANAGER_OU: api.MANAGER, WORKER_OU: api.WORKER}
_UNITS = {role: unit for unit, role in _ROLES.items()}

# What `cryptography` raises for a certificate that it cannot read. Some of these come only when a key, a name or an
# extension is accessed.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class InvalidCertificate(InvalidArgument):
    """A certificate, a chain or a request that cannot be read or believed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a node certificate is for, and when it is valid. Instants are seconds since 1970."""

    node_id: str
    role: api.NodeRole
    organization: str
    not_before_at: float
    not_after_at: float


def unit_of(role: int) -> str:
    """Return the organizational unit that stands for a role. Raises InvalidArgument for a number that is no role."""
    for known, unit in _UNITS.items():
        if known == role:
            return unit
    raise InvalidArgument(f"failed to parse role {role}")


def read_chain(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates in PEM text, in order; at least one. Raises InvalidCertificate.

    Keys, names and times of the returned certificates are readable; their extensions may not be.
    """
    try:
        chain = x509.load_pem_x509_certificates(pem)
        for certificate in chain:
            _read_through(certificate)
    except UNREADABLE as fault:
        raise InvalidCertificate(f"not a PEM certificate: {fault}") from fault
    return chain


def normalized(pem: bytes) -> bytes:
    """Return the certificates in PEM text as canonical PEM, with nothing between them. Raises InvalidCertificate."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in read_chain(pem))


def identity_of(certificate: x509.Certificate) -> Identity:
    """Return whom a node certificate is for. Raises InvalidCertificate if a name is missing or the role unknown."""
    node_id = _only(certificate, NameOID.COMMON_NAME, "common name")
    unit = _only(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME, "organizational unit")
    organization = _only(certificate, NameOID.ORGANIZATION_NAME, "organization")
    role = _ROLES.get(unit)
    if role is None:
        raise InvalidCertificate(f"certificate has an unknown role: {unit}")
    return Identity(
        node_id,
        role,
        organization,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def validate_chain(
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: float,
    *,
    any_time: bool = False,
) -> None:
    """Check that each certificate is signed by the next, that one of `roots` signed one of them, and the times of all.

    Any certificate of the chain may be the one that a root signed, not only the last: after a root rotation a node
    still shows the cross-signed certificate after its own, which the new root signed directly. `any_time` skips the
    check of times. It is for a node's own files: the node may have been off for long, or its clock may be wrong, and
    neither means that the files are damaged. Peers check the times by their own clocks. Raises InvalidCertificate.
    """
    for certificate in chain:
        _check_time(certificate, now, any_time=any_time)
    for signed, signer in pairwise(chain):
        _check_issuer_is_ca(signer)
        _check_signature(signed, signer)
    failure: InvalidCertificate | None = None
    for certificate in chain:
        for root in roots:
            try:
                _check_signature(certificate, root)
            except InvalidCertificate as fault:
                failure = fault
                continue
            _check_time(root, now, any_time=any_time)
            return
    raise InvalidCertificate("certificate signed by unknown authority") from failure


def issuer_of(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> tuple[bytes, bytes]:
    """Return DER subject and public key of the signer of the first certificate. Raises InvalidCertificate."""
    for signer in (*chain[1:2], *roots):
        if chain[0].issuer == signer.subject:
            return signer.subject.public_bytes(), public_key_der(signer)
    raise InvalidCertificate("certificate signed by unknown authority")


def public_key_der(holder: x509.Certificate | PrivateKey) -> bytes:
    """Return a public key as DER SubjectPublicKeyInfo, by which keys are compared."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read_through(certificate: x509.Certificate) -> None:
    """Access the parts that `cryptography` parses only on access. Raises one of UNREADABLE."""
    certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for name in (certificate.subject, certificate.issuer):
        name.public_bytes()
    _ = certificate.signature_hash_algorithm
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _only(certificate: x509.Certificate, oid: x509.ObjectIdentifier, what: str) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    if len(values) != 1 or not values[0].value:
        raise InvalidCertificate(f"certificate does not name exactly one {what}")
    return str(values[0].value)


def _check_time(certificate: x509.Certificate, now: float, *, any_time: bool) -> None:
    if any_time:
        return
    here = f", and this host's clock says {datetime.fromtimestamp(now, UTC).isoformat(timespec='seconds')}"
    if now < certificate.not_valid_before_utc.timestamp():
        raise InvalidCertificate(f"certificate not valid before {certificate.not_valid_before_utc.isoformat()}{here}")
    if now > certificate.not_valid_after_utc.timestamp():
        raise InvalidCertificate(f"certificate expired at {certificate.not_valid_after_utc.isoformat()}{here}")


def is_ca(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _check_issuer_is_ca(signer: x509.Certificate) -> None:
    if not is_ca(signer):
        raise InvalidCertificate("an intermediate certificate is not one of a CA")


def _check_signature(signed: x509.Certificate, signer: x509.Certificate) -> None:
    try:
        signed.verify_directly_issued_by(signer)
    except (*UNREADABLE, InvalidSignature) as fault:
        raise InvalidCertificate("certificate signed by unknown authority") from fault
