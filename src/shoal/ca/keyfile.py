"""The file with a node's private key: PEM with headers. With autolock, a key-encryption key (KEK) seals it.

In: bytes of the file, the KEK. Out: a `KeyFile`; and the other way round. A header holds the data key (DEK) that
encrypts the store's values; the same KEK seals it. Source: SwarmKit ca/keyreadwriter.go, manager/deks.go. The DEK is
sealed with Fernet, which SwarmKit uses under FIPS, because `cryptography` has no secretbox.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from google.protobuf.message import DecodeError

from shoal.api import v1 as api
from shoal.ca.identity import InvalidCertificate, PrivateKey
from shoal.errors import Unavailable

KEK_VERSION = "kek-version"
DATA_KEY = "raft-dek"
_LEGACY = ("proc-type", "dek-info")  # RFC 1423's headers, which belong to the sealed key and are none of ours
_BLOCK = re.compile(rb"\s*-----BEGIN ([A-Z ]+)-----\r?\n(.*?)-----END \1-----\s*", re.DOTALL)
_MAX_BYTES = 64 * 1024


class Locked(Unavailable):
    """The key file is sealed, and the unlock key is missing or wrong."""

    def __init__(self) -> None:
        super().__init__("node is locked, and needs a valid unlock key")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The content of a key file, unsealed. `kek` is None if the file is not sealed. `headers` are the unknown ones."""

    key: PrivateKey = field(repr=False)
    data_key: bytes | None = field(default=None, repr=False)
    kek: bytes | None = field(default=None, repr=False)
    kek_version: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_kek(self, kek: bytes | None, version: int) -> "KeyFile":
        """Return the file, to be sealed by another KEK. A lower version changes nothing.

        Raises InvalidCertificate for the same version with another key.
        """
        if version < self.kek_version:
            return self
        if version == self.kek_version and kek != self.kek:
            raise InvalidCertificate("the same version of the unlock key was given with another key")
        return replace(self, kek=kek, kek_version=version)


def parse_key_file(data: bytes, kek: bytes | None = None) -> KeyFile:
    """Return the content of a key file. Raises Locked, or InvalidCertificate if it is not a key file."""
    label, headers, body = _split(data)
    known = {name: headers.pop(name) for name in (KEK_VERSION, DATA_KEY) if name in headers}
    legacy = {name: headers.pop(name) for name in list(headers) if name.lower() in _LEGACY}
    sealed = label == "ENCRYPTED PRIVATE KEY" or bool(legacy)
    if sealed and kek is None:
        raise Locked
    lines = "".join(f"{name}: {value}\n" for name, value in legacy.items())
    head = f"-----BEGIN {label}-----\n{lines}" + ("\n" if lines else "")
    key = _open_key(head.encode() + body + f"-----END {label}-----\n".encode(), kek if sealed else None)
    version = known.get(KEK_VERSION, "0")
    if not version.isascii() or not version.isdigit():
        raise InvalidCertificate(f"the header {KEK_VERSION} is not a number")
    data_key = open_data_key(known[DATA_KEY], kek) if DATA_KEY in known else None
    return KeyFile(key, data_key, kek if sealed else None, int(version), headers)


def render_key_file(file: KeyFile) -> bytes:
    """Return the bytes of a key file, sealed if it has a KEK."""
    protection = BestAvailableEncryption(file.kek) if file.kek is not None else NoEncryption()
    pem = file.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    headers = {**file.headers, KEK_VERSION: str(file.kek_version)}
    if file.data_key is not None:
        headers[DATA_KEY] = seal_data_key(file.data_key, file.kek)
    first, _, rest = pem.partition(b"\n")
    lines = "".join(f"{name}: {value}\n" for name, value in sorted(headers.items()))
    return first + b"\n" + lines.encode() + b"\n" + rest


def seal_data_key(data_key: bytes, kek: bytes | None) -> str:
    """Return a data key as it stands in the header: base64 of a MaybeEncryptedRecord."""
    record = api.MaybeEncryptedRecord(data=data_key)
    if kek is not None:
        record.algorithm = api.MaybeEncryptedRecord.FERNET_AES_128_CBC
        record.data = Fernet(base64.urlsafe_b64encode(kek)).encrypt(data_key)
    return base64.b64encode(record.SerializeToString()).decode()


def open_data_key(value: str, kek: bytes | None) -> bytes:
    """Return the data key from a header's value. Raises Locked, or InvalidCertificate if it cannot be read."""
    try:
        record = api.MaybeEncryptedRecord.FromString(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError, DecodeError) as fault:
        raise InvalidCertificate(f"the header {DATA_KEY} cannot be read") from fault
    if record.algorithm == api.MaybeEncryptedRecord.NONE:
        return record.data
    if record.algorithm != api.MaybeEncryptedRecord.FERNET_AES_128_CBC:
        raise InvalidCertificate(f"the header {DATA_KEY} is sealed by an algorithm that we do not know")
    if kek is None:
        raise Locked
    try:
        return Fernet(base64.urlsafe_b64encode(kek)).decrypt(record.data)
    except (InvalidToken, ValueError) as fault:
        raise Locked from fault


def _split(data: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return a PEM block's label, its headers and its base64 body."""
    if len(data) > _MAX_BYTES:
        raise InvalidCertificate("the file is too large for a key file")
    block = _BLOCK.fullmatch(data)
    if block is None or not block[1].endswith(b"PRIVATE KEY"):
        raise InvalidCertificate("invalid PEM-encoded private key")
    head, separator, body = block[2].replace(b"\r\n", b"\n").partition(b"\n\n")
    if not separator:
        return block[1].decode(), {}, head
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            raise InvalidCertificate("invalid header in the PEM-encoded private key")
        headers[name.strip()] = value.strip()
    return block[1].decode(), headers, body


def _open_key(pem: bytes, password: bytes | None) -> PrivateKey:
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        # A wrong password yields bytes that are no key, which looks the same as a damaged file.
        if password is not None:
            raise Locked from fault
        raise InvalidCertificate("the private key cannot be read") from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidCertificate("the private key is neither ECDSA nor RSA")
    return key
