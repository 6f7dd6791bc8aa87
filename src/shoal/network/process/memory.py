"""What others had written before they, or this process, were started again, so that nobody is led astray meanwhile.

A new process knows nothing of the others until gossip has told it, a second or so later. Until then it goes on with
what the last one knew: names are answered, virtual IPs keep their backends, neighbours stay. The same is done for a
node whose process was started again. What gossip has not confirmed by then is forgotten. Pure but for the file, which
lies on the exec-root's tmpfs.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from shoal.files import write_atomic
from shoal.network.networkdb.reaping import Deadlines
from shoal.network.records import PEERS, Changed

log = logging.getLogger(__name__)

FILE = "others.json"
# A joining node has all of a swarm's tables after a push/pull and a bulk sync; a manager that does not answer is asked
# again after a second.
HOLD = 5.0  # seconds
# How long the places of a silent node's containers are kept. They harm nobody, and its containers may be well.
SILENT = 300.0
# Without any other node that could tell, what the last run knew is better than nothing, for so long.
ALONE = 30.0

Key = tuple[str, str, str]  # table, network, key


class Memory:
    """Others' entries: those that gossip has told, and those that it may soon tell again."""

    def __init__(self) -> None:
        self._told: dict[Key, bytes] = {}
        self._remembered: dict[Key, bytes] = {}
        self._ends: Deadlines[Key] = Deadlines()  # of what is remembered, or silent

    def hear(self, changes: Iterable[Changed], own: str, now: float) -> list[Changed]:
        """Take what gossip has changed; return it without what may come again at once.

        `own` is this node's name: its own entries are told by itself.
        """
        passed = []
        for change in changes:
            key = (change.table, change.network, change.key)
            before = self._told.pop(key, None)
            self._remembered.pop(key, None)
            self._ends.drop(key)
            if change.value is not None and change.owner != own:
                self._told[key] = change.value
            elif before is not None and change.end == "replaced":
                self._remembered[key] = before
                self._ends.set(key, now + HOLD)
                continue
            elif before is not None and change.end == "silent" and change.table == PEERS:
                self._ends.set(key, now + SILENT)
            passed.append(change)
        return passed

    def recall(self, text: bytes, networks: Iterable[str], now: float) -> list[Changed]:
        """Return the entries of the last run on these networks, as if gossip had told them."""
        known = frozenset(networks)
        found = {key: value for key, value in _read(text).items() if key[1] in known and key not in self._told}
        self._remembered |= found
        for key in found:
            self._ends.set(key, now + HOLD)
        return [Changed(*key, "", None, value) for key, value in found.items()]

    @property
    def waits(self) -> bool:
        """Whether there is something to forget, now or later."""
        return bool(self._ends)

    def forget(self, now: float) -> list[Changed]:
        """Return the end of what has not been confirmed in time."""
        return [Changed(*key, "", self._remembered.pop(key, None), None) for key in self._ends.due(now)]

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
