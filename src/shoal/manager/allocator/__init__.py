"""Gives out what a task needs before a node is chosen: subnets, VXLAN ids, addresses, virtual IPs, published ports.

`allocator.Allocator` is the decider. It knows nothing about kernels, and only records in the store's objects what it
gives.
"""
