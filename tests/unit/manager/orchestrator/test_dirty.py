"""Whether an update would replace a task."""

from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.manager.orchestrator.dirty import is_dirty
from tests.unit.manager.builders import node, service, task

CHANGES: dict[str, Callable[[api.Service], None]] = {
    "image": lambda made: setattr(made.spec.task.container, "image", "other"),
    "force": lambda made: setattr(made.spec.task, "force_update", 1),
    "endpoint": lambda made: made.spec.endpoint.ports.extend([api.PortConfig(target_port=80)]),
    "constraint": lambda made: made.spec.task.placement.constraints.append("node.id==b"),
}
HARMLESS: dict[str, Callable[[api.Service], None]] = {
    "replicas": lambda made: setattr(made.spec.replicated, "replicas", 7),
    "label": lambda made: made.spec.annotations.labels.update({"a": "b"}),
    "update": lambda made: setattr(made.spec.update, "parallelism", 7),
    "fitting constraint": lambda made: made.spec.task.placement.constraints.append("node.id==a"),
    "credentials": lambda made: setattr(made.spec.task.container.pull_options, "registry_auth", "x"),
}


def present(state: api.TaskState = api.RUNNING) -> api.Task:
    made = task("web.1", state, node="a", of=service())
    made.endpoint.spec.SetInParent()
    return made


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_container_depends_on_dirties(change: Callable[[api.Service], None]) -> None:
    assert is_dirty(service(version=2, change=change), present(), node("a"))


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_it_does_not_depend_on_leaves_it_clean(change: Callable[[api.Service], None]) -> None:
    assert not is_dirty(service(version=2, change=change), present(), node("a"))


def test_another_mode_of_a_port_dirties() -> None:
    """known-faults 34."""
    port = api.PortConfig(target_port=80, published_port=8080)
    running = present()
    running.endpoint.spec.ports.append(port)

    def published(mode: api.PortConfig.PublishMode) -> api.Service:
        made = service(version=2, change=lambda made: made.spec.endpoint.ports.append(port))
        made.spec.endpoint.ports[0].publish_mode = mode
        return made

    assert not is_dirty(published(api.PortConfig.INGRESS), running, node("a"))
    assert is_dirty(published(api.PortConfig.HOST), running, node("a"))


def test_the_same_spec_version_is_clean_unread() -> None:
    assert not is_dirty(service(version=1, change=CHANGES["image"]), present(), node("a"))


def test_credentials_matter_before_the_image_is_there() -> None:
    assert is_dirty(service(version=2, change=HARMLESS["credentials"]), present(api.PREPARING), node("a"))


def test_a_constraint_without_a_node_to_check_dirties() -> None:
    assert is_dirty(service(version=2, change=HARMLESS["fitting constraint"]), present(), None)
