import pytest

from shoal.api import v1 as api
from shoal.manager.port.authorization import Subject
from shoal.manager.port.standing import loses_standing, standing
from shoal.store.changes import Event
from shoal.store.memory import Memory

VIEW = Memory.of([api.Node(id="m", role=api.MANAGER), api.Node(id="w", role=api.WORKER)])


@pytest.mark.parametrize(
    ("node_id", "unit", "why"),
    [
        ("m", "swarm-manager", ""),
        ("m", "swarm-worker", ""),  # it is being promoted
        ("w", "swarm-worker", ""),
        ("w", "swarm-manager", "node w is not a manager any more: its certificate has to be renewed"),
        ("x", "swarm-manager", "node x is not part of this swarm"),
        ("x", "swarm-worker", "node x is not part of this swarm"),
    ],
)
def test_a_certificate_counts_for_what_its_node_is(node_id: str, unit: str, why: str) -> None:
    assert standing(VIEW, Subject(node_id, "c1", (unit,))) == why


def test_standing_is_lost_by_demotion_and_removal_alone() -> None:
    manager, worker = api.Node(id="n", role=api.MANAGER), api.Node(id="n", role=api.WORKER)
    assert loses_standing(Event("update", worker, manager)) == "n"
    assert loses_standing(Event("remove", worker, None)) == "n"
    assert not loses_standing(Event("update", manager, worker))
    assert not loses_standing(Event("update", worker, worker))
    assert not loses_standing(Event("create", worker, None))
    assert not loses_standing(Event("remove", api.Task(id="n"), None))
