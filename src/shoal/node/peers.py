"""The managers that a node knows, kept for its next start: the file `state.json` in its swarm's folder.

The file has SwarmKit's form (node/node.go, persistentRemotes): a list of node ids and addresses.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from shoal.api import v1 as api
from shoal.errors import DamagedState
from shoal.files import write_atomic
from shoal.json_text import read_json

FILE = "state.json"

Peers = tuple[tuple[str, str], ...]  # (node id, address with its port), by address


def named(managers: Iterable[api.WeightedPeer]) -> Peers:
    """Return the managers that a session names."""
    return tuple(sorted({(each.peer.node_id, each.peer.addr) for each in managers}, key=lambda peer: peer[::-1]))


def load(folder: Path) -> Peers:
    """Return the saved managers, empty if there is no file. Raises DamagedState, OSError."""
    path = folder / FILE
    try:
        content = read_json(path.read_bytes())
        found = tuple((str(entry.get("node_id", "")), str(entry["addr"])) for entry in content)
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedState(str(path), f"{type(error).__name__}: {error}") from error
    if any(not address.rpartition(":")[2].isdigit() for _, address in found):
        raise DamagedState(str(path), "an address has no port")
    return found


def save(folder: Path, peers: Peers) -> None:
    """Write the managers. Raises OSError; then the file is as before."""
    content = [{"node_id": node_id, "addr": address} for node_id, address in peers]
    write_atomic(folder / FILE, json.dumps(content).encode() + b"\n")
