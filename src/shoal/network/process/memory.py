"""What others had written when this process last ran, so that one that is started again leads nobody astray.

A new process knows nothing of the others until gossip has told it, a second or so later. Until then it goes on with
what the last one knew: names are answered, virtual IPs keep their backends, neighbours stay. What gossip has not
confirmed by then is forgotten. Pure but for the file, which lies on the exec-root's tmpfs.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from shoal.files import write_atomic
from shoal.network.records import Changed

log = logging.getLogger(__name__)

FILE = "others.json"
# A joining node has all of a swarm's tables after a push/pull and a bulk sync; a manager that does not answer is asked
# again after a second.
HOLD = 5.0  # seconds

Key = tuple[str, str, str]  # table, network, key


class Memory:
    """Others' entries: those that gossip has told, and those of the last run that it may still tell."""

    def __init__(self) -> None:
        self._told: dict[Key, bytes] = {}
        self._remembered: dict[Key, bytes] = {}

    def hear(self, changes: Iterable[Changed], own: str) -> list[Changed]:
        """Take what gossip has changed; return it without what only takes away a remembered entry's place.

        `own` is this node's name: its own entries are told by itself.
        """
        passed = []
        for change in changes:
            key = (change.table, change.network, change.key)
            self._remembered.pop(key, None)
            if change.value is None or change.owner == own:
                self._told.pop(key, None)
            else:
                self._told[key] = change.value
            passed.append(change)
        return passed

    def recall(self, text: bytes, networks: Iterable[str]) -> list[Changed]:
        """Return the entries of the last run on these networks, as if gossip had told them."""
        known = frozenset(networks)
        self._remembered = {
            key: value for key, value in _read(text).items() if key[1] in known and key not in self._told
        }
        return [Changed(*key, "", None, value) for key, value in self._remembered.items()]

    def forget(self) -> list[Changed]:
        """Return the end of what was remembered and never confirmed."""
        forgotten, self._remembered = self._remembered, {}
        return [Changed(*key, "", value, None) for key, value in forgotten.items()]

    def text(self) -> bytes:
        """Return what the next run is to know."""
        entries = {**self._remembered, **self._told}
        return json.dumps([[*key, value.hex()] for key, value in entries.items()]).encode()


def _read(text: bytes) -> dict[Key, bytes]:
    try:
        return {
            (str(table), str(network), str(key)): bytes.fromhex(value)
            for table, network, key, value in json.loads(text)
        }
    except (ValueError, TypeError, RecursionError) as error:
        log.warning("what the last network process knew of others cannot be read: %s", error)
        return {}


def load(folder: Path) -> bytes:
    """Return what the last run kept. Blocking."""
    try:
        return (folder / FILE).read_bytes()
    except FileNotFoundError:
        return b"[]"


def keep(folder: Path, text: bytes) -> None:
    """Keep it for the next run. Blocking; OSError."""
    write_atomic(folder / FILE, text, lasting=False)
