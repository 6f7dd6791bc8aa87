"""What tasks a service needs: scaling, restarts, rolling updates and rollbacks.

`Orchestrator` is the decider; the other modules are the plain functions and the one state machine it is made of. Picks
no nodes and removes no tasks from the store: the scheduler and the reaper do.
"""

from shoal.manager.orchestrator.orchestrator import Orchestrator

__all__ = ["Orchestrator"]
