"""The file `docker-state.json` in the swarm's folder: what a node must remember about how it joined.

Written last when a swarm is made: without it there was no swarm, and what else is in the folder is of an attempt that
nobody was told had worked. Names in the file are Docker's (moby daemon/cluster/noderunner.go).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.errors import DamagedState
from shoal.files import write_atomic

FILE = "docker-state.json"


@dataclass(frozen=True, slots=True)
class NodeState:
    """Where the node listens and what it tells others; what the swarm was made with. Addresses have their ports."""

    listen_addr: str
    advertise_addr: str
    local_addr: str
    data_path_addr: str = ""
    data_path_port: int = 0
    default_addr_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    remote_addr: str = ""  # the manager that was asked to let this node join; empty where it made the swarm
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
    """Return what was saved; None where this host is in no swarm. Raises DamagedState, OSError."""
    path = folder / FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise DamagedState(str(path), "it is not text") from error
    try:
        content = json.loads(text)
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
    """Write what a node must remember. Raises OSError, and then nothing has changed."""
    content = {name: getattr(state, field) for field, name in (_NAMES | _LATER_NAMES).items()}
    write_atomic(folder / FILE, json.dumps(content, indent=2).encode() + b"\n")
