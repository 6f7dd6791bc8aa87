"""What nodes ask of the leader: sessions and heartbeats, the tasks they have to run, and what became of them.

Owns the registrations of nodes, their status (READY, DOWN, UNKNOWN, DISCONNECTED), the assignments sent to each and the
statuses that come back. Decides nothing about where a task goes. Decisions are in `sessions`, `assignments` and
`statuses`; `server` does the I/O.
"""
