"""Raw connections to a daemon, and the sockets that it has open."""

import os
import socket
from pathlib import Path

from tests.harness.hosts import Host


def connect(on: Host) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(on.socket))
    return connection


def sockets(on: Host) -> list[str]:
    """Return the sockets that the daemon has open."""
    found = []
    for entry in Path(f"/proc/{on.pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.append(target)
    return found
