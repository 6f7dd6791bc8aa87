"""Keys of nodes and their certificate requests. Only the public key of a request is used."""

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shoal.ca.identity import UNREADABLE, InvalidCertificate

# A request has about 500 bytes with a P-256 key, and 3 kB with the largest RSA key that is accepted.
MAX_CSR_BYTES = 4 * 1024
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192  # the signature of a larger key takes a manager too long to check
# As long as the modulus, an exponent makes that fifty times as long. Everybody has 65537, or 3.
_MAX_RSA_EXPONENT_BITS = 32

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate request for a key, with an empty subject, as PEM."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def csr_public_key(pem: bytes) -> PublicKey:
    """Return the public key of a request. Raises InvalidCertificate, also when the request's signature is wrong."""
    if len(pem) > MAX_CSR_BYTES:
        raise InvalidCertificate(f"certificate request is larger than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        # Checked before the signature, because checking the signature of a huge key is expensive.
        if not isinstance(key, ec.EllipticCurvePublicKey) and not (
            isinstance(key, rsa.RSAPublicKey) and _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS
        ):
            raise InvalidCertificate(
                "certificate request: only ECDSA keys and RSA keys of 2048 to 8192 bits can be signed"
            )
        if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e.bit_length() > _MAX_RSA_EXPONENT_BITS:
            raise InvalidCertificate(
                f"certificate request: the RSA key's exponent has more than {_MAX_RSA_EXPONENT_BITS} bits"
            )
        if not request.is_signature_valid:
            raise InvalidCertificate("certificate request: the signature is wrong")
    except (*UNREADABLE, InvalidSignature) as fault:
        raise InvalidCertificate(f"certificate request cannot be read: {fault}") from fault
    return key


def csr_key(pem: bytes) -> bytes:
    """Return a digest of a request's public key. The signature is not checked. Empty if the request cannot be read."""
    try:
        key = x509.load_pem_x509_csr(pem).public_key()
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    except UNREADABLE:
        return b""
