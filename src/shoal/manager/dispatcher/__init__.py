"""The leader's side of the nodes: sessions, heartbeats, assignments out, task statuses in.

Owns the registrations of nodes, their status (READY, DOWN, UNKNOWN, DISCONNECTED), the assignments sent to each node
and the statuses that come back. It does not decide on which node a task runs.
"""
