"""What tasks a service needs: scaling, restarts, rolling updates and rollbacks.

`Orchestrator` is the decider; most other modules are its plain functions and state machines. `Reaper` and `Enforcer`
are deciders of their own. The orchestrator picks no nodes (the scheduler does) and removes no tasks from the store (the
reaper does).
"""

from shoal.manager.orchestrator.orchestrator import Orchestrator

__all__ = ["Orchestrator"]
