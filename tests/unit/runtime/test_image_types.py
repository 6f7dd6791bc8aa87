"""The X-Registry-Auth header."""

import base64
import json

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.image_types import RegistryAuth, parse_registry_auth


def header(**fields: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def test_credentials_are_read_and_hidden_from_repr() -> None:
    auth = parse_registry_auth(header(username="u", password="secret", serveraddress="r:1"))
    assert auth == RegistryAuth("u", "secret", "", "r:1")
    assert "secret" not in repr(auth)


def test_the_old_joined_form_is_read() -> None:
    assert parse_registry_auth(header(auth=base64.b64encode(b"u:p:q").decode())) == RegistryAuth("u", "p:q")


def test_padding_may_be_missing() -> None:
    assert parse_registry_auth(header(username="u1", password="p").rstrip("=")) == RegistryAuth("u1", "p")


@pytest.mark.parametrize("text", ["", header(), header(username="", password="")])
def test_no_credentials_are_none(text: str) -> None:
    assert parse_registry_auth(text) is None


@pytest.mark.parametrize(
    "text", ["%%%", base64.urlsafe_b64encode(b"[1]").decode(), base64.urlsafe_b64encode(b"{").decode(), "A" * 70000]
)
def test_a_malformed_header_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid X-Registry-Auth header"):
        parse_registry_auth(text)
