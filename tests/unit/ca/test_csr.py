from math import gcd

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from shoal.ca.csr import MAX_CSR_BYTES, csr_key, csr_public_key, make_csr, new_key
from shoal.ca.identity import InvalidCertificate
from tests.unit.ca.swarms import bent


def request(key: object) -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def test_the_key_of_a_request_is_its_makers() -> None:
    key = new_key()
    assert isinstance(key.curve, ec.SECP256R1)
    assert csr_public_key(make_csr(key)) == key.public_key()


def test_the_old_name_of_a_request_is_understood() -> None:
    pem = make_csr(new_key()).replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
    csr_public_key(pem)


def test_an_rsa_key_is_signed() -> None:
    csr_public_key(request(rsa.generate_private_key(65537, 2048)))


def test_a_weak_or_strange_key_is_refused() -> None:
    with pytest.raises(InvalidCertificate, match="2048 to 8192"):
        csr_public_key(request(rsa.generate_private_key(65537, 1024)))
    with pytest.raises(InvalidCertificate, match="2048 to 8192"):
        csr_public_key(request(ed25519.Ed25519PrivateKey.generate()))


def with_exponent(bits: int) -> rsa.RSAPrivateKey:
    """Return a key of 2048 bits with a public exponent of so many, which a key maker would not choose."""
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    p, q, exponent = numbers.p, numbers.q, (1 << bits - 1) + 1
    order = (p - 1) * (q - 1)
    while gcd(exponent, order) != 1:
        exponent += 2
    own = pow(exponent, -1, order)
    public = rsa.RSAPublicNumbers(exponent, p * q)
    return rsa.RSAPrivateNumbers(p, q, own, own % (p - 1), own % (q - 1), numbers.iqmp, public).private_key()


def test_a_key_whose_signatures_are_slow_to_check_is_refused() -> None:
    csr_public_key(request(with_exponent(31)))
    for bits in (40, 2047):
        with pytest.raises(InvalidCertificate, match="exponent has more than 32 bits"):
            csr_public_key(request(with_exponent(bits)))


def test_a_request_with_a_wrong_signature_is_refused() -> None:
    der = bytearray(x509.load_pem_x509_csr(make_csr(new_key())).public_bytes(Encoding.DER))
    der[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidCertificate, match="signature is wrong"):
        csr_public_key(pem)


def test_the_kind_of_a_key_is_looked_at_before_its_signature() -> None:
    der = bytearray(x509.load_pem_x509_csr(request(rsa.generate_private_key(65537, 1024))).public_bytes(Encoding.DER))
    der[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidCertificate, match="2048 to 8192"):
        csr_public_key(pem)


def test_two_requests_of_one_key_are_told_by_it() -> None:
    key = new_key()
    assert csr_key(make_csr(key)) == csr_key(make_csr(key)) != csr_key(make_csr(new_key()))
    assert csr_key(b"junk") == b""


def test_a_huge_request_is_refused_unread() -> None:
    with pytest.raises(InvalidCertificate, match="larger"):
        csr_public_key(b" " * (MAX_CSR_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        csr_public_key(data)


CSR = make_csr(new_key())


@given(st.integers(0, len(CSR) - 1), st.integers(0, 255))
def test_a_request_with_one_wrong_byte_is_read_or_refused(place: int, byte: int) -> None:
    spoilt = CSR[:place] + bytes([byte]) + CSR[place + 1 :]
    try:
        csr_public_key(spoilt)
    except InvalidCertificate:
        assert spoilt != CSR


def test_a_request_with_a_wrong_byte_within_is_read_or_refused() -> None:
    der = x509.load_pem_x509_csr(CSR).public_bytes(Encoding.DER)
    refused = 0
    for pem in bent("CERTIFICATE REQUEST", der):
        csr_key(pem)
        try:
            csr_public_key(pem)
        except InvalidCertificate:
            refused += 1
    assert refused > 4 * len(der)  # of five changes for each byte; the signature covers everything except its own frame
