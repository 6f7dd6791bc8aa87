"""The messages that managers and nodes exchange, and small functions for them.

Owns the `.proto` files (names and numbers are SwarmKit's own), the code generated from them (`shoal.api.gen`), and what
all other packages need to know about messages: ids, task states, durations, names, options. It decides nothing about a
swarm. Use it as `from shoal.api import v1 as api`: `api.Task`, `api.RUNNING`, `api.NodeStatus.READY`.
"""

from shoal.api import grpclib_cancel

grpclib_cancel.apply()
