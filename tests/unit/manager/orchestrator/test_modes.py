"""Every mode that a spec can have is looked after."""

import random

import pytest

from shoal.api import v1 as api
from shoal.manager.orchestrator import Orchestrator
from tests.unit.manager.builders import Bench, Ids, node, service

MODES = [field.name for field in api.ServiceSpec.DESCRIPTOR.oneofs_by_name["mode"].fields]


@pytest.mark.parametrize("mode", MODES)
def test_a_service_of_each_mode_gets_its_task_and_loses_it(mode: str) -> None:
    def of_this_mode(made: api.Service) -> None:
        getattr(made.spec, mode).SetInParent()
        if mode == "replicated":
            made.spec.replicated.replicas = 1
        if mode == "replicated_job":
            made.spec.replicated_job.total_completions = made.spec.replicated_job.max_concurrent = 1

    rig = Bench(Orchestrator(random.Random(1), Ids()), [node("a"), service(change=of_this_mode)])
    (made,) = rig.step()
    slot = 1 if mode == "replicated" else 0
    where = " on a" if mode.startswith("global") else ""
    assert made == f"create web.{slot}{where} new -> {'complete' if mode.endswith('job') else 'running'}"
    assert rig.step() == []
    rig.apply(lambda tx: tx.remove(api.Service, "web"))
    assert rig.step() == [f"update new1{where} new -> remove"]
