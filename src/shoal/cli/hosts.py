"""Finds the daemon to call, from the same flags and variables that Docker's command has.

In: flags, the environment. Out: a `Target`. Only the TLS files are opened.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shoal.cli.errors import CommandError, reason

DEFAULT_HOST = "unix:///run/shoal/shoal.sock"
DEFAULT_TLS_PORT, DEFAULT_PORT = 2376, 2375


@dataclass(frozen=True, slots=True)
class Target:
    """A daemon: the path of a socket, or an address with a port and, usually, TLS."""

    url: str
    socket: str = ""
    address: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The flags about TLS. An empty path was not given."""

    verify: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""


def find(host: str, files: TLSFiles, environment: Mapping[str, str]) -> Target:
    """Return the daemon that the flags name, or else the variables, or else this host's own. Raises CommandError."""
    url = host or environment.get("DOCKER_HOST", "") or DEFAULT_HOST
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "tcp", url  # Docker's command reads a bare HOST:PORT like this
    if scheme == "unix" and rest.startswith("/"):
        return Target(url, socket=rest)
    if scheme != "tcp":
        raise CommandError(f"{url} is no daemon's address: give unix:///path or tcp://address:port")
    tls = _tls(files, environment)
    address, port = _address(rest.rstrip("/"), DEFAULT_TLS_PORT if tls else DEFAULT_PORT, url)
    return Target(url, address=address, port=port, tls=tls)


def _address(given: str, default_port: int, url: str) -> tuple[str, int]:
    if given.startswith("["):
        host, _, rest = given[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = given.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise CommandError(f"{url} is no daemon's address: give unix:///path or tcp://address:port")
    return host, int(port) if port else default_port


def _tls(files: TLSFiles, environment: Mapping[str, str]) -> ssl.SSLContext | None:
    named = (files.ca, files.cert, files.key)
    if not files.verify and not any(named) and not environment.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    ca, cert, key = (
        given or str(folder / name) for given, name in zip(named, ("ca.pem", "cert.pem", "key.pem"), strict=True)
    )
    try:
        context = ssl.create_default_context(cafile=ca)
        # This flag is on by default since Python 3.13. It would refuse a CA without a key usage, which is what Docker's
        # own instructions produce.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(cert, key)
    except OSError as error:  # includes ssl's errors, which name no file
        raise CommandError(f"the TLS files {ca}, {cert} and {key} cannot be used: {reason(error)}") from error
    return context
