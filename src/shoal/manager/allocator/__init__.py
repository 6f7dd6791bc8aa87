"""What the swarm gives before a node is chosen: subnets, VXLAN ids, addresses, virtual IPs, published ports.

`allocator.Allocator` is the decider. Knows nothing of kernels: what is given is recorded in the objects alone.
"""
