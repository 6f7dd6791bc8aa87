"""On which node a task runs: filters, ranking, spreading, and the reasons when there is no node.

`scheduler.Scheduler` is the decider; the other modules are the plain functions it is made of. Starts nothing and
creates no tasks.
"""
