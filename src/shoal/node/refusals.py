"""The texts with which a node refuses a request, mostly Docker's own.

Source: moby daemon/cluster/errors.go, cluster.go (`errNoManager`), swarm.go (`Leave`).
"""

NOT_IN_A_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
NOT_YET_A_MANAGER = (
    "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster."
)
A_WORKER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this "
    "command on a manager node or promote the current node to a manager."
)
LOCKED = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
)
EXPIRED = "Swarm certificates have expired. To replace them, leave the swarm and join again."
EARLY = (
    "This host's clock says {now}, but its node's certificate was made after {since}. Set the clock: the node goes on "
    "by itself then."
)
ALREADY_IN_A_SWARM = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
)
NO_DATA_HERE = "only a manager can go on alone with --force-new-cluster: this node has no data of the swarm"
NOT_LISTENING = "manager stopped: failed to listen on remote API address: {}"  # SwarmKit node/node.go, manager.go
NOT_LOCKED = "swarm is not locked"
WRONG_UNLOCK_KEY = "swarm could not be unlocked: invalid key provided"
NOT_PART_OF_A_SWARM = "This node is not part of a swarm"
JOIN_TIMEOUT = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "
    '"docker info" command to see the current swarm status of your node.'
)
LOCKED_LEAVE = "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
_LEAVING = "You are attempting to leave the swarm on a node that is participating as a manager. "
_LAST = "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
_END = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use "
    "`--force` to suppress this message."
)


def leaving(reachable: int | None, unreachable: int) -> str:
    """Return why a manager only leaves with `--force`. `reachable` is None if the manager itself is not active."""
    if reachable is None:
        return f"{_LEAVING}Doing so may lose the consensus of your cluster. {_END}"
    if reachable - 2 > unreachable:
        return f"{_LEAVING}{_END}"
    if reachable == 1 and unreachable == 0:
        return f"{_LEAVING}{_LAST}"
    left, all_of_them = reachable - 1, reachable + unreachable
    return (
        f"{_LEAVING}Removing this node leaves {left} managers out of {all_of_them}. "
        f"Without a Raft quorum your swarm will be inaccessible. {_END}"
    )
