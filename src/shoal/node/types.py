"""The node's information about its swarm (`GET /info`), and the requests to it (`POST /swarm/init`, `/swarm/join`).

These are values without behaviour. Source of the fields: moby api/types/swarm/swarm.go (`Info`, `InitRequest`,
`JoinRequest`).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from shoal.api import v1 as api
from shoal.store.backup_file import Summary


class LocalState(StrEnum):
    """This node's state in the swarm, in Docker's words."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class SwarmInfo:
    """What a node knows about its swarm. `cluster`, `nodes` and `managers` are only set on a manager with a quorum."""

    local_state: LocalState = LocalState.INACTIVE
    node_id: str = ""
    node_addr: str = ""
    control_available: bool = False
    error: str = ""
    remote_managers: tuple[tuple[str, str], ...] = ()  # (node id, address with port)
    cluster: api.Cluster | None = None
    nodes: int = 0
    managers: int = 0


@dataclass(frozen=True, slots=True)
class InitRequest:
    """`docker swarm init`. Addresses are as the user gave them: an IP address or an interface, perhaps with a port.

    The swarm's spec is not part of it: the Engine API merges the user's settings over the defaults later, once the
    manager runs.
    """

    listen_addr: str
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    default_addr_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    availability: api.NodeSpec.Availability = api.NodeSpec.ACTIVE
    force_new_cluster: bool = False
    auto_lock_managers: bool = False


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """`docker swarm join`. `remote_addrs` are managers of the swarm; as in Docker only the first is asked."""

    listen_addr: str
    remote_addrs: tuple[str, ...]
    join_token: str = field(repr=False)
    advertise_addr: str = ""
    data_path_addr: str = ""
    availability: api.NodeSpec.Availability = api.NodeSpec.ACTIVE


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """`shoal swarm restore`. Addresses as in `InitRequest`."""

    listen_addr: str
    advertise_addr: str = ""
    data_path_addr: str = ""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The result of a restore. `is_locked`: the manager waits for the unlock key before it serves."""

    summary: Summary
    node_id: str
    is_locked: bool
