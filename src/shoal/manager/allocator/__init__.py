"""What a task needs from the swarm's own stock before it can have a node: addresses, ports. So far: nothing.

`tasks.Allocator` is the decider. Knows nothing of nodes or drivers.
"""
