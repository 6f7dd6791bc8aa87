"""The messages that managers and nodes exchange, and small helpers about them.

Owns the `.proto` files (names and numbers are SwarmKit's own), the code generated from them (`shoal.api.gen`), and what
every other package needs to know of a message: ids, the order of task states, durations, names. Holds no logic of a
swarm. Use it as `from shoal.api import v1 as api`: `api.Task`, `api.RUNNING`, `api.NodeStatus.READY`.
"""

from shoal.api import grpclib_cancel

grpclib_cancel.apply()
