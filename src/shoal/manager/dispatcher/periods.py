"""How the heartbeat period grows with the number of nodes. Pure.

In: the period of the cluster's spec, the number of nodes. Out: seconds. Heartbeats only have to find lost daemons: lost
hosts are found by probes of their kernels, however long the period is (decision 10). Decision 21 has the reasons.
"""

import math

HEARTBEAT_PERIOD = 5.0
"""Swarm's default, in seconds (SwarmKit manager/dispatcher, DefaultHeartBeatPeriod)."""
UNSTRETCHED_NODES = 50
"""Up to so many nodes have Swarm's period: ten heartbeats a second."""
STEADY_NODES = 110
"""So many nodes at Swarm's period are 22 heartbeats a second: more nodes make no more, as long as the period lasts."""
STEADY_STRETCH = 9.0
"""Swarm's period is stretched so much at most for that: 45 s, and a lost daemon is found after 135 s."""
HEARTBEAT_EPSILON = 0.5  # periods differ, so that a thousand nodes do not send at the same time (SwarmKit, period.go)
SPREAD = HEARTBEAT_EPSILON / HEARTBEAT_PERIOD


def stretched(spec_period: float, nodes: int) -> float:
    """Return the mean period for this many nodes, in seconds: the spec's, or a longer one in a large swarm.

    It grows with the root of the number of nodes, and so do the heartbeats a second and the time until a lost daemon is
    found: 10 s with 200 nodes, 50 s with 5,000. From 242 nodes on the root alone would give more than 22 heartbeats a
    second. There are 22 up to 990 nodes, which have 45 s, because a thousand nodes may cost the leader a twentieth of a
    core. A spec with a longer period gets it. A spec with a shorter period than Swarm's has it grow in the same way.
    `spec_period` 0 means Swarm's.
    """
    spec = spec_period or HEARTBEAT_PERIOD
    stretch = max(math.sqrt(nodes / UNSTRETCHED_NODES), min(nodes / STEADY_NODES, STEADY_STRETCH))
    return max(spec, min(spec, HEARTBEAT_PERIOD) * stretch)


def epsilon(period: float) -> float:
    """Return by how many seconds a node's period may differ from the mean."""
    return max(min(HEARTBEAT_EPSILON, period / 2), SPREAD * period)
