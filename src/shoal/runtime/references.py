"""Parses image references (`busybox`, `registry:5000/team/app:1.2`, `app@sha256:...`), and shows them in both forms.

The full form has a domain; the familiar form is Docker's short one. Pure. Source of the rules:
github.com/distribution/reference (normalize.go).
"""

from dataclasses import dataclass

from shoal.api.reference import is_reference
from shoal.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference in full: `domain` and `path` are always there, `tag` and `digest` may be empty."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """`docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """`busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix("library/")
        # Without its prefix, library/team/app would be read as an image of the user `team`.
        return short if "/" not in short else self.path

    @property
    def full(self) -> str:
        """`docker.io/library/busybox:latest`."""
        return self.name + self._suffix

    @property
    def familiar(self) -> str:
        """`busybox:latest`, as Docker shows it."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def remote(self) -> str:
        """The reference for a registry: with the digest, or else with the tag."""
        return self.name + (f"@{self.digest}" if self.digest else f":{self.tag or DEFAULT_TAG}")

    def tagged(self) -> "Reference":
        """Return it with Docker's default tag if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.domain, self.path, DEFAULT_TAG)


def parse(text: str) -> Reference:
    """Read a reference in short or full form. Raises InvalidArgument with Docker's words."""
    if len(text) == 64 and set(text) <= _HEX:
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    rest, _, digest = remainder.partition("@")
    path, colon, tag = rest.partition(":")
    if path.lower() != path:
        raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
    if not is_reference(f"{domain}/{remainder}") or (colon and not tag):
        raise InvalidArgument("invalid reference format")
    return Reference(domain, path, tag, digest)


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    domain, remainder = (first, rest) if named else (DEFAULT_DOMAIN, text)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = f"library/{remainder}"
    return domain, remainder


def is_digest(text: str) -> bool:
    """Return whether a text is a sha256 digest, the only algorithm that images use."""
    algorithm, _, digits = text.partition(":")
    return algorithm == "sha256" and len(digits) == 64 and set(digits) <= _HEX


def is_id_prefix(text: str) -> bool:
    """Return whether a text may be the beginning of an image's id, with or without `sha256:`."""
    digits = text.removeprefix("sha256:")
    return 0 < len(digits) <= 64 and set(digits) <= _HEX


def is_loopback(domain: str) -> bool:
    """Return whether a registry is on this host. Docker does not require TLS for such a registry.

    Source: moby registry/config.go (127.0.0.0/8 and ::1 are insecure registries by default; localhost resolves there).
    """
    host = domain[1 : domain.index("]")] if domain.startswith("[") and "]" in domain else domain.split(":")[0]
    parts = host.split(".")
    loopback = len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)
    return loopback or host in ("localhost", "::1")
