"""The file `docker-state.json` in the swarm's folder: a node's addresses, and how it joined.

The file is written last when a swarm is made. Without it, other files in the folder are from an attempt that did not
succeed. Names in the file are Docker's (moby daemon/cluster/noderunner.go).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.errors import DamagedState
from shoal.files import write_atomic
from shoal.json_text import read_json

FILE = "docker-state.json"


@dataclass(frozen=True, slots=True)
class NodeState:
    """Where the node listens, its addresses for others, and the settings of `swarm init`."""

    listen_addr: str
    advertise_addr: str
    local_addr: str
    data_path_addr: str = ""
    data_path_port: int = 0
    default_addr_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    remote_addr: str = ""  # the manager that let this node join; empty if this node made the swarm
    join_in_progress: bool = False  # until the node has been up for the first time


_NAMES = {
    "listen_addr": "ListenAddr",
    "advertise_addr": "AdvertiseAddr",
    "local_addr": "LocalAddr",
    "data_path_addr": "DataPathAddr",
    "data_path_port": "DataPathPort",
    "default_addr_pool": "DefaultAddressPool",
    "subnet_size": "SubnetSize",
}
_LATER_NAMES = {"remote_addr": "RemoteAddr", "join_in_progress": "JoinInProgress"}  # absent in older files
_TEXTS = ("listen_addr", "advertise_addr", "local_addr", "remote_addr")


def load(folder: Path) -> NodeState | None:
    """Return the saved state; None if this host is in no swarm. Raises DamagedState, OSError."""
    path = folder / FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise DamagedState(str(path), "it is not text") from error
    try:
        content = read_json(text)
        values: dict[str, Any] = {field: content[name] for field, name in _NAMES.items()}
        values |= {field: content[name] for field, name in _LATER_NAMES.items() if name in content}
        values["default_addr_pool"] = tuple(values["default_addr_pool"])
        wrong = [name for name in _TEXTS if not isinstance(values.get(name, ""), str)]
        if wrong:
            raise ValueError(f"{(_NAMES | _LATER_NAMES)[wrong[0]]} is not text")
        return NodeState(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedState(str(path), f"{type(error).__name__}: {error}") from error


def save(folder: Path, state: NodeState) -> None:
    """Write the state. Raises OSError; then the file is as before."""
    content = {name: getattr(state, field) for field, name in (_NAMES | _LATER_NAMES).items()}
    write_atomic(folder / FILE, json.dumps(content, indent=2).encode() + b"\n")
