"""Tells the service manager how the daemon stands: systemd's notify protocol, and log lines for its journal.

In: the environment and standard error that it gave. Out: datagrams, and a format of lines. Where nobody asked for it
nothing happens. Protocol: sd_notify(3); prefixes of lines: sd-daemon(3).
"""

import logging
import os
import socket
from collections.abc import MutableMapping

NOTIFY_SOCKET = "NOTIFY_SOCKET"
JOURNAL_STREAM = "JOURNAL_STREAM"

# Python's levels -> syslog's, which the journal shows and filters by (`journalctl -p warning`).
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Notifier:
    """Tells the service manager how the daemon stands.

    The socket's name is taken out of the environment at once: no program that the daemon starts may speak for it.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop(NOTIFY_SOCKET, "")

    def ready(self, status: str) -> None:
        """It serves: what was ordered after it may begin. `status` is what `systemctl status` shows."""
        self._send(f"READY=1\nSTATUS={status}\n")

    def stopping(self, status: str) -> None:
        """It has begun to end."""
        self._send(f"STOPPING=1\nSTATUS={status}\n")

    def _send(self, message: str) -> None:
        """Send one datagram. OSError when the manager cannot be told: it would wait for ever otherwise."""
        if not self._address:
            return
        # A name that begins with @ is in Linux's abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.connect(address)
            manager.sendall(message.encode())


def is_journal(stream: int, environment: MutableMapping[str, str]) -> bool:
    """Return whether a descriptor leads to the journal, which keeps times and levels itself."""
    device, _, inode = environment.get(JOURNAL_STREAM, "").partition(":")
    if not (device.isdigit() and inode.isdigit()):
        return False
    try:
        found = os.fstat(stream)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (int(device), int(inode))


class JournalFormatter(logging.Formatter):
    """Lines without time and level; the level is a prefix that the journal takes off, on each line of a traceback."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, ready for the journal."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
