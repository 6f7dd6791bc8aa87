"""The sockets of the API: made with the right owner and mode before anyone can connect, removed at the end."""

import grp
import os
import socket
import ssl
import stat
from pathlib import Path

from shoal.daemon.config import DaemonConfig
from shoal.engine.hijack import HalfClosing
from shoal.errors import InvalidArgument, ShoalError

# Linux's own bound. A unix socket whose queue is full does not keep a client waiting: it refuses it.
BACKLOG = 4096


def unix_socket(path: Path, group: str) -> socket.socket:
    """Return a listening unix socket, 0660, of `group` where the host has it.

    A socket that nobody listens on any more is taken over. Raises ShoalError when somebody does, or when a file is in
    the way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mask makes the socket root's alone from its first moment; the group gets in by the chmod below.
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
        pass  # no such group here, or not root: the socket stays its maker's
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
    """Return a listening TCP socket for `host:port` or `[v6]:port`."""
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
    """Return the context of the TCP listeners: a client must show a certificate that `tlscacert` signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without it, a client that has sent all its input would not get the output of `exec` and `attach`.
    context.sslobject_class = HalfClosing
    try:
        context.load_cert_chain(config.tlscert, config.tlskey)
        context.load_verify_locations(config.tlscacert)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"cannot use the TLS files of --tlscert, --tlskey and --tlscacert: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context
