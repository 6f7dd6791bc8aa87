"""How memberlist is set up. The defaults are those that Docker Engine runs with: its "LAN" ones and its own."""

from dataclasses import dataclass

from shoal.errors import InvalidArgument
from shoal.network.gossip.messages import DEFAULT_PORT, MAX_NAME


@dataclass(frozen=True, slots=True)
class Config:
    """Times are seconds. Source of every default: gossip.md 1.1, unless it says otherwise."""

    name: str  # of this node: 12 random hex digits, new at each start
    address: str  # where others reach it, without port
    port: int = DEFAULT_PORT
    probe_interval: float = 1.0
    probe_timeout: float = 0.5  # less finds dead nodes sooner and suspects slow ones
    indirect_checks: int = 3
    gossip_interval: float = 0.2
    gossip_nodes: int = 3
    gossip_to_the_dead: float = 30.0  # then a dead node is forgotten
    push_pull_interval: float = 30.0
    stream_timeout: float = 10.0
    packet_budget: int = 1400  # bytes of a datagram, encrypted
    leave_timeout: float = 1.0
    # Ours. A ping behind a user's message is answered with `Memberlist.acknowledge`, once that was acted upon. No probe
    # is such a ping: those are the first in their packets.
    acks_when_done: bool = False
    # Ours. Docker keeps as many as it is told of; whoever has a key could fill its memory with forged ones.
    max_members: int = 10_000

    def __post_init__(self) -> None:
        if not 0 < len(self.name.encode()) <= MAX_NAME:
            raise InvalidArgument(f"name: must have 1 to {MAX_NAME} bytes")
        if not 0 < self.port < 65536:
            raise InvalidArgument("port: must be from 1 to 65535")
        if not 0 < self.probe_timeout < self.probe_interval:
            raise InvalidArgument("probe_timeout: must be shorter than probe_interval")
        if not 512 <= self.packet_budget <= 65_000:
            raise InvalidArgument("packet_budget: must be from 512 to 65000 bytes")
