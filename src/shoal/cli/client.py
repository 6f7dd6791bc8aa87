"""Calls `shoald`'s Engine API with bodies as streams of bytes: one connection per call, nothing kept in memory.

In: a `Target`, a path, pieces of a body. Out: an answer to read, or a CommandError with the daemon's message. Why it is
not docker-py: docs/decisions/0009-command.md.
"""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

from shoal.cli.errors import CommandError, Refused, reason
from shoal.cli.hosts import Target
from shoal.json_text import read_json

CONNECT_TIMEOUT = 10.0
CHUNK_BYTES = 256 * 1024
_LONGEST_MESSAGE_BYTES = 64 * 1024
_SHOAL = "Shoal/"  # the beginning of shoald's Server header


class _Connection(http.client.HTTPConnection):
    def __init__(self, target: Target) -> None:
        super().__init__(target.address or "shoald", target.port or None)
        self._target = target

    def connect(self) -> None:
        target = self._target
        if target.socket:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(CONNECT_TIMEOUT)
            self.sock.connect(target.socket)
        else:
            self.sock = socket.create_connection((target.address, target.port), CONNECT_TIMEOUT)
            # A backup may take long to begin. Only this notices that the other host is gone meanwhile.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if target.tls is not None:
                self.sock = target.tls.wrap_socket(self.sock, server_hostname=target.address)
        self.sock.settimeout(None)


@contextlib.contextmanager
def call(
    target: Target,
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    body: Iterable[bytes] | None = None,
    body_bytes: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Make a call and enter with its answer. `body_bytes` is the length of the body, if it is known.

    Raises CommandError with the daemon's message if it refuses, or with the reason why it could not be reached.
    """
    connection = _Connection(target)
    try:
        with _explained(target):
            url = path + (f"?{urlencode(query)}" if query else "")
            _send(connection, method, url, body, body_bytes, headers or {})
            answer = connection.getresponse()
        if answer.status >= 400:
            raise Refused(_refusal(answer, target), answer.status)
        yield answer
    finally:
        connection.close()


def _send(
    connection: _Connection,
    method: str,
    url: str,
    body: Iterable[bytes] | None,
    body_bytes: int | None,
    given: Mapping[str, str],
) -> None:
    headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
    headers |= given
    if body_bytes is not None:
        headers["Content-Length"] = str(body_bytes)
    connection.connect()
    try:
        connection.request(method, url, body=body, headers=headers, encode_chunked=body_bytes is None)
    except (BrokenPipeError, ConnectionResetError):
        if body is None:
            raise
        # The daemon refused before it had read everything. Its answer can be read; if not, reading raises.


def pieces(answer: http.client.HTTPResponse, target: Target) -> Iterator[bytes]:
    """Yield the body of an answer as it comes. If the daemon dies it just ends early; the caller must notice that."""
    with _explained(target):
        while chunk := answer.read(CHUNK_BYTES):
            yield chunk


def arriving(answer: http.client.HTTPResponse, target: Target) -> Iterator[bytes]:
    """Yield the body of an answer as it comes, without waiting until a piece is full."""
    with _explained(target):
        while chunk := answer.read1(CHUNK_BYTES):
            yield chunk


def _refusal(answer: http.client.HTTPResponse, target: Target) -> str:
    if not (answer.getheader("Server") or "").startswith(_SHOAL) and answer.status == 404:
        return f"the daemon at {target.url} is not shoald: name shoald's socket with -H or DOCKER_HOST"
    try:
        return str(read_json(answer.read(_LONGEST_MESSAGE_BYTES))["message"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"the daemon at {target.url} refuses without saying why (HTTP {answer.status})"


@contextlib.contextmanager
def _explained(target: Target) -> Iterator[None]:
    """Turn errors of a connection into a CommandError that says what to do."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise CommandError(f"{target.url} is not to be believed: {error.verify_message}") from error
    except PermissionError as error:
        raise CommandError(f"{target.url} is not open to you: run this as root, or join the group docker") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise CommandError(f"no daemon answers at {target.url}: does shoald run there? (-H names another)") from error
    except OSError as error:
        raise CommandError(f"the connection to {target.url} failed: {reason(error)}") from error
    except http.client.HTTPException as error:
        raise CommandError(f"the connection to {target.url} ended early") from error
