"""What the swarm gives a task before a node is chosen, such as addresses and ports. So far there is nothing to give.

`tasks.Allocator` is the decider. Knows nothing of nodes or drivers.
"""
