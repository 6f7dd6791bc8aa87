"""Names that are computed."""

from shoal.api import v1 as api
from shoal.api.naming import enum_name, task_name


def test_a_task_is_named_after_its_service_and_slot_or_node() -> None:
    task = api.Task(id="t1", node_id="n1", service_annotations={"name": "web"})
    assert task_name(task) == "web.n1.t1"
    task.slot = 3
    assert task_name(task) == "web.3.t1"
    task.annotations.name = "own"
    assert task_name(task) == "own"


def test_an_enums_value_has_a_name_whatever_it_is() -> None:
    assert enum_name(api.NodeRole, api.MANAGER) == "manager"
    assert enum_name(api.NodeRole, 9) == "unknown (9)"
    assert enum_name(api.NodeSpec.Availability, -1) == "unknown (-1)"
