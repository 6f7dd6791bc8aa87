"""Chooses the node of each task: filters, ranking, spreading, and the reasons when there is no node.

`scheduler.Scheduler` is the decider; the other modules are its parts. The scheduler creates and starts no tasks.
"""
