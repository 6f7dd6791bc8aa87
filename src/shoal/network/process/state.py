"""What was last wanted of the network, in a file on the exec-root's tmpfs: it holds keys, and is gone after a reboot.

The network process writes it, and goes on with it when it is started again; `shoald` reads it when it is. Blocking.
"""

import logging
from pathlib import Path

from shoal.errors import InvalidArgument
from shoal.files import write_atomic
from shoal.network.wanted import Wanted, from_json

log = logging.getLogger(__name__)

WANTED_FILE = "wanted.json"


def last_wanted(folder: Path) -> Wanted | None:
    """Return what was last wanted; None where nothing was since the host was started."""
    try:
        return from_json(Wanted, (folder / WANTED_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except InvalidArgument as error:
        # Both sides tell the other all they know as soon as they are connected.
        log.warning("what was last wanted of the network cannot be read: %s", error)
        return None


def keep(folder: Path, text: bytes) -> None:
    """Write what is wanted now, as JSON. OSError."""
    write_atomic(folder / WANTED_FILE, text, lasting=False)


def forget(folder: Path) -> None:
    """Nothing is wanted any more."""
    (folder / WANTED_FILE).unlink(missing_ok=True)
