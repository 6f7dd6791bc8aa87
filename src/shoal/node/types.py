"""What the node tells of its part in a swarm, and what it is asked for: values without behaviour.

The Engine API shows the first (`GET /info`) and makes the second (`POST /swarm/init`, `/swarm/join`). Source of the
fields: moby api/types/swarm/swarm.go (`Info`, `InitRequest`, `JoinRequest`).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from shoal.api import v1 as api
from shoal.store.backup_file import Summary


class LocalState(StrEnum):
    """How this node stands to the swarm, in Docker's words."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class SwarmInfo:
    """What a node knows of its swarm. `cluster`, `nodes` and `managers` only where a manager runs and has a quorum."""

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
    """`docker swarm init`. Addresses are as they were given: an IP address or an interface, some with a port.

    The swarm's spec is not part of it: the Engine merges what was asked for over the defaults once the manager runs.
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
    """`docker swarm join`. `remote_addrs` are managers of the swarm; only the first is asked, as Docker does."""

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
    """A swarm that came from a backup. `is_locked`: its manager waits for the unlock key before it serves."""

    summary: Summary
    node_id: str
    is_locked: bool
