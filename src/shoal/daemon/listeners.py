"""Makes the sockets of the API. They have the right owner and mode before anyone can connect."""

import grp
import os
import socket
import ssl
import stat
from pathlib import Path

from shoal.daemon.config import DaemonConfig
from shoal.engine.hijack import HalfClosing
from shoal.errors import InvalidArgument, ShoalError

# Linux's own limit. A unix socket with a full queue refuses clients at once instead of letting them wait.
BACKLOG = 4096


def unix_socket(path: Path, group: str) -> socket.socket:
    """Return a listening unix socket with mode 0660. It belongs to `group`, if the host has that group.

    A socket file on which nobody listens is replaced. Raises ShoalError if another daemon listens there, or if another
    kind of file is in the way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # With this mask only root can connect at first. The chmod below lets the group in.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ShoalError(f"cannot listen on unix://{path}: {error.strerror}") from error
    finally:
        os.umask(mask)
    try:
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
    except (KeyError, PermissionError):
        pass  # no such group here, or not root: the owner stays as it is
    path.chmod(0o660)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ShoalError(f"cannot listen on unix://{path}: a file that is no socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise ShoalError(f"cannot listen on unix://{path}: another daemon does. Give this one another --host")


def tcp_socket(address: str) -> socket.socket:
    """Return a listening TCP socket for `host:port` or `[v6]:port`. Raises ShoalError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        listener = socket.create_server(
            (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        raise ShoalError(f"cannot listen on tcp://{address}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def tls_context(config: DaemonConfig) -> ssl.SSLContext:
    """Return the TLS context of TCP sockets: a client must show a certificate that `tlscacert` signed.

    Raises InvalidArgument if the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Otherwise a client of `exec` or `attach` that has closed its input would not get the remaining output.
    context.sslobject_class = HalfClosing
    try:
        context.load_cert_chain(config.tlscert, config.tlskey)
        context.load_verify_locations(config.tlscacert)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"cannot use the TLS files of --tlscert, --tlskey and --tlscacert: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context
