"""Values about images besides `types.Image`: progress, removals, credentials, contents of a registry.

They have no behaviour, apart from reading the header `X-Registry-Auth`.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument
from shoal.json_text import read_json

MAX_AUTH_BYTES = 64 * 1024
"""Longer headers are refused. A login has a few hundred bytes, an identity token a few thousand."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of Docker's JSON stream of a pull or load: either `id` and `status`, or `stream`."""

    status: str = ""
    id: str = ""
    stream: str = ""
    current: int = 0
    total: int = 0


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    """A login at a registry. `repr` hides its secrets, so that they reach no log."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    server_address: str = ""

    @property
    def empty(self) -> bool:
        """Whether there are no credentials."""
        return not (self.username or self.password or self.identity_token)


@dataclass(frozen=True, slots=True)
class Removed:
    """One step of `remove` or `prune`. Exactly one of the two fields is set."""

    untagged: str = ""
    deleted: str = ""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `prune` removed, and how many bytes of layers that freed."""

    removed: tuple[Removed, ...] = ()
    reclaimed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and architecture, as in an image index."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DistributionInspect:
    """What a registry holds under a reference."""

    digest: str
    media_type: str
    size_bytes: int
    platforms: tuple[Platform, ...]


def parse_registry_auth(encoded: str) -> RegistryAuth | None:
    """Read a header `X-Registry-Auth` (also a task's `PullOptions.registry_auth`): base64url of JSON, padded or not.

    Return None if it has no credentials. Raises InvalidArgument with Docker's words if it is malformed.
    Source: moby api/types/registry/authconfig.go.
    """
    if not encoded:
        return None
    try:
        if len(encoded) > MAX_AUTH_BYTES:
            raise ValueError("too long")
        padded = encoded.rstrip("=").replace("+", "-").replace("/", "_")
        raw = base64.b64decode(padded + "=" * (-len(padded) % 4), altchars=b"-_", validate=True)
        fields = read_json(raw) if raw else {}
        if not isinstance(fields, dict):
            raise ValueError("not an object")
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidArgument(f"invalid X-Registry-Auth header: {error}") from error
    username, password = str(fields.get("username") or ""), str(fields.get("password") or "")
    if not username and (login := fields.get("auth")):
        username, password = _split_login(str(login))
    auth = RegistryAuth(
        username, password, str(fields.get("identitytoken") or ""), str(fields.get("serveraddress") or "")
    )
    return None if auth.empty else auth


def _split_login(login: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(login, validate=True).decode().partition(":")
    except (ValueError, binascii.Error) as error:
        raise InvalidArgument(f"invalid X-Registry-Auth header: {error}") from error
    return username, password
