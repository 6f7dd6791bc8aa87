"""How a task begins."""

from shoal.api import v1 as api
from shoal.manager.orchestrator.new_task import new_task
from shoal.manager.orchestrator.places import Place
from tests.unit.manager.builders import cluster, service


def test_a_task_is_a_copy_of_what_its_service_says() -> None:
    made = new_task("id1", service(version=7), Place(3), 5.0, None)
    assert (made.id, made.slot, made.node_id, made.service_id) == ("id1", 3, "", "web")
    assert (made.status.state, made.status.message, made.status.timestamp.seconds) == (api.NEW, "created", 5)
    assert made.desired_state == api.RUNNING
    assert made.service_annotations.name == "web"
    assert made.annotations == api.Annotations()
    assert made.spec == service().spec.task
    assert made.spec_version.index == 7
    assert not made.HasField("log_driver")


def test_the_log_driver_is_the_tasks_else_the_clusters() -> None:
    swarm = cluster()
    swarm.spec.task_defaults.log_driver.name = "json-file"
    assert new_task("id1", service(), Place(1), 0.0, swarm).log_driver.name == "json-file"
    own = service(change=lambda made: setattr(made.spec.task.log_driver, "name", "none"))
    assert new_task("id1", own, Place(1), 0.0, swarm).log_driver.name == "none"
