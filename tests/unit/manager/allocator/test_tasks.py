"""New tasks are admitted."""

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.manager.allocator.tasks import Allocator
from shoal.manager.deciding.plan import MAX_CHANGES
from tests.unit.manager.builders import NOW, Bench, task


def test_new_tasks_become_pending() -> None:
    bench = Bench(Allocator(), [task("web.1", api.NEW), task("web.2", api.RUNNING), task("web.3", api.NEW, api.REMOVE)])
    assert bench.step() == ["update web.1 pending -> running"]
    found = bench.memory.tasks.get("web.1")
    assert found is not None
    assert found.status.message == "pending task scheduling"
    assert bench.step() == []
    bench.change(task("web.4", api.NEW))
    assert bench.step() == ["update web.4 pending -> running"]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    bench = Bench(Allocator(), [task(f"web.{slot}", api.NEW) for slot in range(1, MAX_CHANGES + 2)])
    assert len(bench.step()) == MAX_CHANGES
    assert bench.look_again_at == NOW
    assert bench.step() == [f"update web.{MAX_CHANGES + 1} pending -> running"]
    assert bench.look_again_at is None


def test_a_task_carries_the_networks_that_its_spec_names() -> None:
    host = api.Network(id="n1", spec=api.NetworkSpec(annotations=api.Annotations(name="host", labels={LABEL: "true"})))
    attached, lost = task("web.1", api.NEW), task("web.2", api.NEW)
    attached.spec.networks.add(target="n1", aliases=["www"])
    lost.spec.networks.add(target="n2")
    bench = Bench(Allocator(), [host, attached, lost])
    assert bench.step() == ["update web.1 pending -> running"]
    found = bench.memory.tasks.get("web.1")
    assert found is not None
    (attachment,) = found.networks
    assert attachment.network.spec.annotations.name == "host"
    assert list(attachment.aliases) == ["www"]
