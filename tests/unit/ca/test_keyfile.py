import base64

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from shoal.ca.csr import new_key
from shoal.ca.identity import InvalidCertificate, public_key_der
from shoal.ca.keyfile import KeyFile, Locked, parse_key_file, render_key_file

KEK = b"\0" * 31 + b"k"
DATA_KEY = b"d" * 32
KEY = new_key()
PLAIN = render_key_file(KeyFile(KEY, DATA_KEY))
SEALED = render_key_file(KeyFile(KEY, DATA_KEY, KEK, 9))


def test_an_unsealed_file_has_its_headers_in_the_open() -> None:
    lines = PLAIN.decode().splitlines()
    assert lines[0] == "-----BEGIN PRIVATE KEY-----"
    assert lines[1] == "kek-version: 0"
    record = base64.b64decode(lines[2].removeprefix("raft-dek: "))
    assert DATA_KEY in record
    assert lines[3] == ""


def test_what_was_written_is_read() -> None:
    for data, kek, version in ((PLAIN, None, 0), (SEALED, KEK, 9)):
        file = parse_key_file(data, kek)
        assert public_key_der(file.key) == public_key_der(KEY)
        assert (file.data_key, file.kek, file.kek_version) == (DATA_KEY, kek, version)
        assert parse_key_file(render_key_file(file), kek).data_key == DATA_KEY


def test_an_unsealed_file_opens_whatever_key_is_given() -> None:
    assert parse_key_file(PLAIN, KEK).kek is None


def test_a_sealed_file_shows_neither_key() -> None:
    assert SEALED.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert base64.b64encode(DATA_KEY)[:40] not in SEALED


@pytest.mark.parametrize("kek", [None, b"x" * 32])
def test_a_sealed_file_needs_its_key(kek: bytes | None) -> None:
    with pytest.raises(Locked, match=r"^node is locked, and needs a valid unlock key$"):
        parse_key_file(SEALED, kek)


def test_headers_of_others_are_kept() -> None:
    data = PLAIN.replace(b"kek-version: 0\n", b"kek-version: 0\nraft-dek-needs-rotation: true\n")
    assert b"raft-dek-needs-rotation: true" in render_key_file(parse_key_file(data))


def test_a_file_without_headers_is_read() -> None:
    pem = b"".join(line + b"\n" for line in PLAIN.splitlines() if b":" not in line and line)
    file = parse_key_file(pem)
    assert (file.data_key, file.kek_version) == (None, 0)


def test_the_old_way_of_sealing_is_read() -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"p" * 32))
    assert b"Proc-Type" in pem
    data = pem.replace(b"Proc-Type", b"kek-version: 4\nProc-Type")
    file = parse_key_file(data, b"p" * 32)
    assert public_key_der(file.key) == public_key_der(KEY)
    assert file.kek_version == 4
    with pytest.raises(Locked):
        parse_key_file(data)


def test_a_newer_unlock_key_replaces_an_older_one_only() -> None:
    file = parse_key_file(SEALED, KEK)
    assert file.with_kek(b"n" * 32, 10).kek == b"n" * 32
    assert file.with_kek(None, 10).kek is None
    assert file.with_kek(b"n" * 32, 8) is file
    assert file.with_kek(KEK, 9).kek == KEK
    with pytest.raises(InvalidCertificate):
        file.with_kek(b"n" * 32, 9)


def test_no_key_is_shown() -> None:
    shown = repr(parse_key_file(SEALED, KEK))
    assert "dddd" not in shown
    assert "\\x00" not in shown


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        parse_key_file(data)


@pytest.mark.parametrize("whole", [PLAIN, SEALED])
@given(data=st.data())
def test_a_file_with_one_wrong_byte_is_read_or_refused(whole: bytes, data: st.DataObject) -> None:
    place, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    try:
        parse_key_file(whole[:place] + bytes([byte]) + whole[place + 1 :], KEK)
    except (InvalidCertificate, Locked):
        pass
