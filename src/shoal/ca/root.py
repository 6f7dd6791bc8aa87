"""The root CA of a swarm: makes it, reads and checks it, and signs with it.

In: PEM bytes (as in `api.RootCA`), the time. Out: PEM bytes. Source of the profiles of root and leaf certificates, and
of what is issued while a root rotation runs: SwarmKit ca/certificates.go.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shoal.api import v1 as api
from shoal.ca.csr import PublicKey, csr_public_key, new_key
from shoal.ca.identity import (
    CA_NAME,
    MANAGER_OU,
    InvalidCertificate,
    PrivateKey,
    is_ca,
    public_key_der,
    read_chain,
    unit_of,
    validate_chain,
)
from shoal.ca.tokens import root_digest

ROOT_LIFETIME = timedelta(seconds=630_720_000)  # 20 years
DEFAULT_NODE_LIFETIME = timedelta(hours=2160)  # 90 days
MIN_NODE_LIFETIME = timedelta(hours=1)
_ROOT_BACKDATE = timedelta(minutes=5)  # clocks of hosts differ
_NODE_BACKDATE = timedelta(hours=1)
_SIGNATURE_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_MIN_RSA_BITS = 2048


@dataclass(frozen=True)
class RootCA:
    """The certificates that a swarm trusts and, if it is here, the key that signs its nodes' certificates.

    `certs_pem` is the bundle that all nodes trust; tokens contain its digest. `signer_pem` is the certificate of the
    key. While a root rotation runs, it is the cross-signed certificate, which is then also in `intermediates_pem` and
    is sent along with every certificate.
    """

    certs_pem: bytes
    key_pem: bytes = field(default=b"", repr=False)
    signer_pem: bytes = b""
    intermediates_pem: bytes = b""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the bundle as 64 hex digits."""
        return root_digest(self.certs_pem)

    @property
    def can_sign(self) -> bool:
        """Return whether the signing key is here. With an external CA it is not."""
        return bool(self.key_pem)

    @cached_property
    def certificates(self) -> list[x509.Certificate]:
        """Return the trusted certificates. Raises InvalidCertificate."""
        return read_chain(self.certs_pem)

    @cached_property
    def _signer(self) -> tuple[x509.Certificate, PrivateKey]:
        certificate = read_chain(self.signer_pem or self.certs_pem)[0]
        key = load_key(self.key_pem)
        if public_key_der(certificate) != public_key_der(key):
            raise InvalidCertificate("certificate key mismatch: the CA key does not belong to the CA certificate")
        return certificate, key

    def check(self, now: float) -> None:
        """Check bundle, key and intermediates against Swarm's rules. Raises InvalidCertificate."""
        for certificate in self.certificates:
            check_root(certificate, now)
        if self.can_sign:
            signer, _ = self._signer
            validate_chain([signer], self.certificates, now)
        if self.intermediates_pem:
            validate_chain(read_chain(self.intermediates_pem), self.certificates, now)

    def issue(
        self,
        csr_pem: bytes,
        node_id: str,
        role: int,
        organization: str,
        *,
        now: float,
        lifetime: timedelta | None = None,
    ) -> bytes:
        """Return a node certificate, followed by the intermediates, as PEM. Raises InvalidCertificate, InvalidArgument.

        Only the public key of the request is used. A lifetime below one hour means the default of 90 days.
        """
        lifetime = lifetime if lifetime is not None and lifetime >= MIN_NODE_LIFETIME else DEFAULT_NODE_LIFETIME
        unit = unit_of(role)
        signer, key = self._signer
        leaf = _leaf(csr_public_key(csr_pem), node_id, unit, organization, signer, _minute(now), lifetime)
        return leaf.sign(key, _hash_for(key)).public_bytes(Encoding.PEM) + self.intermediates_pem

    def cross_sign(self, other_pem: bytes) -> bytes:
        """Return another root's certificate, signed by this root's key, as PEM. Subject, key and times stay.

        Raises InvalidCertificate.
        """
        other = read_chain(other_pem)[0]
        if not is_ca(other):
            raise InvalidCertificate("certificate not a CA")
        signer, key = self._signer
        builder = _builder(other.subject, signer.subject, other.public_key())  # type: ignore[arg-type]
        builder = builder.not_valid_before(other.not_valid_before_utc).not_valid_after(other.not_valid_after_utc)
        for extension in other.extensions:
            if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
                builder = builder.add_extension(extension.value, extension.critical)
        builder = builder.add_extension(_authority_of(signer), critical=False)
        return builder.sign(key, _hash_for(key)).public_bytes(Encoding.PEM)


def create_root(now: float) -> RootCA:
    """Return a new root: P-256, self-signed, valid for 20 years."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)])
    start = _minute(now) - _ROOT_BACKDATE
    certificate = (
        _builder(name, name, key.public_key())
        .not_valid_before(start)
        .not_valid_after(start + ROOT_LIFETIME)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    return RootCA(pem, key_to_pem(key), pem)


def root_from_api(root_ca: api.RootCA) -> RootCA:
    """Return the root of a cluster object. While a rotation runs, the new key signs and the old root is trusted.

    Nothing is checked here; `check` and `issue` raise if the root is wrong.
    """
    if root_ca.HasField("root_rotation"):
        rotation = root_ca.root_rotation
        cross = rotation.cross_signed_ca_cert
        return RootCA(root_ca.ca_cert, rotation.ca_key, cross, cross)
    return RootCA(root_ca.ca_cert, root_ca.ca_key, root_ca.ca_cert)


def check_root(certificate: x509.Certificate, now: float) -> None:
    """Check that Swarm accepts a root certificate, made here or by a user. Raises InvalidCertificate."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _MIN_RSA_BITS:
            raise InvalidCertificate("unsupported RSA key parameters")
    elif not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise InvalidCertificate("unsupported key algorithm: only ECDSA P-256, P-384, P-521 and RSA are")
    if not isinstance(certificate.signature_hash_algorithm, _SIGNATURE_HASHES):
        raise InvalidCertificate("unsupported signature algorithm")
    validate_chain([certificate], [certificate], now)


def load_key(pem: bytes) -> PrivateKey:
    """Return a private key from unprotected PEM. Raises InvalidCertificate."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise InvalidCertificate("the private key cannot be read") from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidCertificate("the private key is neither ECDSA nor RSA")
    return key


def key_to_pem(key: PrivateKey) -> bytes:
    """Return a private key as unprotected PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _leaf(
    public_key: PublicKey,
    node_id: str,
    unit: str,
    organization: str,
    signer: x509.Certificate,
    start: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, node_id),
        ]
    )
    # A joining node expects the name swarm-ca at its first connection, so no node could join a manager without it.
    names = [unit, node_id, *([CA_NAME] if unit == MANAGER_OU else [])]
    return (
        _builder(subject, signer.subject, public_key)
        .not_valid_before(start - _NODE_BACKDATE)
        .not_valid_after(start + lifetime)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_of(signer), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )


def _builder(subject: x509.Name, issuer: x509.Name, public_key: PublicKey) -> x509.CertificateBuilder:
    serial = int.from_bytes(secrets.token_bytes(20), "big") & ((1 << 159) - 1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial or 1)
    )


def _authority_of(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.key_size > 384:
            return hashes.SHA512()
        if key.curve.key_size > 256:
            return hashes.SHA384()
    return hashes.SHA256()


def _minute(now: float) -> datetime:
    return datetime.fromtimestamp(round(now / 60) * 60, UTC)
