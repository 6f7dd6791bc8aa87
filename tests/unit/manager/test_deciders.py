"""The list of deciders: all deciders of a leader, in an order in which they come to an end."""

import random

from shoal.api import states
from shoal.api import v1 as api
from shoal.manager.deciders import all_deciders, deciders_of_tasks
from shoal.manager.deciding.cascade import Cascade
from shoal.store.memory import Memory, Transaction
from tests.unit.manager.builders import NOW, Ids, cluster, node, service


def test_a_leader_has_what_the_simulation_has_and_more() -> None:
    rng = random.Random(1)
    some = [decider.name for decider in deciders_of_tasks(rng)]
    every = [decider.name for decider in all_deciders("cluster", rng, members=dict, random_bytes=bytes)]
    assert some == ["orchestrator", states.ALLOCATOR, states.SCHEDULER, "enforcer", "reaper"]
    assert [name for name in every if name in some] == some
    assert len(set(every)) == len(every) > len(some)


def test_a_new_service_is_placed_in_one_pass() -> None:
    web = Transaction(Memory.of([cluster(), node("a"), service(replicas=2)]))
    Cascade(deciders_of_tasks(random.Random(1), Ids())).run(web, NOW)
    assert {task.status.state for task in web.tasks.all()} == {api.ASSIGNED}
    assert {task.id for task in web.tasks.all()} == {"new1", "new2"}
