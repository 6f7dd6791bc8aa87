"""Networks of the swarm that each node makes by itself: drivers bridge and macvlan, addresses of the node's own.

It must not know overlays, nor gossip: such a network ends at its host.
"""
