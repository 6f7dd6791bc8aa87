"""This host as a node of a swarm, from `init` or `join` to `leave`.

Owns the node's certificates, and starts and stops its manager and its agent, as SwarmKit's `node` package does.
"""
