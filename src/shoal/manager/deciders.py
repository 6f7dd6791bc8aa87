"""The list of deciders that a leader has, in the order in which they run.

In: what the deciders need from this manager. Out: the deciders, for one cascade (`deciding/cascade.py`). The leader,
the simulation and the tests all take this list, so the simulation tests what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from shoal.api.ids import new_id
from shoal.manager.allocator.allocator import Allocator
from shoal.manager.certificates.absent import AbsentNodes
from shoal.manager.certificates.issuing import Signer
from shoal.manager.certificates.rotation import RootRotation
from shoal.manager.deciding.plan import Decider
from shoal.manager.keyring import KeyManager
from shoal.manager.membership.roles import RoleManager
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.enforcer import Enforcer
from shoal.manager.orchestrator.reaper import Reaper
from shoal.manager.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from random import Random


def deciders_of_tasks(
    rng: Random, ids: Callable[[], str] = new_id, scheduler: Scheduler | None = None
) -> tuple[Decider, ...]:
    """Return the deciders that turn services into tasks on nodes: they create, admit and place tasks, then tidy up.

    `scheduler`: the scheduler to use, when the caller also asks it for explanations.
    """
    return Orchestrator(rng, ids), Allocator(), scheduler or Scheduler(rng), Enforcer(), Reaper()


def all_deciders(
    cluster_id: str,
    rng: Random,
    *,
    members: Callable[[], Container[str]],
    random_bytes: Callable[[int], bytes],
    scheduler: Scheduler | None = None,
) -> tuple[Decider, ...]:
    """Return all deciders of a leader: certificates, roles and keys first, then tasks, then nodes that never came."""
    return (
        Signer(cluster_id),
        RootRotation(cluster_id),
        RoleManager(members),
        KeyManager(random_bytes),
        *deciders_of_tasks(rng, scheduler=scheduler),
        AbsentNodes(),
    )
