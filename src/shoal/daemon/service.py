"""Tells systemd the state of the daemon, by its notify protocol, and formats log lines for its journal.

In: the environment and the standard error that systemd gave. Out: datagrams, and a format of log lines. Without systemd
nothing happens. Source of the protocol: sd_notify(3); of the prefixes of lines: sd-daemon(3).
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
    """Tells systemd the state of the daemon.

    It removes the socket's name from the environment, so that no program that the daemon starts can speak for it.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop(NOTIFY_SOCKET, "")

    def ready(self, status: str) -> None:
        """Tell that the daemon serves; units ordered after it may start. `systemctl status` shows `status`."""
        self._send(f"READY=1\nSTATUS={status}\n")

    def stopping(self, status: str) -> None:
        """Tell that the daemon has begun to stop."""
        self._send(f"STOPPING=1\nSTATUS={status}\n")

    def _send(self, message: str) -> None:
        """Send one datagram. Raises OSError, because systemd would wait for ever if it heard nothing."""
        if not self._address:
            return
        # A leading @ stands for Linux's abstract namespace, whose names begin with a zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.connect(address)
            manager.sendall(message.encode())


def is_journal(stream: int, environment: MutableMapping[str, str]) -> bool:
    """Return whether a descriptor leads to the journal, which records times and levels itself."""
    device, _, inode = environment.get(JOURNAL_STREAM, "").partition(":")
    if not (device.isdigit() and inode.isdigit()):
        return False
    try:
        found = os.fstat(stream)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (int(device), int(inode))


class JournalFormatter(logging.Formatter):
    """Formats lines for the journal: without time, and with the level as a prefix that the journal removes.

    Each line of a traceback has the prefix.
    """

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, ready for the journal."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
